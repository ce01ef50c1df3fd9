"""How long tests wait: none passes or fails by how fast the machine is."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 120.0
"""Seconds after which something hangs: a machine that others use may stall for many of them."""


TICK_S = 0.01


def until(found: Callable[[], T], what: object = "it", *, every_s: float = 0.01) -> T:
    """Return the first true value that a function gives; fail where none comes."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < give_up_s, f"{what} did not come about within {PATIENCE_S:g} s"
        time.sleep(every_s)
    return value


def seconds_until(holds: Callable[[], object], *, every_s: float = 0.01) -> float:
    """Return how long something took to come about, counted in looks, a hundred a second.

    A look is late where the machine stalls or does much else: that time is not counted.
    """
    n_looks = 0

    def looked() -> bool:
        nonlocal n_looks
        n_looks += 1
        return bool(holds())

    until(looked, every_s=every_s)
    return n_looks * every_s


@contextmanager
def clock_of_this_process() -> Iterator[Callable[[], float]]:
    """Yield a clock in seconds that stands still while the machine does not let this process run.

    A thread counts its own ticks: where the machine stalls or does much else there are fewer.
    """
    n_ticks, ended = 0, threading.Event()

    def tick() -> None:
        nonlocal n_ticks
        while not ended.wait(TICK_S):
            n_ticks += 1

    ticking = threading.Thread(target=tick, name="tests-clock", daemon=True)
    ticking.start()
    try:
        yield lambda: n_ticks * TICK_S
    finally:
        ended.set()
        ticking.join()
