"""What it costs to score and to train while other programs keep the cores busy.

torch's threads wait for each other awake, each on a core of its own; where another program has one
of the cores, all wait for the thread that it holds up. How long they wait awake is set by variables
of OpenMP's library, which are read once: every figure comes from a process of its own, the ways in
turn. ``usual`` is the library's own setting; the command line sets the second, unless either is
set.

``score``    64 prompts with a shared prefix of 60 tokens through the 40M benchmark model.
``one``      one of them.
``train``    a step of a small transformer layer: many short loops, as in tuning.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.busy_cores [--rounds N] [--busy N ...]``
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from glassbox.settings.foreign import SPIN_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = {
    "usual": {},
    f"GOMP_SPINCOUNT={SPIN_COUNT}": {"GOMP_SPINCOUNT": SPIN_COUNT},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
FIGURES = ("score", "one", "train")
BUSY = "while True: pass"


def measure() -> dict[str, float]:
    """Return milliseconds of each figure in this process."""
    import torch

    from benchmarks.apparatus.model import model_folder
    from glassbox.engine.resident import load_engine
    from glassbox.types import ModelSpec

    engine = load_engine(ModelSpec(str(model_folder()), dtype="float32", device="cpu"))
    draw = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(4096) for _ in range(n))

    prefix = tokens(60)
    prompts = [prefix + tokens(draw.randint(10, 50)) for _ in range(64)]
    layer = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    optimizer = torch.optim.AdamW(layer.parameters())
    batch = torch.randn(16, 64, 128)

    def step() -> None:
        optimizer.zero_grad()
        layer(batch).square().mean().backward()
        optimizer.step()

    return {
        "score": median_ms(lambda: engine.logprobs(prompts, [(5,), (9,)]), 4),
        "one": median_ms(lambda: engine.logprobs(prompts[:1], [(5,), (9,)]), 20),
        "train": median_ms(step, 60),
    }


def median_ms(call: Callable[[], object], n_calls: int) -> float:
    """Return the median duration of a call, after one that is not counted."""
    call()
    taken = []
    for _ in range(n_calls):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)


@contextmanager
def busy_process() -> "Iterator[None]":
    """Keep a core busy inside the block."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure in turns and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure()))
        return
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    command = [sys.executable, "-m", "benchmarks.busy_cores", "--alone"]
    for n_busy in options.busy:
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        with ExitStack() as stack:
            for _ in range(n_busy):
                stack.enter_context(busy_process())
            for _ in range(options.rounds):
                for way, variables in WAYS.items():
                    done = subprocess.run(
                        command, env=clean | variables, capture_output=True, check=True, text=True
                    )
                    found[way].append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{n_busy} other busy processes")
        for way, runs in found.items():
            cells = []
            for figure in FIGURES:
                mine, usual = (
                    statistics.median(run[figure] for run in found[each]) for each in (way, "usual")
                )
                cells.append(f"{figure} {mine:8.1f} ms ({mine / usual:.2f})")
            print(f"  {way:26} {'   '.join(cells)}   {len(runs)} runs")


if __name__ == "__main__":
    main()
