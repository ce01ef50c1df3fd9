"""A day of a fleet that grows and shrinks by itself, with a spike and slow starts.

Requests are a fluid here, second by second, with the noise of their arrivals: what matters in a
spike is how fast backlogs grow and how late servers come, not the fate of each request. Knows how
target tracking decides, as far as that is documented; nothing of it was run in an account.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal, no_type_check

import numpy as np
from jaxtyping import Float, Int

from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.traffic import DAY_S, Traffic
from glassbox.errors import InvalidValue

COLD_START_S: Final = 300.0
"""From the decision to the first request. Source: ADR-008, about five minutes."""

PERIOD_S: Final = 10
"""Seconds of one period of the simulated day."""

N_STEPS: Final = 1000
"""Steps of utilisation for which the number under way is worked out beforehand."""

Metric = Literal["concurrency", "utilisation"]

FIGURE_S: Final[dict[Metric, int]] = {"concurrency": 10, "utilisation": 60}
"""Seconds that one figure of a metric is averaged over, whole periods. Source: SageMaker's
documentation of ConcurrentRequestsPerModel, told every 10 seconds, and of GPUUtilization, every
minute."""


@dataclass(frozen=True)
class Spike:
    """A time in which more comes than on an ordinary day."""

    factor: float = 3.0
    """Times the ordinary rate, 1 or more."""
    at_s: float = 15 * 3600.0
    """When it begins, seconds of the day; from one second to the next."""
    length_s: float = 1800.0
    """How long it lasts."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise InvalidValue("spike", self.factor, "1 or more: how many times the rate")
        if not (self.length_s >= 0 and self.at_s >= 0 and self.at_s + self.length_s <= DAY_S):
            given = f"{self.length_s / 60:g} minutes from {self.at_s / 3600:g} h on"
            most = (DAY_S - self.at_s) / 60
            raise InvalidValue("spike", given, f"one that ends with the day: 0 to {most:g} minutes")


@dataclass(frozen=True)
class Policy:
    """How the fleet's size is decided."""

    target: float
    """What is aimed at, above 0: requests under way on each server, or utilisation up to 1."""
    metric: Metric = "concurrency"
    """What is watched: requests under way on each server, or the share of their time in which
    they work. The second says nothing of a backlog: it ends at 1."""
    least: int = 5
    """Fewest servers. Source: ADR-008."""
    most: int = 300
    """Most servers. Source: ADR-008."""
    cold_start_s: float = COLD_START_S
    """Seconds from a decision until a new server answers."""
    out_figures: int = 3
    """Figures of the metric in a row above the target that make it grow."""
    in_s: float = 900.0
    """Seconds below nine tenths of it that make it shrink."""
    growth: float = 2.0
    """Most by which one decision multiplies the fleet. An assumption: how far target tracking
    goes at once is not documented."""
    shrinkage: float = 0.9
    """Least to which one decision shrinks it: target tracking is said to do that gradually."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.target) and self.target > 0):
            raise InvalidValue("target", self.target, "a number above 0")
        if self.metric == "utilisation" and self.target >= 1:
            raise InvalidValue("target", self.target, "a utilisation below 1, which none exceeds")
        if not (self.growth > 1 and 0 < self.shrinkage < 1):
            raise InvalidValue(
                "growth and shrinkage", (self.growth, self.shrinkage), "above 1, and in (0, 1)"
            )
        if not 1 <= self.least <= self.most:
            raise InvalidValue(
                "instances", (self.least, self.most), "1 <= fewest <= most instances"
            )
        if not (math.isfinite(self.cold_start_s) and self.cold_start_s >= 0):
            raise InvalidValue("cold_start_s", self.cold_start_s, "seconds, 0 or more")


@dataclass(frozen=True, eq=False)
class ScaledDay:
    """What became of the day, every ten seconds and in all."""

    rates: Float[np.ndarray, " n_periods"]
    """Requests a second that came."""
    ready: Int[np.ndarray, " n_periods"]
    """Servers that answered."""
    wanted: Int[np.ndarray, " n_periods"]
    """Servers that were decided on, those starting included."""
    times_s: Float[np.ndarray, " n_periods"]
    """Longest time that a request took which came then, about."""
    share_turned_away: float
    """Share of the day's requests for which no place was left."""
    share_late: float
    """Share of the day's requests, those turned away included, that took longer than allowed."""
    longest_s: float
    """Longest time of any."""
    late_s: float
    """Seconds of the day in which requests took longer than allowed or were turned away."""
    mean_servers: float
    """Servers paid for, on average: also those that were starting."""
    peak_servers: int
    """Most servers at a time."""


def concurrency_at(server: ServerModel, utilisation: float) -> float:
    """Return how many requests are under way on a server that answers so much of its most.

    Args:
        server: What it is.
        utilisation: In (0, 1].
    """
    counts, rates = _curve(server)
    return float(np.interp(utilisation * rates[-1], rates, counts))


def _curve(
    server: ServerModel,
) -> tuple[Float[np.ndarray, " n_points"], Float[np.ndarray, " n_points"]]:
    """Return requests under way and the rate there, from none to where the rate grows no more."""
    rates = np.concatenate([[0.0], server.rates])
    top = int(rates.argmax())
    return np.arange(top + 1, dtype=float), np.maximum.accumulate(rates[: top + 1])


