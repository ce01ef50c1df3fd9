"""How long tests wait: none passes or fails by how fast the machine is."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 120.0
"""Seconds after which something hangs: a machine that others use may stall for many of them."""


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
