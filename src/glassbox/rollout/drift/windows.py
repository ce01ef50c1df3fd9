"""Rows of some time as columns that can be compared.

A column is a number or a category for every row, maybe missing. Nothing here knows what is drift;
nothing reads a database.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.rollout.drift.report import Group, Kind
from glassbox.types import is_number

OUTCOMES: Final = ("prob", "confidence", "chose_first", "is_first", "is_right")
"""Fields of a window about answers and truth."""


@dataclass(frozen=True, eq=False)
class Column:
    """One value per row."""

    name: str
    """Its name."""
    kind: Kind
    """Number or category."""
    group: Group
    """What it is about."""
    values: Float[np.ndarray, " n"]
    """The numbers, NaN where missing; of categories, their places in ``categories``."""
    categories: tuple[str, ...] = ()
    """Names of the categories; empty for numbers."""

    @property
    def is_there(self) -> Bool[np.ndarray, " n"]:
        """Which rows have a value."""
        return np.asarray(~np.isnan(self.values))

    def rows(self, chosen: Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]) -> "Column":
        """Return the column of some rows."""
        return Column(self.name, self.kind, self.group, self.values[chosen], self.categories)


@dataclass(frozen=True, eq=False)
class Window:
    """Rows of some time, oldest first."""

    times_s: Float[np.ndarray, " n"]
    """Unix time of each row."""
    columns: tuple[Column, ...]
    """What the rows are compared by."""
    model_version: str = ""
    """Version that answered them; empty for several or none."""
    prob: Float[np.ndarray, " n"] | None = None
    """Probability of the first of two classes; None for others."""
    confidence: Float[np.ndarray, " n"] | None = None
    """Probability of the label answered, NaN without; None where no row has it."""
    chose_first: Float[np.ndarray, " n"] | None = None
    """Whether the first of two classes was answered: 1, 0, or NaN; None for others."""
    is_first: Float[np.ndarray, " n"] | None = None
    """Whether the first class is true: 1, 0, or NaN where nobody knows."""
    is_right: Float[np.ndarray, " n"] | None = None
    """Whether the label answered is true: 1, 0, or NaN where nobody knows."""
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups that the rows belong to, by the feature that makes them; empty text for none."""

    @property
    def n_rows(self) -> int:
        """Rows."""
        return self.times_s.size

    def column(self, name: str) -> Column | None:
        """Return a column by its name, None where there is none."""
        return next((each for each in self.columns if each.name == name), None)

    def rows(self, chosen: Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]) -> "Window":
        """Return the window of some rows."""
        places = np.arange(self.n_rows)[chosen]
        return Window(
            self.times_s[chosen],
            tuple(each.rows(chosen) for each in self.columns),
            self.model_version,
            **{
                name: None if (values := getattr(self, name)) is None else values[chosen]
                for name in OUTCOMES
            },
            segments={
                name: tuple(groups[i] for i in places) for name, groups in self.segments.items()
            },
        )


def column(name: str, values: Sequence[Any], group: Group = "feature") -> Column:
    """Return a column of numbers if all values that are there are numbers, else of categories."""
    if all(value is None or is_number(value) for value in values):
        return number_column(name, values, group)
    return category_column(name, values, group)


def number_column(name: str, values: Sequence[Any], group: Group = "feature") -> Column:
    """Return a column of numbers; what is None or not finite is missing."""
    array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return Column(name, "numeric", group, array)


def category_column(name: str, values: Sequence[Any], group: Group = "feature") -> Column:
    """Return a column of categories; what is None is missing."""
    places: dict[str, int] = {}
    codes = [
        math.nan if value is None else places.setdefault(word(value), len(places))
        for value in values
    ]
    return Column(name, "categorical", group, np.array(codes, dtype=np.float64), tuple(places))


def class_name(label: object) -> str:
    """Return the class that a label names: classes are texts, and 1 and 1.0 are one of them."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else word(label)


def word(value: object) -> str:
    """Return the name of a category: truth values as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
