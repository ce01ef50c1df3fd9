"""From a capacity file, traffic and prices to a plan: instances, what requests feel, what it costs.

Puts the parts together; what each of them knows and does not know stands there. Nothing here was
run on a cloud: a plan is as good as the capacity file is true of the instance that is priced.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from glassbox.deploy.plan.autoscaling import (
    Metric,
    Policy,
    ScaledDay,
    Spike,
    concurrency_at,
    simulate_scaling,
)
from glassbox.deploy.plan.capacity import Capacity, Work
from glassbox.deploy.plan.day import Day, simulate_day
from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.sizing import (
    LIMIT_S,
    TARGET,
    Felt,
    felt_at_random,
    felt_by_least_busy,
    instances_for_latency,
    instances_for_target,
)
from glassbox.deploy.plan.traffic import Traffic
from glassbox.deploy.prices import Price, checked_discount
from glassbox.errors import CapacityError, InvalidValue
from glassbox.progress import Progress, untold
from glassbox.wording import counted

MOST_LEAST_BUSY = 2000
"""Most instances for which requests are sent to the least busy one, one after another."""

By = Literal["utilisation", "latency", "fewest"]


@dataclass(frozen=True)
class Aims:
    """What the fleet has to keep, and how it may change."""

    target: float = TARGET
    """Utilisation aimed at, (0, 1]."""
    limit_s: float = LIMIT_S
    """Most seconds of the 99th percentile."""
    least: int = 1
    """Fewest instances."""
    most: int = 300
    """Most instances. Source: ADR-008."""
    cold_start_s: float = 300.0
    """Seconds until a new instance answers."""
    metric: Metric = "concurrency"
    """What auto-scaling watches."""
    spike: Spike = field(default_factory=Spike)
    """What the scaled day has to survive."""
    discount: float = 0.0
    """Share of the price that a savings plan takes off, [0, 1)."""
    seed: int = 0
    """Of chance."""

    def __post_init__(self) -> None:
        # Before a day is simulated, not behind it.
        if not self.limit_s > 0:
            raise InvalidValue("limit_s", self.limit_s, "seconds above 0 for the 99th percentile")
        if not 1 <= self.least <= self.most:
            raise InvalidValue(
                "instances", (self.least, self.most), "1 <= fewest <= most instances"
            )
        if not (math.isfinite(self.cold_start_s) and self.cold_start_s >= 0):
            raise InvalidValue("cold_start_s", self.cold_start_s, "seconds, 0 or more")
        checked_discount(self.discount)


@dataclass(frozen=True)
class Cost:
    """What the fleet costs in a month, US dollars."""

    fixed: float
    """The fleet as it is, on demand."""
    fixed_discounted: float
    """The same with the savings plan."""
    scaled: float | None
    """A fleet that scales itself on ordinary days, on demand; None where none was simulated."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The whole answer."""

    capacity: Capacity
    """What one server was measured to do."""
    work: Work
    """What requests ask for."""
    server: ServerModel
    """The server made of both."""
    traffic: Traffic
    """What comes."""
    aims: Aims
    """What has to be kept."""
    instances: int
    """How many are planned."""
    by: By
    """What decides that: the utilisation, the latency, or the fewest allowed."""
    for_target: int
    """Fewest that keep the utilisation."""
    for_latency: int | None
    """Fewest that keep the 99th percentile, routed at random; None where none does."""
    at_random: Felt
    """What requests feel at the busiest moment, sent to any instance."""
    least_busy: Felt | None
    """The same, sent to the instance with the fewest under way; None for very large fleets."""
    day: Day
    """Every request of a day on a fleet of that size, routed at random."""
    ordinary: ScaledDay
    """An ordinary day of a fleet that scales itself."""
    spiked: ScaledDay
    """That day with the spike."""
    price: Price | None
    """Of an instance; None where it is not known."""
    cost: Cost | None
    """A month's; None without a price."""
    notes: tuple[str, ...]
    """What a reader should know."""


