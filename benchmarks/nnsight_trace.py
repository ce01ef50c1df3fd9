"""nnsight's own time for an empty trace and for a capture, printed as JSON; imports no Glassbox.

A program of its own, so that nnsight may live in another environment than Glassbox does.

Run: ``python benchmarks/nnsight_trace.py MODEL_FOLDER LAYER,LAYER,LAYER N_RUNS THREADS TEXT``
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version


def main() -> None:
    """Time an empty trace, one that saves the layers' outputs, and the library's bare pass."""
    folder, named, n_runs, threads, text = sys.argv[1:6]
    layers = [int(each) for each in named.split(",")]
    import torch
    from nnsight import LanguageModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(int(threads))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LanguageModel(plain, tokenizer=tokenizer)

    # nnsight reads the source of a with block, so each is written out.
    def empty() -> None:
        with model.trace(text):
            pass

    def capture() -> list[torch.Tensor]:
        with model.trace(text):
            first = model.model.layers[layers[0]].output.save()
            second = model.model.layers[layers[1]].output.save()
            third = model.model.layers[layers[2]].output.save()
        return [first, second, third]

    def forward() -> None:
        plain(**tokenizer(text, return_tensors="pt"))

    with torch.inference_mode():
        medians = {
            "empty_s": _median(empty, int(n_runs)),
            "capture_s": _median(capture, int(n_runs)),
            "forward_s": _median(forward, int(n_runs)),
        }
    sys.stdout.write(json.dumps({**medians, "version": version("nnsight")}) + "\n")


def _median(call: Callable[[], object], n: int) -> float:
    for _ in range(5):
        call()
    times = []
    for _ in range(n):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
