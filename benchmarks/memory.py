"""Whether memory grows with the data: peak resident size against the number of lines scored.

Each size runs in a process of its own, streaming lines from a file in chunks, as ``classify`` does.
The peak is the process's own high-water mark; what it had before the first line is told apart.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.memory [--lines 1000 100000]``
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.apparatus.model import INSTRUCTION, LABELS, model_folder, sentences
from benchmarks.apparatus.peaks import peak_bytes
from glassbox.engine.resident import load_engine
from glassbox.types import ModelSpec

CHUNK_LINES = 512


def chunks(path: Path) -> Iterator[list[str]]:
    """Yield the lines of a file, some at a time."""
    with path.open(encoding="utf-8") as file:
        while lines := [line.rstrip("\n") for line in islice(file, CHUNK_LINES)]:
            yield lines


def score_file(model: str, path: Path) -> dict[str, int]:
    """Return the peaks after loading, after the first chunk and at the end."""
    engine = load_engine(ModelSpec(model), threads=1)
    continuations = engine.codec.encode(LABELS, special=False)
    loaded, first, n_lines = peak_bytes(), 0, 0
    for lines in chunks(path):
        prompts = engine.codec.encode([INSTRUCTION + line for line in lines])
        engine.logprobs(prompts, continuations)
        n_lines += len(lines)
        first = first or peak_bytes()
    return {"n_lines": n_lines, "loaded": loaded, "first_chunk": first, "peak": peak_bytes()}


def write_lines(path: Path, n_lines: int) -> None:
    """Write real sentences, each made unique, so that nothing is saved by repetition."""
    pool = sentences("train")
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_lines):
            file.write(f"{pool[number % len(pool)]} {number}\n")


def main() -> None:
    """Parse, measure each size in its own process, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--model", help="folder; the benchmark model by default")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = options.model or str(model_folder())
    if options.worker is not None:
        print(json.dumps(score_file(model, options.worker)))
        return
    print(f"{'lines':>10}{'loaded':>12}{'first chunk':>14}{'peak':>12}   MiB")
    for n_lines in options.lines:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.txt"
            write_lines(path, n_lines)
            command = [sys.executable, "-m", "benchmarks.memory"]
            command += ["--worker", str(path), "--model", model]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        sizes = json.loads(answer.splitlines()[-1])
        mib = [sizes[name] / 2**20 for name in ("loaded", "first_chunk", "peak")]
        print(f"{sizes['n_lines']:>10}{mib[0]:>12.0f}{mib[1]:>14.0f}{mib[2]:>12.0f}", flush=True)


if __name__ == "__main__":
    main()
