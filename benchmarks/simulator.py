"""How fast a day of traffic is simulated: 500 requests a second, every one of them.

``lanes``        ``simulate_day``: 43 million requests, all servers of all parts of the day at once.
``one by one``   the baseline: an event loop over a heap, on a sample, scaled up.

Three fleets: the size decides how many requests a lane has and how many are under way.

Run: ``python -m benchmarks.simulator [--json FILE]``
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.apparatus.peaks import peak_bytes
from glassbox.deploy.plan.day import simulate_day
from glassbox.deploy.plan.one_by_one import simulate_one_by_one
from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.traffic import DAY_S, Traffic

RATE = 500.0
BAR_S = 30.0
N_SAMPLE = 100_000
N_ROWS = 32
LOAD = 0.8
FLEETS = (10, 50, 250)


@dataclass(frozen=True)
class Timed:
    """One fleet."""

    n_servers: int
    n_requests: int
    seconds: float
    one_by_one_s: float
    """Seconds that the baseline would take for the same day."""
    p50_s: float
    p99_s: float


def measure(n_servers: int) -> Timed:
    """Return the times of one fleet at 80 % utilisation on average, a sine wave around it."""
    counts = np.arange(1, N_ROWS + 1)
    curve = (N_ROWS + 3) / N_ROWS / (counts + 3)
    server = ServerModel(RATE / LOAD / n_servers * curve, 1024)
    traffic = Traffic(RATE * DAY_S, 1.0, 1.15)
    begun = time.perf_counter()
    day = simulate_day(server, n_servers, traffic, size_cv=0.3)
    seconds = time.perf_counter() - begun
    draw = np.random.default_rng(0)
    arrivals = np.cumsum(draw.exponential(1 / RATE, N_SAMPLE)).tolist()
    servers = draw.integers(n_servers, size=N_SAMPLE).tolist()
    begun = time.perf_counter()
    simulate_one_by_one(
        server, n_servers, arrivals, [1.0] * N_SAMPLE, routing="given", servers=servers
    )
    slow_s = (time.perf_counter() - begun) * day.n_requests / N_SAMPLE
    return Timed(n_servers, day.n_requests, seconds, slow_s, day.p50_s, day.p99_s)


def main() -> None:
    """Measure, print, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = [measure(n_servers) for n_servers in FLEETS]
    for each in found:
        print(
            f"{each.n_servers} servers: {each.n_requests:,} requests in {each.seconds:.1f} s "
            f"(<= {BAR_S:g}); one by one {each.one_by_one_s:,.0f} s, "
            f"{each.one_by_one_s / each.seconds:.0f} x; p50 {each.p50_s:.2f} s, "
            f"p99 {each.p99_s:.2f} s"
        )
    print(f"memory at its peak: {peak_bytes() / 2**30:.2f} GiB")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
