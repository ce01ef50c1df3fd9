"""What a month of a deployment costs: machines only, from the dated table of prices; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glassbox.deploy.prices import Prices
from glassbox.deploy.sagemaker.desired import Desired
from glassbox.deploy.sagemaker.observed import Observed


@dataclass(frozen=True)
class Cost:
    """What a month of machines costs, US dollars; None where a price is not known."""

    instance_types: tuple[str, ...]
    """Kinds of machines that run."""
    now: float | None
    """As it is; 0 where nothing runs."""
    at_first: float | None
    """With the machines that it starts with."""
    least: float | None
    """With the fewest that autoscaling leaves."""
    most: float | None
    """With the most that autoscaling takes."""
    n_machines: tuple[int, int, int]
    """Machines at first, at least and at most, shadow included."""
    basis: str
    """Where the prices come from, and for which region and date."""


def cost_of(wish: Desired, there: Observed, prices: Prices) -> Cost:
    """Return what a month costs before and after.

    Args:
        wish: What is to be.
        there: What is there.
        prices: What an hour costs; an instance type that is not among them costs None.
    """
    primary = wish.config.request["ProductionVariants"][0]
    shadows = wish.config.request.get("ShadowProductionVariants", ())
    first = int(primary["InitialInstanceCount"])
    least, most = first, first
    managed = primary.get("ManagedInstanceScaling")
    if managed:
        least, most = managed["MinInstanceCount"], managed["MaxInstanceCount"]
    elif wish.target is not None:
        least, most = wish.target.request["MinCapacity"], wish.target.request["MaxCapacity"]
    kind = str(primary["InstanceType"])
    beside = [(str(each["InstanceType"]), int(each["InitialInstanceCount"])) for each in shadows]
    n_beside = sum(count for _, count in beside)
    kinds = tuple(dict.fromkeys([kind, *(each for each, _ in beside)]))
    return Cost(
        instance_types=kinds,
        now=_monthly(_running(there), prices),
        at_first=_monthly([(kind, first), *beside], prices),
        least=_monthly([(kind, least), *beside], prices),
        most=_monthly([(kind, most), *beside], prices),
        n_machines=(first + n_beside, least + n_beside, most + n_beside),
        basis=_basis(kinds, prices, wish.region),
    )


def _running(there: Observed) -> list[tuple[str, int]]:
    """Return kind and number of the machines that run."""
    if there.endpoint is None or there.config is None:
        return []
    found = []
    for key in ("ProductionVariants", "ShadowProductionVariants"):
        kinds = {
            each["VariantName"]: each.get("InstanceType", "")
            for each in there.config.body.get(key) or ()
        }
        for each in there.endpoint.body.get(key) or ():
            found.append((kinds.get(each["VariantName"], ""), _count(each)))
    return found


def _count(variant: Mapping[str, Any]) -> int:
    return int(variant.get("CurrentInstanceCount") or variant.get("DesiredInstanceCount") or 0)


def _monthly(machines: list[tuple[str, int]], prices: Prices) -> float | None:
    if any(kind not in prices for kind, count in machines if count):
        return None
    return sum(prices[kind].usd_per_month(count) for kind, count in machines if count)


def _basis(kinds: tuple[str, ...], prices: Prices, region: str) -> str:
    known = [prices[each] for each in kinds if each in prices]
    unknown = [each for each in kinds if each not in prices]
    parts = [
        f"{each.instance_type} {each.usd_per_hour:g} USD an hour on demand in {each.region}, "
        f"{each.as_of}: {each.source}"
        for each in known
    ]
    parts += [f"no price of {each} is known; give a file with --prices" for each in unknown]
    if any(each.region != region for each in known):
        parts.append(f"prices of {region} are others")
    return "; ".join(parts)
