"""When requests arrive, how late is late, and the search for the highest rate: arithmetic alone.

Knows times in seconds and counts; knows no model, no thread and no clock.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

GROWTH = 1.5
"""Factor from one rate to the next as long as none has failed."""


@dataclass(frozen=True)
class Span:
    """The time in which one request was worked on."""

    begun_s: float
    """When the work began."""
    done_s: float
    """When the whole answer was there."""


@dataclass(frozen=True)
class Bracket:
    """What a search for the highest rate has found."""

    rate: float
    """Highest rate that held, requests a second; 0 where none of those tried did."""
    failing: float
    """Lowest rate that did not hold; infinity where all of those tried did."""


def poisson(n: int, rate: float, seed: int) -> tuple[float, ...]:
    """Return the arrival times of ``n`` requests over ``n / rate`` seconds, in order.

    A Poisson process of which the count is known: the times are independent and uniform, so that
    the rate offered is the rate asked for. One seed gives one pattern, stretched by the rate.

    Source: Kingman, *Poisson Processes* (1993), section 2.4.

    Args:
        n: How many, 1 or more.
        rate: Requests a second, above 0.
        seed: Of the pattern.
    """
    draw = random.Random(seed)
    return tuple(sorted(draw.random() * n / rate for _ in range(n)))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not exceeded by this share of them (nearest rank).

    Of fewer than 100 values the 99th percentile is the largest.

    Args:
        values: One or more.
        share: In (0, 1].
    """
    ordered = sorted(values)
    return ordered[_rank(len(ordered), share) - 1]


def n_late_allowed(n: int, share: float) -> int:
    """Return how many of ``n`` values may lie above a bound that ``percentile`` still keeps."""
    return n - _rank(n, share)


def _rank(n: int, share: float) -> int:
    # A product like 0.07 * 100 lies a little above the whole number that it means.
    return max(1, math.ceil(n * share - 1e-9))


def goodput(spans: Sequence[Span], first_s: float, last_s: float) -> float:
    """Return requests a second that were completed inside a window.

    A request counts with the share of its time of work that lies in the window, so that answers
    which come in bursts are not counted by whether a burst falls just inside.

    Args:
        spans: Requests that were answered, also those that began before or ended after.
        first_s: Beginning of the window.
        last_s: Its end, later.
    """
    done = 0.0
    for span in spans:
        inside = min(span.done_s, last_s) - max(span.begun_s, first_s)
        if inside > 0:
            done += inside / (span.done_s - span.begun_s)
    return done / (last_s - first_s)


def search(holds: Callable[[float], bool], first: float, n_points: int) -> Bracket:
    """Return the highest rate that holds, by bisection.

    As long as all tries have held, the next one is half as much again; as long as none has, it is
    half as much; then it lies in the middle of the highest that held and the lowest that did not.

    Args:
        holds: Whether a rate does.
        first: Requests a second that are tried first.
        n_points: Most rates to try.
    """
    low, high = 0.0, math.inf
    rate = first
    for _ in range(n_points):
        if holds(rate):
            low = rate
        else:
            high = rate
        rate = GROWTH * low if high == math.inf else (low + high) / 2
    return Bracket(low, high)
