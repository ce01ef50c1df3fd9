"""What an hour of an instance costs, where that figure comes from, and what a month adds up to.

The shipped table is small and dated: nobody asked a cloud's price list for it. A file of your own
replaces any line (``read_prices``). Knows nothing of how many instances are needed, and of nothing
that is billed beside them (traffic, storage, logs).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glassbox.artifacts import read_object
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName
from glassbox.types import is_number

HOURS_PER_MONTH: Final = 730.0
"""Hours of an average month: 365 days of 24 hours, divided by 12."""

SCHEMA_VERSION: Final = 1

REGION: Final = "us-east-1"
"""Region of the shipped table."""

_PUBLIC = (
    "agreeing figures in public write-ups and code, read in November 2026; not asked of a price "
    "list"
)


@dataclass(frozen=True)
class Price:
    """What one instance costs while it runs."""

    instance_type: str
    """As the cloud names it, ``ml.g5.2xlarge``."""
    usd_per_hour: float
    """On demand, US dollars."""
    region: str
    """Where that holds."""
    as_of: str
    """Date of the figure, ``YYYY-MM-DD``."""
    source: str
    """Who says so."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.usd_per_hour) and self.usd_per_hour > 0):
            raise InvalidValue("usd_per_hour", self.usd_per_hour, "US dollars above 0")

    def usd_per_month(self, n_instances: float, *, discount: float = 0.0) -> float:
        """Return what so many instances cost in an average month, US dollars.

        Args:
            n_instances: How many run, on average; 0 or more.
            discount: Share that a savings plan takes off, [0, 1).
        """
        if not (math.isfinite(n_instances) and n_instances >= 0):
            raise InvalidValue("n_instances", n_instances, "0 or more")
        return n_instances * HOURS_PER_MONTH * self.usd_per_hour * (1 - checked_discount(discount))


Prices = Mapping[str, Price]
"""Prices by instance type."""


def _shipped(instance_type: str, usd_per_hour: float, source: str = _PUBLIC) -> Price:
    return Price(instance_type, usd_per_hour, REGION, "2026-11-21", source)


SHIPPED: Final[Prices] = {
    each.instance_type: each
    for each in (
        _shipped("ml.g4dn.xlarge", 0.736),
        _shipped("ml.g5.xlarge", 1.408),
        _shipped("ml.g5.2xlarge", 1.515),
        _shipped("ml.g5.4xlarge", 2.03),
        _shipped("ml.g5.12xlarge", 7.09),
        _shipped("ml.g6.xlarge", 1.127),
        _shipped("ml.inf2.xlarge", 0.758),
        _shipped(
            "ml.g6e.xlarge",
            1.25,
            "the design this project follows; other public figures are higher (2.05), so look it "
            "up before you count on it",
        ),
    )
}
"""The table that ships, on-demand real-time inference."""


def price_of(instance_type: str, prices: Prices = SHIPPED) -> Price:
    """Return an instance's price.

    Raises:
        UnknownName: The table has no such instance.
    """
    found = prices.get(instance_type)
    if found is None:
        raise UnknownName(
            "price of the instance type",
            instance_type,
            sorted(prices),
            remedy="Give it in a file of your own, --prices FILE.",
        )
    return found


def checked_discount(discount: float) -> float:
    """Return a savings plan's share of the price if it is one.

    Raises:
        InvalidValue: It is not in [0, 1).
    """
    if not (math.isfinite(discount) and 0 <= discount < 1):
        raise InvalidValue("discount", discount, "a fraction in [0, 1): 0.36 takes 36 % off")
    return discount


def read_prices(path: Path) -> dict[str, Price]:
    """Return the shipped table with a file's lines in place of its own.

    The file: ``{"schema_version": 1, "region": "eu-west-1", "as_of": "2026-11-01", "source": "…",
    "usd_per_hour": {"ml.g5.2xlarge": 1.69}}``.

    Raises:
        CorruptArtifact: It is not such a file.
    """
    values = read_object(path, schema=SCHEMA_VERSION)
    known = {"schema_version", "region", "as_of", "source", "usd_per_hour"}
    if extra := sorted(set(values) - known):
        raise CorruptArtifact(path, f"it has keys nobody knows: {', '.join(extra)}")
    lines = values.get("usd_per_hour")
    texts = {name: values.get(name) for name in ("region", "as_of", "source")}
    if not isinstance(lines, dict) or not lines or not all(map(_is_text, texts.values())):
        raise CorruptArtifact(
            path, "it needs region, as_of and source (texts) and usd_per_hour with a line or more"
        )
    own = {name: _read(path, name, value, texts) for name, value in lines.items()}
    return dict(SHIPPED) | own


def _read(path: Path, name: str, value: object, texts: Mapping[str, Any]) -> Price:
    if not is_number(value):
        raise CorruptArtifact(path, f"the price of {name!r} is not a number")
    try:
        return Price(name, float(value), texts["region"], texts["as_of"], texts["source"])
    except InvalidValue as error:
        raise CorruptArtifact(path, f"the price of {name!r}: {error}") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
