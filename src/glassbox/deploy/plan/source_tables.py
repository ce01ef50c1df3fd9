"""The source documents' own tables of cost, computed again beside their figures.

ADR-008 plans for three sizes, the deployment page compares adapters with endpoints. Both are taken
as they stand, each figure is computed from the others, and where two of them disagree a sentence
says so. What is simulated stands on an assumption that is named: nobody measured their instance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.sizing import (
    TARGET,
    Felt,
    felt_at_random,
    felt_by_least_busy,
    instances_for_target,
)
from glassbox.deploy.plan.traffic import DAY_S
from glassbox.deploy.prices import HOURS_PER_MONTH, Price
from glassbox.wording import percent

INSTANCE: Final = "ml.g5.2xlarge"
USD_PER_MONTH: Final = 1095.0
"""Source: ADR-008, "$1,095/month per instance"."""
USD_PER_HOUR: Final = 1.52
"""Source: ADR-008, "~$1.52/hour"."""
DISCOUNT: Final = 0.36
"""Source: ADR-008, 3-year savings plans."""
MOST_INSTANCES: Final = 300
"""Source: ADR-008, auto-scaling 5-300."""
LIMIT_S: Final = 0.5
"""Source: ADR-008, "< 500ms p99"."""

MEMORY_BYTES_PER_S: Final = 600e9
"""Source: NVIDIA, A10G data sheet: 600 GB/s."""
WEIGHTS_BYTES: Final = 16e9
"""Source: ADR-008, "16GB weights"."""
WRITTEN: Final = 256
"""Source: ADR-008, ``max_new_tokens``."""


@dataclass(frozen=True)
class Row:
    """One size of the source's table."""

    users: float
    """How many users."""
    rate: float
    """Requests a second, the source's "QPS"."""
    instances: int
    """The source's number."""
    usd: float
    """The source's dollars a month."""


ROWS: Final = (
    Row(1e5, 10, 5, 5_500),
    Row(1e6, 100, 50, 55_000),
    Row(1e7, 500, 250, 275_000),
)
"""Source: ADR-008, "Scaling Strategy"."""

RATE_OF_ONE: Final = 2.0
"""Requests a second of one instance. Source: every row of that table, rate over instances."""


@dataclass(frozen=True)
class Again:
    """One row computed again."""

    row: Row
    """As the source has it."""
    requests_per_user: float
    """Requests of one user in a day that make this rate."""
    rate_of_one: float
    """Requests a second of one of the source's instances."""
    instances: int
    """Instances, if one at the target answers as many as in the source's table."""
    usd_source_month: float
    """They cost at the source's dollars a month."""
    usd_source_hour: float
    """They cost at the source's dollars an hour."""
    usd_price: float
    """They cost at the price given."""
    usd_discounted: float
    """That with the source's savings plan."""
    at_random: Felt
    """Simulated: requests sent to any instance."""
    least_busy: Felt
    """Simulated: requests sent to the least busy instance."""


def assumed_server() -> ServerModel:
    """Return the instance that the source's table implies, in its plainest form.

    At 80 % it answers two requests a second, so 2.5 at most; one after another, 0.4 s each, which
    is the fastest a request can be answered by what gains nothing from working on several.
    """
    return ServerModel(np.array([RATE_OF_ONE / TARGET]), 1024)


@cache
def tables_again(price: Price) -> tuple[Again, ...]:
    """Return the three rows computed again; what requests feel is simulated for some seconds.

    Args:
        price: What an hour of the instance costs.
    """
    server = assumed_server()
    return tuple(_again(row, price, server) for row in ROWS)


def _again(row: Row, price: Price, server: ServerModel) -> Again:
    n = instances_for_target(server, row.rate)
    return Again(
        row=row,
        requests_per_user=row.rate * DAY_S / row.users,
        rate_of_one=row.rate / row.instances,
        instances=n,
        usd_source_month=n * USD_PER_MONTH,
        usd_source_hour=n * USD_PER_HOUR * HOURS_PER_MONTH,
        usd_price=price.usd_per_month(n),
        usd_discounted=price.usd_per_month(n, discount=DISCOUNT),
        at_random=felt_at_random(server, row.rate / n),
        least_busy=felt_by_least_busy(server, n, row.rate),
    )


