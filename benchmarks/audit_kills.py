"""What is lost when a process that records is killed, again and again, at a moment drawn by chance.

A process records at a steady pace, as requests would, and notes in shared memory when each record
was taken (with the default durability, ``group``, a request is answered then). It is killed with
``SIGKILL``. What the database does not hold was lost; its age at the kill is how far back the loss
reaches, which the setting ``audit.group_ms`` is to bound. The chain is verified after every kill.

Run: ``python -m benchmarks.audit_kills [--kills N] [--pace RECORDS_PER_SECOND ...]``
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.audit import primary_event
from glassbox.audit import InferenceStore
from glassbox.storage.database import open_database

BAR_MS = 50.0
"""Most that may be lost."""
SETTLED_S = 0.5
"""Time for which a process records at least before it is killed."""
SPREAD_S = 0.3
"""Width of the moments at which it is killed."""
MOST_S = 30.0
"""Time for which there is room to note records."""


def write(url: str, notes: Path, first: int, pace: int) -> None:
    """Record at a pace until killed; the time of each record goes into a file of float64."""
    taken = np.memmap(notes, dtype=np.float64, mode="r+")
    store = InferenceStore(open_database(url))
    began = time.monotonic()
    for number in range(len(taken)):
        while (ahead := began + number / pace - time.monotonic()) > 0:
            time.sleep(ahead)
        store.record(primary_event(f"r{first + number}", "v1:k1:" + "a" * 32))
        taken[number] = time.monotonic()


def lost_ms(url: str, notes: Path, first: int, pace: int, after_s: float) -> tuple[float, int]:
    """Return how far back a kill's loss reaches, milliseconds, and how many records it took."""
    taken = np.memmap(notes, dtype=np.float64, mode="w+", shape=int(MOST_S * pace))
    command = [sys.executable, "-m", "benchmarks.audit_kills", "--write", url, str(notes),
               str(first), str(pace)]  # fmt: skip
    process = subprocess.Popen(command)
    while not taken[0]:
        if process.poll() is not None:
            raise SystemExit(f"the writing process ended with {process.returncode}")
        time.sleep(0.01)
    time.sleep(after_s)
    killed = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (numbers,) = np.nonzero((taken > 0) & (taken <= killed))
    names = [f"r{first + number}" for number in numbers.tolist()]
    database = open_database(url)
    store = InferenceStore(database)
    known = store.known(names)
    broken = store.verify().broken
    store.close()
    database.close()
    if broken is not None:
        raise SystemExit(f"the chain is broken: {broken}")
    lost = [
        number for number, name in zip(numbers.tolist(), names, strict=True) if name not in known
    ]
    return (1e3 * (killed - taken[lost[0]]) if lost else 0.0), len(lost)


def main() -> None:
    """Kill, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pace", type=int, nargs="+", default=[200, 2_000, 10_000])
    parser.add_argument("--write", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        url, notes, first, pace = options.write
        write(url, Path(notes), int(first), int(pace))
        return
    draw = np.random.default_rng(0)
    for pace in options.pace:
        with tempfile.TemporaryDirectory() as folder:
            url, notes = f"sqlite:///{folder}/glassbox.db", Path(folder) / "notes"
            found = [
                lost_ms(url, notes, int(turn * MOST_S * pace), pace, SETTLED_S + SPREAD_S * after)
                for turn, after in enumerate(draw.random(options.kills))
            ]
        ages = sorted(age for age, _ in found)
        n_late = sum(age > BAR_MS for age in ages)
        print(
            f"{pace:6,} records/s, {options.kills} kills: lost are at most the last "
            f"{ages[-1]:.0f} ms ({max(n for _, n in found)} records), half of the time "
            f"{statistics.median(ages):.0f} ms; more than {BAR_MS:.0f} ms in {n_late}"
        )


if __name__ == "__main__":
    main()
