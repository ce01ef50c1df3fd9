"""A plan in words: rows of a table, a verdict, sums of money. Shared by terminal and page."""

import math

from glassbox.deploy.plan.planning import Plan
from glassbox.deploy.plan.source_tables import (
    ADAPTER_INSTANCE,
    ADAPTER_USD_PER_HOUR,
    CUSTOMERS,
    INSTANCE,
    SOURCE_USD,
    Again,
    adapter_disagreements,
    adapters_against_endpoints,
    disagreements,
    tables_again,
)
from glassbox.deploy.prices import Price, price_of
from glassbox.wording import percent

_WHY = {
    "utilisation": "by the utilisation aimed at",
    "latency": "by the time allowed",
    "fewest": "the fewest allowed",
}


def money(usd: float) -> str:
    """Return US dollars as a reader writes them."""
    return f"${usd:,.0f}" if abs(usd) >= 100 else f"${usd:,.2f}"


def seconds(value: float) -> str:
    """Return a time as a reader writes it: milliseconds below a second."""
    if math.isnan(value):
        return "–"
    if value < 0.9995:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def verdict(plan: Plan) -> str:
    """Return the plan in one sentence."""
    felt, limit_s = plan.at_random, plan.aims.limit_s
    kept = "stays within" if felt.p99_s <= limit_s else "does not stay within"
    cost = "" if plan.cost is None else f", {money(plan.cost.fixed_discounted)} a month"
    plural = "instance" if plan.instances == 1 else "instances"
    return (
        f"{plan.instances:,} {plural}{cost}: at the busiest moment {percent(felt.utilisation)} of "
        f"what they can answer, and the 99th percentile, {seconds(felt.p99_s)}, {kept} "
        f"{seconds(limit_s)}."
    )


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return what was decided and why, as pairs of a name and a value."""
    traffic, work, server, cost = plan.traffic, plan.work, plan.server, plan.cost
    rows = [
        (
            "requests",
            f"{_rate(traffic.mean_rate)} on average, {_rate(traffic.peak_rate)} at the busiest "
            "moment",
        ),
        (
            "one request",
            f"{work.name}: {work.n_read:,.0f} tokens read, {work.n_written:,.0f} written",
        ),
        (
            "one instance",
            f"at most {_rate(server.peak_rate)}; {seconds(server.alone_s)} for a request alone",
        ),
        ("instances", f"{plan.instances:,}, {_WHY[plan.by]}"),
        ("for the utilisation", f"{plan.for_target:,} keep it at {percent(plan.aims.target)}"),
        (
            "for the time allowed",
            f"none keeps {seconds(plan.aims.limit_s)}"
            if plan.for_latency is None
            else f"{plan.for_latency:,} keep the 99th percentile within "
            f"{seconds(plan.aims.limit_s)}",
        ),
        (
            "sent to any instance",
            f"median {seconds(plan.at_random.p50_s)}, 99th percentile "
            f"{seconds(plan.at_random.p99_s)} at the busiest moment",
        ),
    ]
    if plan.least_busy is not None:
        rows.append(
            (
                "sent to the least busy",
                f"median {seconds(plan.least_busy.p50_s)}, 99th percentile "
                f"{seconds(plan.least_busy.p99_s)}",
            )
        )
    rows.append(
        (
            "the whole day",
            f"{plan.day.n_requests:,} requests simulated: median {seconds(plan.day.p50_s)}, 99th "
            f"percentile {seconds(plan.day.p99_s)}, {plan.day.n_turned_away:,} turned away",
        )
    )
    rows.append(
        (
            "scaling itself",
            f"{plan.ordinary.mean_servers:,.1f} instances on average, at most "
            f"{plan.ordinary.peak_servers:,}; {percent(plan.ordinary.share_late, 2)} of requests "
            "late, waits by chance aside",
        )
    )
    spike = plan.aims.spike
    rows.append(
        (
            "with a spike",
            f"{spike.factor:g} times as much for {spike.length_s / 60:g} min: "
            f"{percent(plan.spiked.share_late, 2)} of the day's requests late or turned away "
            f"({percent(plan.spiked.share_turned_away, 2)} turned away), for "
            f"{plan.spiked.late_s / 60:.1f} min; the longest took "
            f"{seconds(plan.spiked.longest_s)}",
        )
    )
    if cost is not None:
        rows.append(("a month", _months(plan)))
    return rows


def _rate(per_s: float) -> str:
    """Return requests a second; few of them with two digits that say something."""
    return f"{per_s:,.2f}/s" if per_s >= 0.1 else f"{per_s:.2g}/s"


def _months(plan: Plan) -> str:
    cost = plan.cost
    assert cost is not None
    parts = [f"{money(cost.fixed)} for the fleet as it is"]
    if plan.aims.discount:
        parts.append(f"{money(cost.fixed_discounted)} with {percent(plan.aims.discount)} off")
    if cost.scaled is not None:
        parts.append(f"{money(cost.scaled)} if it scales itself")
    return ", ".join(parts)


SOURCE_FIGURES = (
    "requests/s",
    "design: instances",
    "design: a month",
    "instances again",
    "at $1,095",
    "at $1.52/h",
    "at our price",
    "36 % off",
    "p99, any",
    "p99, least busy",
)
"""What is said of each of the three sizes."""


def source_table(
    price: Price | None = None,
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return header and rows of the design's table beside our figures, a column for each size.

    Three sizes and many figures: with the sizes side by side it fits any terminal and any page.

    Args:
        price: Of an instance as the design's; None is the shipped one.
    """
    again = tables_again(price or price_of(INSTANCE))
    sizes = zip(*(_size(each) for each in again), strict=True)
    header = ("users", *(f"{each.row.users:,.0f}" for each in again))
    rows = ((name, *values) for name, values in zip(SOURCE_FIGURES, sizes, strict=True))
    return header, tuple(rows)


