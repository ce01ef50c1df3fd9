"""What k consistency samples cost beside one classification of the same prompt.

Both are taken in turn over one text on the embedded model; the figure is the ratio of medians.

Run: ``python -m benchmarks.consistency [--samples 10] [--rounds 30]``
"""

import argparse
import statistics
import time

import torch

from benchmarks.apparatus.machine import describe_machine
from glassbox.confidence.asking.consistency import features
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.engine.resident import load_engine
from glassbox.types import ModelSpec

TEXT = "The room was not clean, but the waiters were kind."


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    engine = load_engine(ModelSpec("tiny"))
    model = LabelModel(engine, default_labels(["negative", "positive"]))
    model.label_probs([TEXT])
    once, sampled = [], []
    for seed in range(arguments.rounds):
        started = time.perf_counter()
        model.label_probs([TEXT])
        once.append(time.perf_counter() - started)
        started = time.perf_counter()
        features([model.label_probs([TEXT]).class_logprobs], arguments.samples, seed=seed)
        sampled.append(time.perf_counter() - started)
    one, many = statistics.median(once), statistics.median(sampled)
    print(describe_machine(torch.device(engine.info.device)).description)
    print(f"one classification {1000 * one:.2f} ms")
    print(f"with {arguments.samples} samples {1000 * many:.2f} ms: {many / one:.2f} times")


if __name__ == "__main__":
    main()
