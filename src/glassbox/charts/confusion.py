"""Which labels are taken for which: the confusion matrix, for two labels or for many.

Rows are true labels and columns predicted ones, as everywhere in this project (the first index is
what is, the second what was said). Draws only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Role
from glassbox.errors import InvalidValue

_MANY = 12
"""Labels from which cells are too small for the share under the count."""
_LONGEST = 22
"""Letters of a label before it is cut."""
_LETTER = 0.078
"""Width of a letter of the tick labels, in inches."""


@dataclass(frozen=True, eq=False)
class LabelConfusion:
    """Rows by true and predicted label."""

    title: str
    """Whose predictions, as in "Tuned model"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data it was measured on, as in "test part"."""
    labels: tuple[str, ...]
    """Label names."""
    counts: Int[np.ndarray, "n_classes n_classes"]
    """Rows, ``[true, predicted]``."""


def label_confusion(value: LabelConfusion) -> Chart:
    """Return the confusion matrix, shaded by the share of each true label.

    Raises:
        InvalidValue: The matrix does not fit the labels.
    """
    size = len(value.labels)
    if not size or value.counts.shape != (size, size):
        raise InvalidValue(
            "shape of the confusion matrix",
            value.counts.shape,
            f"({size}, {size}), at least (1, 1)",
        )
    info = chart_info("label_confusion")
    names = style.shorten_apart(value.labels, _LONGEST)
    letters = max(len(each) for each in names)
    cell = min(1.5, max(0.40, 6.4 / size))
    is_upright = letters * _LETTER > cell - 0.08
    left = 0.75 + max(letters * _LETTER, 0.5) + 0.9
    below = 0.75 + (letters * _LETTER * 0.95 if is_upright else 0.15)
    width = max(left + size * cell + 0.4, 6.2)
    n_rows = int(value.counts.sum())
    with style.drawing():
        subtitle = style.source(value.title, value.part, n_rows)
        figure = style.sheet(width, below + size * cell + 1.15, info.title, subtitle)
        axes = style.place(figure, (left, below, size * cell, size * cell))
        _cells(axes, value)
        totals = value.counts.sum(axis=1)
        ticks = [
            f"{style.literal(name)}  ({style.count(int(total))})"
            for name, total in zip(names, totals, strict=True)
        ]
        axes.set_xticks(range(size), [style.literal(each) for each in names])
        axes.set_yticks(range(size), ticks)
        axes.tick_params(length=0, labelcolor=style.INK)
        if is_upright:
            axes.tick_params(axis="x", labelrotation=90)
        axes.set(xlabel="Predicted label", ylabel="True label (rows)")
    right = int(np.trace(value.counts))
    summary = f"{info.alt} {value.title}, {value.part}: {right} of {n_rows} rows on the diagonal."
    return Chart(info, figure, plain(value), summary)


def _cells(axes: Axes, value: LabelConfusion) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    size = len(value.labels)
    shares = value.counts / np.maximum(value.counts.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("shades", ["white", style.face(value.role)])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for edge in range(size + 1):
        axes.axhline(edge - 0.5, color=style.GRID, linewidth=0.8)
        axes.axvline(edge - 0.5, color=style.GRID, linewidth=0.8)
    for true, predicted in np.ndindex(size, size):
        rows = int(value.counts[true, predicted])
        if rows == 0:
            continue
        text = style.count(rows)
        if size < _MANY:
            text += f"\n{style.percent(shares[true, predicted], 0)}"
        axes.text(
            predicted, true, text, ha="center", va="center", color=style.INK,
            size=9.5 if size < 6 else 8 if size < _MANY else 6.5,
            weight="bold" if true == predicted else "normal", linespacing=1.35,
        )  # fmt: skip
