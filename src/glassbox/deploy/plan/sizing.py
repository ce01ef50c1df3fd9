"""How many instances: by the utilisation aimed at, and by the time requests may take.

Pure decisions on a server model and a traffic; knows no prices.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from glassbox.deploy.plan.day import percentiles
from glassbox.deploy.plan.one_by_one import simulate_one_by_one
from glassbox.deploy.plan.simulator import ServerModel, simulate
from glassbox.deploy.plan.sizes import draw_sizes
from glassbox.errors import CapacityError, InvalidValue

TARGET: Final = 0.8
"""Utilisation aimed at. Source: the 80 % that ADR-008 scales on."""

LIMIT_S: Final = 0.5
"""Most seconds of the 99th percentile. Source: ADR-008."""

N_LANES: Final = 512
N_WARM: Final = 300
N_COUNTED: Final = 200
"""Servers, and requests of each, that a rate is tried with: 100,000 behind a percentile."""

N_ROUTED: Final = 60_000
"""Requests sent to the least busy server one by one."""


@dataclass(frozen=True)
class Felt:
    """What requests feel at one steady rate."""

    utilisation: float
    """Rate over the most that the fleet can answer."""
    p50_s: float
    """Median time from arrival to answer."""
    p99_s: float
    """99th percentile."""
    share_turned_away: float
    """Share of requests for which no place was left to wait."""


def instances_for_target(server: ServerModel, rate: float, target: float = TARGET) -> int:
    """Return the fewest servers whose utilisation stays at or below a target.

    Args:
        server: What each is.
        rate: Requests a second at the busiest moment.
        target: Utilisation in (0, 1].
    """
    if not 0 < target <= 1:
        raise InvalidValue("target", target, "a fraction in (0, 1]: 0.8 is 80 %")
    # A quotient like 500 / (0.8 * 2.5) may lie a little above the whole number that it means.
    return max(1, math.ceil(rate / (target * server.peak_rate) - 1e-9))


def felt_at_random(
    server: ServerModel, rate: float, *, size_cv: float = 0.0, seed: int = 0
) -> Felt:
    """Return what requests feel that come to one server of a fleet by chance.

    Args:
        server: What each server is.
        rate: Requests a second of one server.
        size_cv: How unequal requests are.
        seed: Of chance.
    """
    draw = np.random.default_rng(seed)
    gaps = draw.standard_exponential((N_LANES, N_WARM + N_COUNTED)) / rate
    arrivals = np.cumsum(gaps, axis=1)
    sizes = draw_sizes(draw, size_cv, arrivals.shape)
    times = (simulate(server, arrivals, sizes) - arrivals)[:, N_WARM:].ravel()
    share = float(np.isnan(times).mean())
    return Felt(rate / server.peak_rate, *percentiles(times), share)


def felt_by_least_busy(
    server: ServerModel, n_servers: int, rate: float, *, size_cv: float = 0.0, seed: int = 0
) -> Felt:
    """Return what requests feel that are always sent to the server with the fewest under way.

    Args:
        server: What each server is.
        n_servers: How many there are.
        rate: Requests a second of all together.
        size_cv: How unequal requests are.
        seed: Of chance.
    """
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.standard_exponential(N_ROUTED) / rate)
    sizes = draw_sizes(draw, size_cv, arrivals.shape)
    done = simulate_one_by_one(server, n_servers, arrivals.tolist(), sizes.tolist(), seed=seed)
    # The first fifth finds servers that are still empty.
    times = (np.array(done) - arrivals)[N_ROUTED // 5 :]
    share = float(np.isnan(times).mean())
    return Felt(rate / (n_servers * server.peak_rate), *percentiles(times), share)


def instances_for_latency(
    server: ServerModel,
    rate: float,
    limit_s: float = LIMIT_S,
    *,
    size_cv: float = 0.0,
    seed: int = 0,
) -> int:
    """Return the fewest servers with which the 99th percentile stays in time, routed at random.

    Args:
        server: What each is.
        rate: Requests a second at the busiest moment.
        limit_s: Most seconds of the 99th percentile.
        size_cv: How unequal requests are.
        seed: Of chance.

    Raises:
        CapacityError: A request takes longer even when it is alone.
    """

    def holds(n: int) -> bool:
        if rate >= n * server.peak_rate:
            return False
        felt = felt_at_random(server, rate / n, size_cv=size_cv, seed=seed)
        return felt.share_turned_away == 0 and felt.p99_s <= limit_s

    low = math.floor(rate / server.peak_rate)
    high = max(1, low + 1)
    # Nearly all requests are alone from here on: more servers change nothing.
    most = math.ceil(rate * server.alone_s * 200) + 1
    while not holds(high):
        if high >= most:
            raise CapacityError(
                f"No number of instances keeps the 99th percentile within {limit_s:g} s: a request "
                f"of average size takes {server.alone_s:.3g} s when it is alone. Use a faster "
                "instance, ask for fewer tokens, or allow more time."
            )
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
