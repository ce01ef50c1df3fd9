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
    """As it is; 0 where nothing runs, None also where nobody knows which machines do."""
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
    target = None if wish.target is None else wish.target.request
    return _cost(wish.config.request, target, there, prices, wish.region)


def cost_of_going_back(
    config: Mapping[str, Any], there: Observed, prices: Prices, region: str
) -> Cost:
    """Return what a month costs before and after the way back: autoscaling stays as it is.

    Args:
        config: The configuration, as AWS describes it.
        there: What is there.
        prices: What an hour costs.
        region: Where it is.
    """
    target = next(iter(there.targets), None)
    return _cost(config, target, there, prices, region, keeps_count=target is not None)


def _cost(
    config: Mapping[str, Any],
    target: Mapping[str, Any] | None,
    there: Observed,
    prices: Prices,
    region: str,
    *,
    keeps_count: bool = False,
) -> Cost:
    primary = config["ProductionVariants"][0]
    shadows = config.get("ShadowProductionVariants") or ()
    first = int(primary["InitialInstanceCount"])
    running = (there.endpoint.body.get("ProductionVariants") or ()) if there.endpoint else ()
    if keeps_count and running:
        first = _count(running[0])
    least, most = first, first
    managed = primary.get("ManagedInstanceScaling")
    if managed:
        least, most = managed["MinInstanceCount"], managed["MaxInstanceCount"]
    elif target is not None:
        least, most = target["MinCapacity"], target["MaxCapacity"]
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
        basis=_basis(kinds, prices, region),
    )


def _running(there: Observed) -> list[tuple[str, int]] | None:
    """Return kind and number of the machines that run; None if their configuration is gone."""
    if there.endpoint is None:
        return []
    if there.config is None:
        return None
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


def _monthly(machines: list[tuple[str, int]] | None, prices: Prices) -> float | None:
    if machines is None or any(kind not in prices for kind, count in machines if count):
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
