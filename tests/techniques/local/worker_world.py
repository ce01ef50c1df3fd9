"""The worker that tests share, and techniques to run in it."""

# ruff: noqa: T201

from glassbox.techniques.worker_spec import WorkerSpec

SPEC = WorkerSpec(app_name="tests", threads=1, grace_s=0.5)


def process_id(model, tokenizer):
    import os

    return os.getpid()


def counted(model, tokenizer, text):
    print("counting")
    return len(tokenizer(text)["input_ids"])


def endless(model, tokenizer):
    print("begun")
    while True:
        pass
