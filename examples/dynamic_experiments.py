"""One idea after another on the same resident model, with nothing to deploy in between.

A session keeps large values beside the model: only what you ask for travels.
"""

from glassbox import InterpClient


def token_count(model, tokenizer, text):
    return len(tokenizer(text)["input_ids"])


def last_states(model, tokenizer, text):
    """The last token's state after every block."""
    import torch

    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return torch.stack([state[0, -1] for state in states])


def similarity(model, tokenizer, one, other):
    """Cosine similarity of two texts' states, layer by layer."""
    import torch

    return torch.nn.functional.cosine_similarity(one, other, dim=-1)


def at_temperatures(model, tokenizer, prompt, temperatures):
    """One continuation for each temperature."""
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    texts = []
    for temperature in temperatures:
        written = model.generate(
            **inputs, do_sample=True, temperature=temperature, max_new_tokens=8
        )
        texts.append(tokenizer.decode(written[0], skip_special_tokens=True))
        print(f"temperature {temperature} done")
    return texts


if __name__ == "__main__":
    with InterpClient("examples", "tiny") as client:
        print(client.run(token_count, text="The waiters were superb."))

        with client.session() as session:
            good = session.keep(last_states, text="The meal was superb")
            bad = session.keep(last_states, text="The meal was awful")
            print(session.run(similarity, good, bad))

        for text in client.run(at_temperatures, prompt="The waiter", temperatures=[0.5, 1.0, 1.5]):
            print(repr(text))
