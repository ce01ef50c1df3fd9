"""What a view of a technique's result is made of: values to draw as picture or page, no drawing.

Numbers and names only, so that a view can be made where there is neither a model nor a plotting
library. Knows nothing of techniques.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidValue


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Numbers in rows and columns, shown by colour."""

    title: str
    """What the numbers are, unit included."""
    values: Float[np.ndarray, "n_rows n_columns"]
    """NaN where there is none."""
    rows: tuple[str, ...]
    """Names of the rows, first one at the top."""
    columns: tuple[str, ...]
    """Names of the columns; tokens may hold spaces and line ends."""
    row_axis: str = "Layer"
    """What the rows are."""
    column_axis: str = "Token"
    """What the columns are."""
    middle: float | None = None
    """Value without colour, above and below which two colours part; None for one colour from the
    lowest value up."""
    bounds: tuple[float, float] | None = None
    """Values at the ends of the scale; None takes the data's."""
    texts: tuple[tuple[str, ...], ...] | None = None
    """What is written in the cells; None writes the numbers where there is room."""

    def __post_init__(self) -> None:
        shape = (len(self.rows), len(self.columns))
        if self.values.shape != shape or not self.values.size:
            raise InvalidValue("shape of a heat map", self.values.shape, f"{shape}, at least (1,1)")

    @property
    def scale(self) -> tuple[float, float]:
        """Values at the ends of the colour scale; the same distance from the middle, if any."""
        if self.bounds is not None:
            return self.bounds
        known = self.values[np.isfinite(self.values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        if self.middle is not None:
            reach = max(abs(low - self.middle), abs(high - self.middle)) or 1.0
            return self.middle - reach, self.middle + reach
        return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True, eq=False)
class TokenColouring:
    """A text whose tokens are coloured by a number each."""

    title: str
    """What the numbers are, unit included."""
    tokens: tuple[str, ...]
    """The text in pieces."""
    values: Float[np.ndarray, " n"]
    """NaN leaves a token without colour."""
    bounds: tuple[float, float] | None = None
    """Values without and with full colour; None takes the data's."""
    notes: tuple[str, ...] = ()
    """More about each token, shown where a pointer rests on it."""

    def __post_init__(self) -> None:
        if len(self.tokens) != self.values.shape[0] or len(self.notes) not in (0, len(self.tokens)):
            raise InvalidValue("values of a token colouring", self.values.shape, "one per token")

    @property
    def scale(self) -> tuple[float, float]:
        """Values at the ends of the colour scale."""
        if self.bounds is not None:
            return self.bounds
        known = self.values[np.isfinite(self.values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True, eq=False)
class Lines:
    """Series over one axis."""

    title: str
    """What is shown."""
    x: Float[np.ndarray, " n"]
    """Values along the axis, ascending."""
    series: Mapping[str, Float[np.ndarray, " n"]]
    """Values of each line by name; at most six are told apart."""
    x_axis: str
    """What the axis is, unit included."""
    y_axis: str
    """What the values are, unit included."""
    bounds: tuple[float, float] | None = None
    """Ends of the value axis; None takes the data's."""

    def __post_init__(self) -> None:
        sizes = {len(each) for each in self.series.values()} | {len(self.x)}
        if len(sizes) != 1 or not 1 <= len(self.series) <= 6:
            raise InvalidValue("lines", [len(each) for each in self.series.values()],
                               f"one to six of {len(self.x)} values")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bars:
    """Named numbers, below and above zero."""

    title: str
    """What is shown, unit included."""
    names: tuple[str, ...]
    """First one at the top."""
    values: Float[np.ndarray, " n"]
    """Lengths of the bars."""

    def __post_init__(self) -> None:
        if len(self.names) != self.values.shape[0] or not self.names:
            raise InvalidValue("values of bars", self.values.shape, "one per name")


@dataclass(frozen=True)
class Passages:
    """Texts under one another, each with what it is."""

    title: str
    """What they are."""
    names: tuple[str, ...]
    """What each is, as in "temperature 0.5"."""
    texts: tuple[str, ...]
    """As written, line ends included."""
    after: str = ""
    """What all of them follow, shown once above them."""

    def __post_init__(self) -> None:
        if len(self.names) != len(self.texts) or not self.texts:
            raise InvalidValue("names of passages", len(self.names), "one per text, at least one")


Panel = HeatMap | TokenColouring | Lines | Bars | Passages
"""One part of a view."""


def shown(token: str) -> str:
    """Return a token so that its spaces, line ends and control characters can be seen."""
    if not token:
        return "∅"
    lead = len(token) - len(token.lstrip(" "))
    inner = token[lead:]
    tail = len(inner) - len(inner.rstrip(" "))
    core = inner[: len(inner) - tail] if tail else inner
    return "·" * lead + visible(core) + "·" * tail


def visible(text: str) -> str:
    """Return a text whose line ends, tabs and control characters show as pictures."""
    return text.translate(_PICTURES)


_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)}
_PICTURES |= {0x0A: "↵", 0x09: "⇥", 0x7F: "␡"}
_PICTURES |= dict.fromkeys((*range(0x80, 0xA0), 0x200B, 0x200E, 0x200F, 0xFEFF), "␦")
_PICTURES |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "␦")