def make_plan(
    capacity: Capacity,
    work: Work,
    traffic: Traffic,
    aims: Aims | None = None,
    price: Price | None = None,
    *,
    report: Progress = untold,
) -> Plan:
    """Return a plan.

    Args:
        capacity: What one server was measured to do.
        work: One of its works, or one made of tokens.
        traffic: What comes.
        aims: What has to be kept; None takes the defaults.
        price: Of an instance; None leaves costs out.
        report: Told how far the simulated day is.

    Raises:
        InvalidValue: An aim that makes no sense.
        CapacityError: More instances are needed than are allowed.
    """
    aims = aims or Aims()
    server = capacity.server(work)
    peak, cv, seed = traffic.peak_rate, work.size_cv, aims.seed
    for_target = instances_for_target(server, peak, aims.target)
    for_latency: int | None
    try:
        for_latency = instances_for_latency(server, peak, aims.limit_s, size_cv=cv, seed=seed)
    except CapacityError:
        for_latency = None
    n, by = _decided(for_target, for_latency, aims.least)
    if n > aims.most:
        raise CapacityError(
            f"{counted(n, 'instance is', 'instances are')} needed at the busiest moment, "
            f"{peak:,.1f} requests a second, and {counted(aims.most, 'is', 'are')} allowed. Raise "
            "--max-instances (mind the quota), allow more time or a higher utilisation, or use a "
            "faster instance."
        )
    felt = felt_at_random(server, peak / n, size_cv=cv, seed=seed)
    routed = (
        felt_by_least_busy(server, n, peak, size_cv=cv, seed=seed) if n <= MOST_LEAST_BUSY else None
    )
    # Where the time allowed decides, scaling has to aim at what that leaves of the utilisation.
    aim = min(aims.target, felt.utilisation) if by == "latency" else aims.target
    policy = _policy(server, aims, aim)
    ordinary = simulate_scaling(server, traffic, policy, limit_s=aims.limit_s, seed=seed)
    spiked = simulate_scaling(
        server, traffic, policy, spike=aims.spike, limit_s=aims.limit_s, seed=seed
    )
    return Plan(
        capacity=capacity,
        work=work,
        server=server,
        traffic=traffic,
        aims=aims,
        instances=n,
        by=by,
        for_target=for_target,
        for_latency=for_latency,
        at_random=felt,
        least_busy=routed,
        day=simulate_day(server, n, traffic, size_cv=cv, seed=seed, report=report),
        ordinary=ordinary,
        spiked=spiked,
        price=price,
        cost=None if price is None else _cost(price, n, ordinary, aims.discount),
        notes=_notes(capacity, work, server, aims, price, for_latency),
    )


def _decided(for_target: int, for_latency: int | None, least: int) -> tuple[int, By]:
    by_aim: tuple[int, By] = (for_target, "utilisation")
    if for_latency is not None and for_latency > for_target:
        by_aim = (for_latency, "latency")
    return by_aim if by_aim[0] >= least else (least, "fewest")


def _policy(server: ServerModel, aims: Aims, utilisation: float) -> Policy:
    target = utilisation
    if aims.metric == "concurrency":
        target = concurrency_at(server, utilisation)
    return Policy(target, aims.metric, aims.least, aims.most, aims.cold_start_s)


def _cost(price: Price, n: int, ordinary: ScaledDay, discount: float) -> Cost:
    return Cost(
        fixed=price.usd_per_month(n),
        fixed_discounted=price.usd_per_month(n, discount=discount),
        scaled=price.usd_per_month(ordinary.mean_servers),
    )


def _notes(
    capacity: Capacity,
    work: Work,
    server: ServerModel,
    aims: Aims,
    price: Price | None,
    for_latency: int | None,
) -> tuple[str, ...]:
    notes = []
    if price is None:
        notes.append(
            "No cost: the price of what was measured is not known. Give --instance-type or "
            "--usd-per-hour."
        )
    else:
        notes.append(
            f"{price.instance_type}: ${price.usd_per_hour:g} an hour in {price.region}, "
            f"{price.as_of} ({price.source})."
        )
        if price.instance_type != capacity.instance:
            notes.append(
                f"Measured on {capacity.instance}, priced as {price.instance_type}: that the two "
                "answer alike is an assumption of yours."
            )
    if for_latency is None:
        notes.append(
            f"No number of instances keeps the 99th percentile within {aims.limit_s:g} s: a "
            f"request of average size takes {server.alone_s:.3g} s when it is alone."
        )
    errors = [each.p99_error for each in capacity.compared if each.work == work.name]
    if errors:
        notes.append(
            f"Against the server that was measured the simulated 99th percentile was off by "
            f"{100 * min(errors):+.0f} % to {100 * max(errors):+.0f} %."
        )
    else:
        notes.append(
            "The simulation was not compared with a server for this work: take its times with care."
        )
    return tuple(notes)
