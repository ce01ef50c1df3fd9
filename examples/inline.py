"""A technique is a function that you write where you need it.

The first call makes the model resident in a worker process of this machine, which takes seconds.
The second finds it there.
"""

import time

from glassbox import InterpClient


def attention_to_first_token(model, tokenizer, text):
    """How much each layer's heads look at the first token, averaged over later tokens."""
    import torch

    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    with torch.no_grad():
        attentions = model(**inputs, output_attentions=True).attentions
    return [round(layer[0, :, 1:, 0].mean().item(), 3) for layer in attentions]


if __name__ == "__main__":
    with InterpClient("examples", "tiny") as client:
        for _ in range(2):
            begun = time.perf_counter()
            by_layer = client.run(attention_to_first_token, text="The waiters were superb.")
            print(f"{time.perf_counter() - begun:.3f} s: {by_layer}")
        print(client.last)
