"""Functions of pure Python that take a set time: the versions that the benchmark of shadows serves.

How long they take comes with each request (``rounds``), so that every process counts equally far.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

SHADOW_COSTS = 30
"""How many times as much work the challenger has."""

OUTSTANDING = 8
"""Copies that may wait for the thread of the baseline."""

_pool = ThreadPoolExecutor(1, thread_name_prefix="baseline")
_places = Semaphore(OUTSTANDING)


def primary(features: Mapping[str, float]) -> float:
    """Return a number after a count that holds Python's lock throughout."""
    return _count(features, 1)


def challenger(features: Mapping[str, float]) -> float:
    """Return the same number after thirty times the work."""
    _count(features, SHADOW_COSTS - 1)
    return _count(features, 1)


def primary_with_thread(features: Mapping[str, float]) -> float:
    """Return the primary's number; the challenger runs in a thread pool of the same process.

    The baseline: what one writes first. The pool is bounded too, surplus copies are dropped.
    """
    answer = primary(features)
    if _places.acquire(blocking=False):
        _pool.submit(_shadow, dict(features))
    return answer


def rounds_of(seconds: float) -> int:
    """Return how many rounds take so many seconds on this machine when nothing else runs."""
    n, best = 20_000, float("inf")
    for _ in range(20):
        began = time.perf_counter()
        primary({"rounds": n})
        best = min(best, time.perf_counter() - began)
    return round(n * seconds / best)


def _shadow(features: Mapping[str, float]) -> None:
    try:
        challenger(features)
    finally:
        _places.release()


def _count(features: Mapping[str, float], times: int) -> float:
    value = float(features.get("x0", 0.0))
    for _ in range(int(features["rounds"]) * times):
        value = value * 0.5 + 0.25
    return value
