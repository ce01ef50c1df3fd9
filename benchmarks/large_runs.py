"""What the commands that read a finished run take when it has very many rows or labels.

A run folder of simulated answers is written by the project's own writers: labels are drawn with
known probabilities, the base model is over-confident, the tuned one less so. No model is asked.
Each command runs in a process of its own, whose processor time and peak memory are taken.

    python -m benchmarks.large_runs --rows 10000 100000 --labels 2 150
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import orjson
from jaxtyping import Float

from benchmarks.apparatus.peaks import UNIT_BYTES
from glassbox.artifacts import Classifier
from glassbox.confidence.analysis import whole_run
from glassbox.confidence.evaluation.rows import EvaluatedRows, HeldOut
from glassbox.confidence.job import Promise
from glassbox.confidence.run import RunFolder
from glassbox.runtime import SHIPPED_RUN

COMMANDS = ("charts", "threshold", "calibrate", "compare")
MODELS = {"base": (1.8, 0.8), "tuned": (1.3, 0.2), "tfidf": (0.7, 1.2)}
"""Of each model how far its logits are stretched, and the noise in them."""
MIB = 2**20


def _log_softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def simulated(n_rows: int, n_labels: int) -> dict[str, EvaluatedRows]:
    """Return three models' answers to the same held-out rows, whose labels were drawn."""
    random = np.random.default_rng(5)
    logits = random.normal(0, 1.2, (n_rows, n_labels))
    logits[np.arange(n_rows), random.integers(n_labels, size=n_rows)] += random.normal(3, 2, n_rows)
    probs = np.exp(_log_softmax(logits))
    drawn = (probs.cumsum(axis=1) < random.random((n_rows, 1))).sum(axis=1)
    sizes = (n_rows // 4, round(0.35 * n_rows))
    parts = ("calibrator", "threshold", "test")
    held_out = HeldOut(
        texts=tuple(f"text {number} of some length, as people write" for number in range(n_rows)),
        labels=drawn.clip(0, n_labels - 1),
        parts=tuple(np.repeat(parts, (*sizes, n_rows - sum(sizes))).tolist()),
        categories=(None,) * n_rows,
        truth=probs if n_labels == 2 else None,
    )
    classes = tuple(f"intent {number}" for number in range(n_labels))
    return {
        name: EvaluatedRows(
            classes,
            held_out,
            _log_softmax(stretch * (logits + noise * random.normal(size=logits.shape))),
            np.full(n_rows, 0.5),
        )
        for name, (stretch, noise) in MODELS.items()
    }


def write_run(folder: Path, n_rows: int, n_labels: int) -> None:
    """Write a finished run; its record and manifest are the shipped run's but for what it found."""
    question = whole_run.Question(Promise(0.05, 0.9))
    run = whole_run.analyse(simulated(n_rows, n_labels), (), question)
    shutil.copytree(SHIPPED_RUN, folder, ignore=shutil.ignore_patterns("evaluation"))
    whole_run.save(run, (), RunFolder(folder))
    before = Classifier.load(folder)
    replace(
        before,
        labels={**before.labels, "classes": list(run.final.rows.classes)},
        calibrator=orjson.loads(run.final.choice.calibrator.to_json()),
        threshold=asdict(run.final.threshold),
    ).save(folder)


def taken(command: Sequence[str]) -> tuple[float, float, float]:
    """Return seconds, seconds of processor time and bytes at the peak of one command.

    Raises:
        RuntimeError: It failed.
    """
    started = time.perf_counter()
    with Path(os.devnull).open("wb") as nowhere:
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "glassbox", *command],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 2),
            ],
        )
        _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"glassbox {' '.join(command)} ended with status {status}")
    seconds = time.perf_counter() - started
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * UNIT_BYTES


def measured(name: str, run: Path) -> str:
    """Return the line of one command: what it took, and how large what it wrote is."""
    runs = [str(run)] * (2 if name == "compare" else 1)
    wall_s, processor_s, peak = taken([name, *runs])
    line = f"{name:<10}{wall_s:>8.1f}{processor_s:>9.1f}{peak / MIB:>10.0f}"
    if name != "charts":
        return line
    files = [each for each in (run / "charts").rglob("*") if each.is_file()]
    size, report = sum(each.stat().st_size for each in files), (run / "report.html").stat().st_size
    return f"{line}{size / MIB:>12.1f}{report / MIB:>12.1f}"


def main() -> None:
    """Parse, measure every command at each size, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--labels", type=int, nargs="+", default=[2])
    options = parser.parse_args()
    print("    rows  labels  command          s    CPU s  peak MiB  charts MiB  report MiB")
    for n_rows in options.rows:
        for n_labels in options.labels:
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                write_run(run, n_rows, n_labels)
                for name in COMMANDS:
                    print(f"{n_rows:>8}{n_labels:>8}  {measured(name, run)}", flush=True)


if __name__ == "__main__":
    main()