def simulate_scaling(
    server: ServerModel,
    traffic: Traffic,
    policy: Policy,
    *,
    spike: Spike | None = None,
    limit_s: float = 0.5,
    seed: int = 0,
) -> ScaledDay:
    """Return a day of a fleet that scales itself.

    Args:
        server: What each server is.
        traffic: An ordinary day's.
        policy: How the size is decided.
        spike: What comes on top; None nothing.
        limit_s: Seconds a request may take.
        seed: Of the arrivals.
    """
    seconds = np.arange(DAY_S)
    rates = traffic.rates(seconds)
    if spike is not None:
        inside = (seconds >= spike.at_s) & (seconds < spike.at_s + spike.length_s)
        rates = np.where(inside, rates * spike.factor, rates)
    arrivals = np.random.default_rng(seed).poisson(rates)
    fleet = _Fleet(server, policy, float(rates[0]), limit_s)
    periods = [
        fleet.period(index * PERIOD_S, came)
        for index, came in enumerate(arrivals.reshape(-1, PERIOD_S).tolist())
    ]
    n = max(1, int(arrivals.sum()))
    return ScaledDay(
        rates=rates.reshape(-1, PERIOD_S).mean(axis=1),
        ready=np.array([each.ready for each in periods]),
        wanted=np.array([each.wanted for each in periods]),
        times_s=np.array([each.took_s for each in periods]),
        share_turned_away=sum(each.lost for each in periods) / n,
        share_late=sum(each.late for each in periods) / n,
        longest_s=max(each.took_s for each in periods),
        late_s=float(sum(each.late_s for each in periods)),
        mean_servers=fleet.server_seconds / DAY_S,
        peak_servers=fleet.peak,
    )


@dataclass(frozen=True)
class _Period:
    """What became of ten seconds."""

    ready: int
    wanted: int
    took_s: float
    """Longest time of a request."""
    lost: float
    """Requests turned away."""
    late: float
    """Requests that took too long, and those turned away."""
    late_s: int
    """Seconds with any of them."""


@dataclass
class _Fleet:
    """The servers and what is under way on them, between two seconds."""

    server: ServerModel
    policy: Policy
    first_rate: float
    limit_s: float
    backlog: float = 0.0
    """Requests that came and were not finished in their second."""
    n_ready: int = 0
    n_wanted: int = 0
    ready_at: float = math.inf
    """When the servers that are starting will answer."""
    server_seconds: float = 0.0
    peak: int = 0
    metrics: list[float] = field(default_factory=list)
    """Of the periods since the last figure."""
    n_above: int = 0
    n_below: int = 0
    below: float = 0.0
    """Highest of those figures."""

    def __post_init__(self) -> None:
        shares = np.linspace(0, 1, N_STEPS + 1)
        counts, rates = _curve(self.server)
        self._under_way = np.interp(shares * rates[-1], rates, counts).tolist()
        target = self.policy.target * rates[-1]
        if self.policy.metric == "concurrency":
            target = float(np.interp(self.policy.target, counts, rates))
        self.n_wanted = self._bounded(math.ceil(self.first_rate / target))
        self.n_ready = self.peak = self.n_wanted

    @no_type_check
    def period(self, now: int, arrivals: list[int]) -> _Period:
        """Let a period pass, second by second, and decide; return what became of it."""
        if now >= self.ready_at:
            self.n_ready, self.ready_at = self.n_wanted, math.inf
        server, n_ready, known = self.server, self.n_ready, self._under_way
        most, alone_s = n_ready * server.peak_rate, server.alone_s
        busy = n_ready * known[-1]
        room = n_ready * (server.n_rows + server.n_waiting) - busy
        is_count = self.policy.metric == "concurrency"
        lost = late = metric = longest_s = 0.0
        late_s = 0
        for n in arrivals:
            demand, away = self.backlog + n, 0.0
            if demand <= most:
                self.backlog = 0.0
                under_way = n_ready * known[round(N_STEPS * demand / most)]
                took_s = max(alone_s, under_way / demand if demand else 0.0)
            else:
                away = max(0.0, demand - most - room)
                self.backlog = demand - most - away
                under_way = busy + self.backlog
                # Little's law: what is under way, over what is finished in a second.
                took_s = under_way / most
            lost += away
            late += n if took_s > self.limit_s else away
            late_s += took_s > self.limit_s or away > 0
            longest_s = max(longest_s, took_s)
            metric += under_way / n_ready if is_count else min(1.0, demand / most)
        self.server_seconds += max(n_ready, self.n_wanted) * PERIOD_S
        self.metrics.append(metric / PERIOD_S)
        if len(self.metrics) * PERIOD_S == FIGURE_S[self.policy.metric]:
            self._decide(now + PERIOD_S, sum(self.metrics) / len(self.metrics))
            self.metrics.clear()
        return _Period(self.n_ready, self.n_wanted, longest_s, lost, late, late_s)

    @no_type_check
    def _decide(self, now: int, metric: float) -> None:
        policy = self.policy
        self.n_above = self.n_above + 1 if metric > policy.target else 0
        is_below = metric < 0.9 * policy.target
        self.below = max(self.below, metric) if is_below else 0.0
        self.n_below = self.n_below + 1 if is_below else 0
        if self.ready_at < math.inf:
            # An endpoint that is being updated takes no other change.
            return
        if self.n_above >= policy.out_figures:
            factor = min(policy.growth, metric / policy.target)
        elif self.n_below * FIGURE_S[policy.metric] >= policy.in_s:
            factor = max(policy.shrinkage, self.below / policy.target)
            self.n_below, self.below = 0, 0.0
        else:
            return
        self.n_wanted = self._bounded(math.ceil(self.n_ready * factor))
        self.peak = max(self.peak, self.n_wanted)
        if self.n_wanted > self.n_ready:
            self.ready_at = now + policy.cold_start_s
        else:
            self.n_ready = self.n_wanted

    @no_type_check
    def _bounded(self, wanted: int) -> int:
        return min(self.policy.most, max(self.policy.least, wanted))
