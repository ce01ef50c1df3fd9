"""Confidence against the known truth, which only data from a known generator can offer.

Each dot is a text: how sure the model was of its label, and the probability with which that label
is in truth drawn. A perfect confidence lies on the diagonal dot by dot, not only on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Figure, Role
from glassbox.errors import InvalidValue

_SIZE = 3.9
"""Side of a square, in inches."""


@dataclass(frozen=True, eq=False)
class TruthPanel:
    """One confidence beside the truth, text by text."""

    title: str
    """Whose confidence it is, as in "Tuned model, Platt scaling"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data it was measured on, as in "test part"."""
    confidence: Float[np.ndarray, " n"]
    """Probability that the model gave its label, in [0, 1]; of all texts, or of some where they are
    many."""
    truth: Float[np.ndarray, " n"]
    """Probability with which that label is drawn, in [0, 1]."""
    bin_confidence: Float[np.ndarray, " n_bins"]
    """Mean confidence of each bin; NaN where it is empty."""
    bin_truth: Float[np.ndarray, " n_bins"]
    """Mean truth of each bin; NaN where it is empty."""
    bin_counts: Int[np.ndarray, " n_bins"]
    """Rows of each bin, all texts."""
    mean_gap: float
    """Mean absolute difference of confidence and truth over all texts, in [0, 1]."""

    @property
    def n_rows(self) -> int:
        """Texts in all, those among them that are no dots."""
        return int(self.bin_counts.sum())


def truth_versus_confidence(panels: Sequence[TruthPanel]) -> Chart:
    """Return one square per confidence on shared axes, with bin means over the dots.

    Raises:
        InvalidValue: No panels.
    """
    if not panels:
        raise InvalidValue("panels", 0, "at least one")
    info = chart_info("truth_versus_confidence")
    n_columns = 3 if len(panels) in (3, 5, 6) else min(len(panels), 2)
    n_rows = -(-len(panels) // n_columns)
    left, bottom, step, cut = 0.85, 0.95, _SIZE + 1.0, _cut(panels)
    with style.drawing():
        across, up = left + n_columns * (_SIZE + 0.65) + 0.05, bottom + n_rows * step + 0.4
        where = style.origin(*((each.part, each.n_rows) for each in panels))
        subtitle = f"{where} · {cut}" if cut else where
        figure = style.sheet(max(across, 6.4), up, info.title, subtitle)
        for position, panel in enumerate(panels):
            row, column = divmod(position, n_columns)
            x, y = left + column * (_SIZE + 0.65), bottom + (n_rows - 1 - row) * step
            axes = style.place(figure, (x, y, _SIZE, _SIZE))
            _dots(axes, panel)
            if position + n_columns >= len(panels):
                axes.set_xlabel("Confidence")
            if column == 0:
                axes.set_ylabel("Known probability of the label")
            name = style.literal(style.shorten(panel.title, 40))
            style.write(figure, x, y + _SIZE + 0.56, name, weight="bold", size=10.5)
            text = f"off by {_points(panel)} on average, text by text"
            style.write(figure, x, y + _SIZE + 0.31, text, size=9, color=style.MUTED)
        _key(figure, left)
    words = " ".join(f"{each.title}: off by {_points(each)} on average." for each in panels)
    if cut:
        words += f" {style.count(panels[0].n_rows)} texts, {cut}."
    return Chart(info, figure, plain({"panels": panels}), f"{info.alt} {words}")


def _dots(axes: Axes, panel: TruthPanel) -> None:
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    # Thousands of dots would make the vector file heavy: they alone are drawn as pixels in it.
    axes.scatter(
        panel.confidence, panel.truth, s=9, color=style.edge(panel.role), alpha=0.35, linewidth=0,
        rasterized=True, zorder=1,
    )  # fmt: skip
    filled = panel.bin_counts > 0
    axes.scatter(
        panel.bin_confidence[filled], panel.bin_truth[filled],
        s=24 + 180 * panel.bin_counts[filled] / max(panel.n_rows, 1),
        facecolor=style.face(panel.role), edgecolor=style.darker(style.face(panel.role), 0.5),
        linewidth=1.4, zorder=4, clip_on=False,
    )  # fmt: skip
    style.unit_square(axes)


def _cut(panels: Sequence[TruthPanel]) -> str:
    """Return how many of the texts are dots; empty where all are."""
    drawn = min(panels, key=lambda each: each.confidence.size)
    if drawn.confidence.size >= drawn.n_rows:
        return ""
    return f"{style.count(drawn.confidence.size)} of them as dots, all of them in every figure"


def _points(panel: TruthPanel) -> str:
    return f"{100 * panel.mean_gap:.1f} points"


def _key(figure: Figure, left: float) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "white"}
    handles = [
        Line2D(
            [], [], marker="o", linestyle="none", color=style.BAND, markersize=4, label="A text"
        ),
        Line2D([], [], color=style.MUTED, markersize=8, label="Mean of a bin", **look),
        Line2D([], [], color=style.RULE, linestyle=(0, (4, 3)), label="Perfect confidence"),
    ]
    across, up = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(left / across, 0.16 / up),
        borderaxespad=0, borderpad=0, ncols=3, columnspacing=2, fontsize=8.5,
        labelcolor=style.MUTED,
    )  # fmt: skip
