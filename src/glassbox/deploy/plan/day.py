"""A day of a fleet, request by request: what each of millions of them feels.

The day is cut into stretches and each server of the fleet is a lane of the simulator in each of
them, so that thousands of lanes go at once. A lane begins empty, some time before its stretch, and
what comes in that time does not count. Requests go to a server at random, each lane knowing only
its own; ``one_by_one.py`` says what sending them to the least busy one would change.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.deploy.plan.simulator import ServerModel, simulate
from glassbox.deploy.plan.sizes import draw_sizes
from glassbox.deploy.plan.traffic import DAY_S, Traffic
from glassbox.errors import InvalidValue
from glassbox.progress import Progress, untold

N_LANES: Final = 4096
"""Lanes that go at once: enough that a step's fixed cost is small, few enough for the caches."""

N_REQUESTS: Final = 1000
"""Requests of a lane, about: with the lanes this bounds the memory."""

LONGEST_S: Final = 3600.0
"""Most seconds of a stretch, in which the rate stays as it is in its middle."""

WARM_UP_SHARE: Final = 0.125
"""Most of a stretch's length that is spent on warming up, unless an hour is not enough."""

RELAXATIONS: Final = 6.0
"""How many times the queue's own memory a lane runs before it counts."""

HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Day:
    """What a day's requests felt."""

    n_servers: int
    """Servers in the fleet."""
    n_requests: int
    """Requests of the day, those turned away included."""
    n_turned_away: int
    """Of them, those for which no place was left to wait."""
    p50_s: float
    """Median time from arrival to answer."""
    p99_s: float
    """99th percentile."""
    hours: tuple["Hour", ...]
    """The same by hour of the day."""


@dataclass(frozen=True)
class Hour:
    """One hour of it."""

    rate: float
    """Requests a second that came."""
    utilisation: float
    """That rate over the most that the fleet can answer."""
    p50_s: float
    """Median time."""
    p99_s: float
    """99th percentile."""


def simulate_day(
    server: ServerModel,
    n_servers: int,
    traffic: Traffic,
    *,
    size_cv: float = 0.0,
    seed: int = 0,
    report: Progress = untold,
) -> Day:
    """Return what every request of a day feels on a fleet of a fixed size.

    Args:
        server: What each server is.
        n_servers: How many there are, 1 or more.
        traffic: What comes.
        size_cv: How unequal requests are: coefficient of variation of their work.
        seed: Of chance.
        report: Told how many parts of the day are done, and of how many; a part is one server's.

    Raises:
        InvalidValue: The fleet cannot keep up with the busiest moment.
    """
    most = n_servers * server.peak_rate
    if n_servers < 1 or traffic.peak_rate >= most:
        enough = math.floor(traffic.peak_rate / server.peak_rate) + 1
        raise InvalidValue(
            "n_servers",
            n_servers,
            f"{enough} or more: {traffic.peak_rate:g} requests a second come at the busiest "
            f"moment, and one server answers {server.peak_rate:g}",
        )
    draw = np.random.default_rng(seed)
    by_hour: list[list[Float[np.ndarray, " n"]]] = [[] for _ in range(24)]
    n_done = 0
    for stretches in _batches(server, n_servers, traffic):
        for hour, times in _run(server, stretches, size_cv, draw):
            by_hour[hour].append(times)
        n_done += len(stretches.rates)
        report(n_done, n_servers * round(DAY_S / stretches.length_s))
    joined = [np.concatenate(parts) for parts in by_hour]
    rates = traffic.rates((np.arange(24) + 0.5) * HOUR_S)
    hours = tuple(
        Hour(float(rate), float(rate / most), *percentiles(times))
        for rate, times in zip(rates, joined, strict=True)
    )
    whole = np.concatenate(joined)
    n_turned_away = int(np.isnan(whole).sum())
    return Day(n_servers, len(whole), n_turned_away, *percentiles(whole), hours)


def percentiles(times: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the median and the 99th percentile (nearest rank) of the times that are numbers.

    NaN where there are none.
    """
    times = times[~np.isnan(times)]
    if not len(times):
        return math.nan, math.nan
    ranks = [max(0, math.ceil(len(times) * share - 1e-9) - 1) for share in (0.5, 0.99)]
    ordered = np.partition(times, ranks)
    return float(ordered[ranks[0]]), float(ordered[ranks[1]])


@dataclass(frozen=True, eq=False)
class _Stretches:
    """Lanes that go at once: servers in parts of the day."""

    rates: Float[np.ndarray, " n_lanes"]
    """Requests a second of each."""
    hours: Int[np.ndarray, " n_lanes"]
    """Hour of the day of each."""
    length_s: float
    warm_up_s: float


def _batches(server: ServerModel, n_servers: int, traffic: Traffic) -> Iterator[_Stretches]:
    """Yield all servers in all parts of the day, a few thousand at a time."""
    rate = traffic.mean_rate / n_servers
    warm_up_s = min(LONGEST_S, _memory_s(server, traffic.peak_rate / n_servers))
    length_s = min(LONGEST_S, max(N_REQUESTS / rate, warm_up_s / WARM_UP_SHARE))
    n_parts = 24 * math.ceil(HOUR_S / length_s)
    length_s = DAY_S / n_parts
    for first in range(0, n_parts * n_servers, N_LANES):
        lanes = np.arange(first, min(first + N_LANES, n_parts * n_servers))
        middles = (lanes // n_servers + 0.5) * length_s
        rates = traffic.rates(middles) / n_servers
        yield _Stretches(rates, (middles // HOUR_S).astype(np.int64), length_s, warm_up_s)


def _memory_s(server: ServerModel, rate: float) -> float:
    """Return how long a server must run until it has forgotten that it began empty, about.

    Source: relaxation time of the M/M/1 queue, 1 / (mu (1 - sqrt(rho))^2), Cohen, *The Single
    Server Queue* (1982), section III.7; an order of magnitude for other servers.
    """
    relaxation_s = 1 / (server.peak_rate * (1 - math.sqrt(rate / server.peak_rate)) ** 2)
    return RELAXATIONS * (relaxation_s + server.alone_s)


def _run(
    server: ServerModel, lanes: _Stretches, size_cv: float, draw: np.random.Generator
) -> Iterator[tuple[int, Float[np.ndarray, " n"]]]:
    """Yield what requests felt, hour by hour; NaN for those turned away."""
    whole_s = lanes.warm_up_s + lanes.length_s
    most = float(lanes.rates.max()) * whole_s
    n = math.ceil(most + 6 * math.sqrt(most) + 11)
    arrivals = draw.standard_exponential((len(lanes.rates), n))
    arrivals /= lanes.rates[:, None]
    np.cumsum(arrivals, axis=1, out=arrivals)
    arrivals[arrivals > whole_s] = np.inf
    arrivals[:, -1] = np.inf
    times = simulate(server, arrivals, draw_sizes(draw, size_cv, arrivals.shape))
    times -= arrivals
    counts = (arrivals >= lanes.warm_up_s) & (arrivals < np.inf)
    for hour in np.unique(lanes.hours):
        rows = np.flatnonzero(lanes.hours == hour)
        own = slice(rows[0], rows[-1] + 1)
        yield int(hour), times[own][counts[own]].astype(np.float32)