def disagreements() -> tuple[str, ...]:
    """Return where the source's cost figures disagree with one another, one sentence each."""
    whole, tenth = ROWS[2], ROWS[1]
    in_proportion = tenth.rate * whole.users / tenth.users
    needed = in_proportion / RATE_OF_ONE
    month_hours = USD_PER_MONTH / USD_PER_HOUR
    token_s = WEIGHTS_BYTES / MEMORY_BYTES_PER_S
    return (
        f"10M users send {whole.rate:g} requests a second where 1M send {tenth.rate:g}: ten times "
        f"the users, five times the requests. In proportion it would be {in_proportion:,.0f}/s, "
        f"{needed:,.0f} instances and ${needed * USD_PER_MONTH:,.0f} a month, more instances than "
        f"the {MOST_INSTANCES} that its auto-scaling allows.",
        f"10M users cost ${whole.usd:,.0f} a month in the table and about $130K in the "
        f"consequences. At ${USD_PER_MONTH:,.0f} an instance $130K pay for "
        f"{130_000 / USD_PER_MONTH:.0f} instances, not {whole.instances}.",
        f"$1.52 an hour is ${USD_PER_HOUR * HOURS_PER_MONTH:,.2f} in a month of "
        f"{HOURS_PER_MONTH:g} hours; ${USD_PER_MONTH:,.0f} is a month of {month_hours:.0f} hours, "
        "30 days.",
        f"5 instances at ${USD_PER_MONTH:,.0f} are ${5 * USD_PER_MONTH:,.0f}, 50 are "
        f"${50 * USD_PER_MONTH:,.0f}, 250 are ${250 * USD_PER_MONTH:,.0f}: the table rounds up by "
        "as much as $1,250.",
        f"36 % off ${whole.usd:,.0f} leaves ${whole.usd * (1 - DISCOUNT):,.0f}; off "
        f"${250 * USD_PER_MONTH:,.0f} it leaves ${250 * USD_PER_MONTH * (1 - DISCOUNT):,.0f}, the "
        "about $175,000 that it says.",
        f"The third row leaves {MOST_INSTANCES - whole.instances} of {MOST_INSTANCES} instances "
        f"for a spike: {percent(MOST_INSTANCES / whole.instances - 1)}.",
        f"Writing {WRITTEN} tokens, its default, takes at least {token_s * WRITTEN:.1f} s on this "
        f"GPU: {WEIGHTS_BYTES / 1e9:.0f} GB of weights are read for each token at "
        f"{MEMORY_BYTES_PER_S / 1e9:.0f} GB/s. A p99 of 500 ms can hold for reading an answer, "
        f"not for writing one of more than {LIMIT_S / token_s:.0f} tokens.",
    )


ADAPTER_INSTANCE: Final = "ml.g6e.xlarge"
ADAPTER_USD_PER_HOUR: Final = 1.25
"""Source: the design's deployment page, "~$1.25/hour (ml.g6e.xlarge with 48GB GPU)"."""
KEPT: Final = 0.67
"""Share of a single adapter's throughput that is left when requests of many come mixed.

Source: benchmarks/many_adapters.py, 300 adapters by Zipf's law in 16 places, on two CPU cores.
"""
CUSTOMERS: Final = 1000
"""Source: the design's deployment page, "1000 customers = 1000 endpoints"."""
SOURCE_USD: Final[Mapping[str, float]] = {"one for each": 150_000.0, "adapters": 150.0}
"""Source: the design's deployment page, dollars a month."""


@dataclass(frozen=True)
class AdapterCost:
    """Some customers on an endpoint each, and on adapters of one model."""

    customers: int
    """How many."""
    usd_per_hour: float
    """Of one instance."""
    rate: float
    """Requests a second of all together at the busiest moment."""
    instances_each: int
    """Instances if each customer has an endpoint of its own, of one at least."""
    instances_shared: int
    """Instances if all share a model and bring adapters."""
    usd_each: float
    """A month of the first."""
    usd_shared: float
    """A month of the second."""

    @property
    def times(self) -> float:
        """How many times as much the first costs."""
        return self.usd_each / self.usd_shared


def adapters_against_endpoints(
    customers: int,
    usd_per_hour: float,
    rate_of_customer: float,
    rate_of_one: float,
    *,
    kept: float = 1.0,
) -> AdapterCost:
    """Return what both ways cost in a month.

    Args:
        customers: How many there are.
        usd_per_hour: Of an instance.
        rate_of_customer: Requests a second of one customer at the busiest moment.
        rate_of_one: Most requests a second of one instance with a single adapter.
        kept: Share of that which is left when requests of many adapters come mixed.
    """
    each = max(1, _ceil(rate_of_customer / (TARGET * rate_of_one)))
    rate = customers * rate_of_customer
    shared = max(1, _ceil(rate / (TARGET * rate_of_one * kept)))
    month = usd_per_hour * HOURS_PER_MONTH
    return AdapterCost(
        customers, usd_per_hour, rate, customers * each, shared,
        customers * each * month, shared * month,
    )  # fmt: skip


def adapter_disagreements() -> tuple[str, ...]:
    """Return where the source's comparison disagrees with itself, one sentence each."""
    month = ADAPTER_USD_PER_HOUR * HOURS_PER_MONTH
    one, many = SOURCE_USD["adapters"], SOURCE_USD["one for each"]
    return (
        f"${ADAPTER_USD_PER_HOUR:g} an hour is ${month:,.2f} a month, not ${one:,.0f}: that pays "
        f"for {one / ADAPTER_USD_PER_HOUR:.0f} hours, {percent(one / month)} of a month.",
        f"{CUSTOMERS:,} endpoints are ${CUSTOMERS * month:,.0f} a month, not ${many:,.0f}. The "
        f"ratio of {CUSTOMERS:,} holds, because both are too low by the same factor of "
        f"{month / one:.1f}.",
        "One instance serves the adapters of all only while it can answer all their requests; and "
        "one instance is an endpoint that stops when it does: two are "
        f"${2 * month:,.0f}, and the ratio is {CUSTOMERS // 2}.",
        'It counts "1000+ LoRA adapters" at one place and "10+ LoRA adapters from one endpoint" '
        "at another.",
    )


def _ceil(value: float) -> int:
    return int(np.ceil(value - 1e-9))
