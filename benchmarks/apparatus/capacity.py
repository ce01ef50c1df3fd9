"""What a server's capacity file says, measured: closed loops, then arrivals at random.

For each kind of work so many requests are always under way, in turn 1, 2, 4 and on; what is
finished in a second is the curve that the simulator's server goes by. Then requests arrive by a
seeded Poisson process, and what they felt stands beside what the simulation says of the very same
requests at the very same times. ``benchmarks/apparatus/served.py`` sends them.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.apparatus.arrivals import goodput, percentile, poisson
from benchmarks.apparatus.flights import closed_loop, open_loop
from benchmarks.apparatus.served import Caller, Reserved, Served
from glassbox.deploy.plan.capacity import Capacity, Compared, Point, Work
from glassbox.deploy.plan.simulator import simulate

IN_FLIGHT = (1, 2, 4, 8, 16, 32)
TYPICAL = 8
"""Number in flight at which tokens are weighed to say how unequal requests are."""
LOADS = (0.5, 0.8)
"""Shares of the peak at which requests arrive by themselves."""
SEED = 5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Opened:
    """Requests that came on their own at one rate."""

    rate: float
    arrivals: Sequence[float]
    sent: Reserved
    latencies_s: Sequence[float]


@dataclass(frozen=True)
class Seen:
    """All that was measured."""

    rates: dict[tuple[str, int], list[float]]
    """Requests a second by work and number in flight, one a round."""
    opened: dict[tuple[str, float], list[Opened]]
    """By work and load, one a round."""


@dataclass(frozen=True)
class Bench:
    """The server under measurement, and how long to take."""

    caller: Caller
    works: Mapping[str, Served]
    point_s: float
    """Seconds of each point of a curve, about."""
    open_s: float
    """Seconds of arrivals at each load, in each round."""
    n_rounds: int
    """How often everything is measured."""
    say: Say

    def run(self) -> Seen:
        """Return what was seen in rounds in which everything takes turns.

        A machine whose speed changes disturbs the curve and what it is compared with alike.
        """
        seen = Seen({}, {})
        for kind in self.works.values():
            self._rate(kind, 4, 8)
        for place in range(self.n_rounds):
            for kind in self.works.values():
                rate, peak = self._rate(kind, 1, 4), 0.0
                for in_flight in IN_FLIGHT:
                    # Those that begin together at first must not be many of all.
                    n = round(max(rate * self.point_s, 4 * in_flight))
                    rate = self._rate(kind, in_flight, n)
                    peak = max(peak, rate)
                    seen.rates.setdefault((kind.name, in_flight), []).append(rate)
                for load in LOADS:
                    seen.opened.setdefault((kind.name, load), []).append(
                        self._open(kind, load * peak, SEED + place)
                    )
            self.say(f"round {place + 1} of {self.n_rounds}")
        return seen

    def _open(self, kind: Served, rate: float, seed: int) -> Opened:
        n = round(rate * self.open_s)
        arrivals = poisson(n, rate, seed)
        sent = self.caller.reserve(kind, n)
        flown = open_loop(sent.start, arrivals).flown
        return Opened(rate, arrivals, sent, [each.latency_s for each in flown])

    def _rate(self, kind: Served, in_flight: int, n: int) -> float:
        flown = closed_loop(self.caller.reserve(kind, n).start, n, in_flight)
        # From when the first have left to when nobody comes any more, all places are taken.
        first_s = sorted(each.done_s for each in flown)[in_flight - 1]
        last_s = max(each.sent_s for each in flown)
        if last_s <= first_s:
            return in_flight / statistics.fmean(each.latency_s for each in flown)
        return goodput([each.span for each in flown], first_s, last_s)


def curves(works: Mapping[str, Served], seen: Seen) -> dict[str, Work]:
    """Return the curve of every kind of work, medians; how unequal requests are is not in it."""
    return {
        name: Work(
            name, statistics.fmean(kind.n_read), statistics.fmean(kind.n_written), 0.0,
            tuple(Point(k, statistics.median(seen.rates[name, k])) for k in IN_FLIGHT),
        )
        for name, kind in works.items()
    }  # fmt: skip


def compared(capacity: Capacity, seen: Seen) -> tuple[Compared, ...]:
    """Return measured and simulated percentiles for each kind of work and load."""
    found = []
    for (name, _), rounds in seen.opened.items():
        work = capacity.works[name]
        mean = sizes_of(capacity, [work.n_read], [work.n_written])[0]
        real: list[float] = []
        told: list[float] = []
        for each in rounds:
            real += each.latencies_s
            due = np.array([each.arrivals])
            sizes = sizes_of(capacity, each.sent.n_read, each.sent.n_written)
            times = simulate(capacity.server(work), due, sizes[None] / mean) - due
            told += [float(time) for time in times.ravel() if np.isfinite(time)]
        rate = statistics.fmean(each.rate for each in rounds)
        found.append(
            Compared(
                name, rate, len(real),
                percentile(real, 0.5), percentile(real, 0.99),
                percentile(told, 0.5), percentile(told, 0.99),
            )
        )  # fmt: skip
    return tuple(found)


def sizes_of(
    capacity: Capacity, n_read: Sequence[float], n_written: Sequence[float]
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the seconds of the server that requests take, by their tokens."""
    read_s, written_s = capacity.token_costs(TYPICAL)
    return np.asarray(n_read, float) * read_s + np.asarray(n_written, float) * written_s


def with_sizes(capacity: Capacity, works: Mapping[str, Served]) -> Capacity:
    """Return a capacity that says how unequal the requests of each kind were."""
    known = {}
    for name, work in capacity.works.items():
        sizes = sizes_of(capacity, works[name].n_read, works[name].n_written)
        known[name] = replace(work, size_cv=float(sizes.std() / sizes.mean()))
    return replace(capacity, works=known)