def _size(again: Again) -> tuple[str, ...]:
    return (
        f"{again.row.rate:g}",
        f"{again.row.instances}",
        money(again.row.usd),
        f"{again.instances}",
        money(again.usd_source_month),
        money(again.usd_source_hour),
        money(again.usd_price),
        money(again.usd_discounted),
        seconds(again.at_random.p99_s),
        seconds(again.least_busy.p99_s),
    )


def source_notes(price: Price | None = None) -> tuple[str, ...]:
    """Return what the table stands on, and where the design disagrees with itself."""
    price = price or price_of(INSTANCE)
    return (
        "Nobody measured the design's instance. Its table implies two requests a second of each at "
        "80 %; simulated is what that means if requests are answered one after another, 0.4 s "
        "each.",
        f"Our price: {price.instance_type} ${price.usd_per_hour:g} an hour, {price.region}, "
        f"{price.as_of} ({price.source}).",
        *disagreements(),
    )


ADAPTER_HEADER = (
    "customers", "requests/s", "endpoints", "a month", "with adapters", "a month", "ratio",
)  # fmt: skip


def adapter_rows(rate_of_one: float, kept: float) -> tuple[tuple[str, ...], ...]:
    """Return customers on an endpoint each beside adapters, at the design's price.

    Args:
        rate_of_one: Most requests a second of one instance.
        kept: Share of that which is left when many adapters come mixed.
    """
    rows = []
    for customers in (10, 100, CUSTOMERS):
        for rate in (0.001, 0.01, 0.1):
            found = adapters_against_endpoints(
                customers, ADAPTER_USD_PER_HOUR, rate, rate_of_one, kept=kept
            )
            rows.append(
                (
                    f"{customers:,}",
                    f"{found.rate:g}",
                    f"{found.instances_each:,}",
                    money(found.usd_each),
                    f"{found.instances_shared:,}",
                    money(found.usd_shared),
                    f"{found.times:,.0f}",
                )
            )
    return tuple(rows)


def adapter_notes(rate_of_one: float, kept: float) -> tuple[str, ...]:
    """Return what the comparison stands on, and where the design disagrees with itself."""
    return (
        f"{ADAPTER_INSTANCE} at the design's ${ADAPTER_USD_PER_HOUR:g} an hour, at most "
        f"{rate_of_one:g} requests a second of one instance (assumed), of which {percent(kept)} "
        "are left when requests of many adapters come mixed. The design says "
        f"{money(SOURCE_USD['one for each'])} against {money(SOURCE_USD['adapters'])}.",
        *adapter_disagreements(),
    )
