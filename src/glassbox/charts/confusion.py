"""Which labels are taken for which: the confusion matrix, for two labels or for many.

Rows are true labels and columns predicted ones, as everywhere in this project (the first index is
what is, the second what was said). Draws only.

Of very many labels the picture shows those that are in the most wrong answers; the numbers beside
it hold all.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Role
from glassbox.errors import InvalidValue

MOST_LABELS = 30
"""Labels that a picture holds at most: with more of them, names and counts cannot be read."""
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
    n_labels = len(value.labels)
    if not n_labels or value.counts.shape != (n_labels, n_labels):
        raise InvalidValue(
            "shape of the confusion matrix",
            value.counts.shape,
            f"({n_labels}, {n_labels}), at least (1, 1)",
        )
    info = chart_info("label_confusion")
    shown = _most_mistaken(value)
    size, cut = shown.size, _cut(value, shown)
    names = style.shorten_apart([value.labels[k] for k in shown], _LONGEST)
    letters = max(len(each) for each in names)
    cell = min(1.5, max(0.40, 6.4 / size))
    is_upright = letters * _LETTER > cell - 0.08
    left = 0.75 + max(letters * _LETTER, 0.5) + 0.9
    below = 0.75 + (letters * _LETTER * 0.95 if is_upright else 0.15)
    width = max(left + size * cell + 0.4, 6.2)
    n_rows = int(value.counts.sum())
    with style.drawing():
        subtitle = style.source(value.title, value.part, n_rows)
        height = below + size * cell + (1.35 if cut else 1.15)
        figure = style.sheet(width, height, info.title, f"{subtitle}\n{cut}".rstrip())
        axes = style.place(figure, (left, below, size * cell, size * cell))
        totals = value.counts.sum(axis=1)[shown]
        _cells(axes, value.counts[np.ix_(shown, shown)], totals, value.role)
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
    if cut:
        summary += f" {cut}."
    return Chart(info, figure, plain(value), summary)


def _most_mistaken(value: LabelConfusion) -> Int[np.ndarray, " n_shown"]:
    """Return the labels that are drawn, in their order: all, or those in most wrong answers."""
    if len(value.labels) <= MOST_LABELS:
        return np.arange(len(value.labels))
    wrong = value.counts - np.diag(value.counts.diagonal())
    n_wrong = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-n_wrong, kind="stable")[:MOST_LABELS])


def _cut(value: LabelConfusion, shown: Int[np.ndarray, " n_shown"]) -> str:
    """Return which labels are drawn, and how many wrong answers those are; empty if all are."""
    if shown.size == len(value.labels):
        return ""
    drawn = value.counts[np.ix_(shown, shown)]
    n_drawn, n_wrong = (int(each.sum() - np.trace(each)) for each in (drawn, value.counts))
    return (
        f"{shown.size} of {style.count(len(value.labels))} labels: those in the most wrong answers "
        f"({style.count(n_drawn)} of all {style.count(n_wrong)} are between two of them)"
    )


def _cells(
    axes: Axes,
    counts: Int[np.ndarray, "n_shown n_shown"],
    totals: Int[np.ndarray, " n_shown"],
    role: Role,
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    size = len(totals)
    shares = counts / np.maximum(totals[:, None], 1)
    shades = LinearSegmentedColormap.from_list("shades", ["white", style.face(role)])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for edge in range(size + 1):
        axes.axhline(edge - 0.5, color=style.GRID, linewidth=0.8)
        axes.axvline(edge - 0.5, color=style.GRID, linewidth=0.8)
    for true, predicted in np.ndindex(size, size):
        rows = int(counts[true, predicted])
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
