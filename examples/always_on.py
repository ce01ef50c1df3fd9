"""A model that stays resident, however long nobody calls.

The same options mean the same on Modal (containers) and Ray (replicas); here they keep the worker
process of this machine. Without them it is let go after 300 seconds without a call.
"""

import time

from glassbox import InterpClient


def next_token(model, tokenizer, text):
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    return tokenizer.decode(model(**inputs).logits[0, -1].argmax())


if __name__ == "__main__":
    # keep_warm=1 is Modal's former name of the same option, and is taken too.
    with InterpClient("examples-always-on", "tiny", min_containers=1) as client:
        client.start()
        for text in ("The waiters were", "The soup was", "We will not come"):
            begun = time.perf_counter()
            token = client.run(next_token, text=text)
            print(f"{1000 * (time.perf_counter() - begun):6.1f} ms  {text}{token}")
