"""Draws heat maps of views as pictures, in as many strips as their columns need. Computes nothing.

Sizes are inches. Columns that do not fit beside one another go on below, and what would make the
picture endless is left out with a word about it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from glassbox.charts import style
from glassbox.charts.panel_colours import decimals, drawable, fixed, ink_on, number, shades
from glassbox.charts.panels import HeatMap, shown
from glassbox.charts.style import Axes, Figure

WIDEST: Final = 13.0
"""Width of a picture at most."""
MOST_STRIPS: Final = 6
"""Strips of columns at most."""
_KEY: Final = 0.95
"""Room right of the cells for the colour scale."""
_NUMBERS: Final = 0.36
"""Cells narrower than this stay without their number."""


@dataclass(frozen=True)
class Plan:
    """Where a heat map's cells go."""

    left: float
    """Room for the names of the rows."""
    top: float
    """Room above the cells for the title."""
    names: float
    """Room below the cells for the names of the columns."""
    cell: tuple[float, float]
    """Width and height of a cell."""
    strips: tuple[tuple[int, int], ...]
    """Columns of each strip, from and up to."""
    is_turned: bool
    """Whether names of columns stand upright."""

    @property
    def width(self) -> float:
        """Width of the whole panel."""
        return self.left + self.cell[0] * max(end - start for start, end in self.strips) + _KEY

    def strip_height(self, n_rows: int) -> float:
        """Height of a strip with its names."""
        return self.cell[1] * n_rows + self.names

    def height(self, n_rows: int) -> float:
        """Height of the whole panel."""
        return self.top + len(self.strips) * self.strip_height(n_rows) + 0.3


def plan(panel: HeatMap) -> Plan:
    """Return where a heat map's cells go."""
    n_rows, n_columns = panel.values.shape
    longest = max(len(shown(each)) for each in panel.rows)
    left = 0.75 + 0.075 * min(longest, 22)
    labels = max(len(shown(each)) for each in panel.columns)
    if panel.texts is not None:
        widest = max((len(shown(each)) for row in panel.texts for each in row), default=1)
        cell = 0.16 + 0.075 * min(max(widest, 4), 10)
    else:
        cell = min(0.55, max(0.2, 9.0 / n_columns))
    fits = max(1, int((WIDEST - left - _KEY) / cell))
    n_strips = min(-(-n_columns // fits), MOST_STRIPS)
    size = min(fits, -(-n_columns // n_strips))
    strips = tuple(
        (start, min(start + size, n_columns)) for start in range(0, n_columns, size)
    )[:MOST_STRIPS]  # fmt: skip
    height = min(0.28, max(0.11, 11.0 / n_rows))
    is_turned = 0.085 * min(labels, 14) > cell - 0.04
    names = 0.1 + 0.078 * min(labels, 14) if is_turned else 0.24
    return Plan(left, 0.4, names, (cell, height), strips, is_turned)


def draw(figure: Figure, panel: HeatMap, x: float, y: float) -> None:
    """Draw a heat map whose upper left corner is at ``x``, ``y``."""
    at = plan(panel)
    n_rows, n_columns = panel.values.shape
    title = panel.title
    if at.strips[-1][1] < n_columns:
        title += f" (first {at.strips[-1][1]} of {n_columns}; the page shows all)"
    style.write(figure, x + 0.3, y - 0.02, drawable(title), weight="bold", size=10.5)
    for number_of, (start, end) in enumerate(at.strips):
        top = y - at.top - number_of * at.strip_height(n_rows)
        height = at.cell[1] * n_rows
        axes = style.place(
            figure, (x + at.left, top - height, at.cell[0] * (end - start), height)
        )  # fmt: skip
        _cells(axes, panel, at, start, end)
        is_last = number_of == len(at.strips) - 1
        axes.set_xlabel(panel.column_axis if is_last else "", labelpad=4)
        axes.set_ylabel(panel.row_axis)
    top = y - at.top
    right = x + at.left + at.cell[0] * (at.strips[0][1] - at.strips[0][0]) + 0.18
    _key(figure, panel, (right, top - min(1.5, at.cell[1] * n_rows), 0.13))


def _cells(axes: Axes, panel: HeatMap, at: Plan, start: int, end: int) -> None:
    low, high = panel.scale
    kind = "sequential" if panel.middle is None else "diverging"
    colours = shades(kind)
    part = np.ma.masked_invalid(panel.values[:, start:end])
    axes.imshow(part, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    step = max(1, int(np.ceil(0.15 / at.cell[0]))) if at.is_turned else 1
    places = range(0, end - start, step)
    names = [drawable(_cut(shown(panel.columns[start + each]), 14)) for each in places]
    axes.set_xticks(
        list(places), names, rotation=90 if at.is_turned else 0, size=8,
        va="top", ha="center",
    )  # fmt: skip
    step = max(1, int(np.ceil(0.15 / at.cell[1])))
    rows = range((len(panel.rows) - 1) % step, len(panel.rows), step)
    axes.set_yticks(list(rows), [drawable(_cut(shown(panel.rows[each]), 22)) for each in rows],
                    size=8)  # fmt: skip
    axes.tick_params(length=0, labelcolor=style.INK, pad=3)
    if at.cell[1] < 0.2 or (panel.texts is None and at.cell[0] < _NUMBERS):
        return
    digits = decimals(low, high)
    for row, column in np.ndindex(part.shape):
        value = panel.values[row, start + column]
        words = fixed(float(value), digits)
        if panel.texts is not None:
            words = _cut(shown(panel.texts[row][start + column]), 10)
        elif not np.isfinite(value):
            continue
        share = (value - low) / (high - low) if np.isfinite(value) else 0.5
        axes.text(
            column, row, drawable(words), ha="center", va="center", size=7.5,
            color=ink_on(colours(float(np.clip(share, 0, 1)))), clip_on=True,
        )  # fmt: skip


def _key(figure: Figure, panel: HeatMap, box: tuple[float, float, float]) -> None:
    """Draw the colour scale; ``box`` is left, bottom and width, its top is the cells'."""
    low, high = panel.scale
    kind = "sequential" if panel.middle is None else "diverging"
    left, bottom, width = box
    height = min(1.5, plan(panel).cell[1] * len(panel.rows))
    axes = style.place(figure, (left, bottom, width, height))
    axes.imshow(np.linspace(0, 1, 64)[:, None], cmap=shades(kind), aspect="auto", origin="lower",
                extent=(0, 1, low, high))  # fmt: skip
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    ticks = [low, high] if panel.middle is None or height < 0.5 else [low, panel.middle, high]
    axes.set_yticks(ticks, [number(each) for each in ticks], size=8)
    axes.tick_params(length=0, pad=3)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
