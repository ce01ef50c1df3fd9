"""Histograms of confidence: how sure a model is, and how tuning and calibration change that.

Right and wrong answers are stacked, because a confident wrong answer is the one that hurts. Bins
come counted from ``stats``. Knows nothing of why the confidence is what it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Artist, Axes, Figure, Role
from glassbox.errors import InvalidValue
from glassbox.stats.calibration.binning import ReliabilityCurve

_NEAR_LEFT = 0.3
"""Where a text no longer fits at the left of its line, in confidence."""
_HATCH = "////"
"""Marks wrong answers without colour."""


@dataclass(frozen=True, eq=False)
class HistogramPanel:
    """The confidence of one model on one part of the data."""

    title: str
    """Whose confidence it is, as in "Base model, raw output"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data it was measured on, as in "test part"."""
    curve: ReliabilityCurve
    """The bins, with the rows and the accuracy of each."""
    accuracy: float
    """Share of right answers, in [0, 1]."""
    mean_confidence: float
    """Mean confidence, in [0, 1]."""


def raw_confidence_histogram(panel: HistogramPanel) -> Chart:
    """Return the histogram of one model's confidence with its mean and the accuracy marked."""
    info = chart_info("raw_confidence_histogram")
    subtitle = style.source(panel.title, panel.part, panel.curve.n_rows)
    with style.drawing():
        figure = style.sheet(8.2, 5.3, info.title, subtitle)
        axes = style.place(figure, (0.95, 0.95, 6.9, 3.0))
        _bars(axes, panel, panel.curve.counts.astype(float))
        axes.set(xlabel="Confidence", ylabel="Rows", xlim=(0, 1))
        style.percent_axis(axes.xaxis)
        axes.yaxis.set_major_formatter(lambda value, _: style.count(int(value)))
        _marks(axes, panel)
        _key(figure, [panel], 0.95)
    return Chart(info, figure, plain({"panel": panel}), f"{info.alt} {_in_words(panel)}")


def confidence_distribution_changes(
    panels: Sequence[HistogramPanel], *, n_columns: int = 2
) -> Chart:
    """Return histograms on shared axes, as in base and tuned, each raw and calibrated.

    Args:
        panels: One histogram each, row by row.
        n_columns: Histograms side by side.

    Raises:
        InvalidValue: No panels, or no columns.
    """
    if not panels or n_columns < 1:
        raise InvalidValue("panels and columns", (len(panels), n_columns), "at least one of each")
    info = chart_info("confidence_distribution_changes")
    n_rows = -(-len(panels) // n_columns)
    width, height, left, bottom = 4.0, 1.95, 0.95, 0.95
    step = height + 0.75
    with style.drawing():
        size = (left + n_columns * (width + 0.5) + 0.1, bottom + n_rows * step + 0.5)
        figure = style.sheet(*size, info.title, _origin(panels))
        shares = [_shares(each) for each in panels]
        highest = max(float(np.max(each, initial=0.0)) for each in shares)
        for position, (panel, share) in enumerate(zip(panels, shares, strict=True)):
            row, column = divmod(position, n_columns)
            corner = left + column * (width + 0.5), bottom + (n_rows - 1 - row) * step
            axes = style.place(figure, (*corner, width, height))
            _bars(axes, panel, share)
            axes.set(xlim=(0, 1), ylim=(0, min(1.05, 1.12 * highest) or 1))
            axes.set_title(style.literal(style.shorten(panel.title, 44)), size=10)
            style.percent_axis(axes.xaxis)
            style.percent_axis(axes.yaxis)
            _lines(axes, panel)
            axes.tick_params(labelleft=column == 0)
            if column == 0:
                axes.set_ylabel("Share of rows")
            if position + n_columns >= len(panels):
                axes.set_xlabel("Confidence")
        _key(figure, panels, left)
    words = " ".join(_in_words(each) for each in panels)
    return Chart(info, figure, plain({"panels": panels}), f"{info.alt} {words}")


def _shares(panel: HistogramPanel) -> Float[np.ndarray, " n_bins"]:
    return np.asarray(panel.curve.counts / max(panel.curve.n_rows, 1), dtype=np.float64)


def _bars(axes: Axes, panel: HistogramPanel, heights: Float[np.ndarray, " n_bins"]) -> None:
    filled = panel.curve.counts > 0
    left, width = panel.curve.edges[:-1][filled], np.diff(panel.curve.edges)[filled]
    wrong = heights[filled] * (1 - panel.curve.accuracy[filled])
    axes.bar(
        left, wrong, width=width, align="edge", facecolor=style.face("wrong"),
        edgecolor=style.edge("wrong"), hatch=_HATCH, linewidth=0.8,
    )  # fmt: skip
    axes.bar(
        left, heights[filled] - wrong, bottom=wrong, width=width, align="edge",
        facecolor=style.face(panel.role), edgecolor=style.edge(panel.role), linewidth=0.8,
    )  # fmt: skip
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(visible=False, axis="x")


def _lines(axes: Axes, panel: HistogramPanel, ends: tuple[float, float] = (1, 1)) -> None:
    """Draw the lines of accuracy and mean confidence up to ``ends`` (heights of the axes)."""
    look: dict[str, Any] = {"color": style.INK, "linewidth": 1.4, "clip_on": False}
    for x, end, dashes in (
        (panel.accuracy, ends[0], "solid"),
        (panel.mean_confidence, ends[1], (0, (3, 2))),
    ):
        axes.plot([x, x], [0, end], transform=axes.get_xaxis_transform(), linestyle=dashes, **look)


def _marks(axes: Axes, panel: HistogramPanel) -> None:
    """Mark accuracy and mean confidence, each with a text above the axes that crosses no line."""
    accuracy, confidence = panel.accuracy, panel.mean_confidence
    left = min(accuracy, confidence)
    # Texts run away from the nearer edge; the line that a text would cross is the shorter one.
    accuracy_is_low = (accuracy <= confidence) == (left > _NEAR_LEFT)
    ends = (1.07, 1.15) if accuracy_is_low else (1.15, 1.07)
    _lines(axes, panel, ends)
    for x, text, height in (
        (accuracy, f"accuracy {style.percent(accuracy)}", ends[0]),
        (confidence, f"mean confidence {style.percent(confidence)}", ends[1]),
    ):
        is_right = x > (_NEAR_LEFT if left > _NEAR_LEFT else 0.7)
        axes.annotate(
            text, (x, height), xycoords=axes.get_xaxis_transform(),
            xytext=(-4 if is_right else 4, 1), textcoords="offset points",
            ha="right" if is_right else "left", va="top", size=9, annotation_clip=False,
        )  # fmt: skip


def _key(figure: Figure, panels: Sequence[HistogramPanel], left: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names: dict[Role, str] = {"base": "base", "tuned": "tuned"}
    roles = list(dict.fromkeys(each.role for each in panels))
    handles: list[Artist] = [
        Patch(
            facecolor=style.face(role), edgecolor=style.edge(role),
            label="Right answers" if len(roles) == 1 else f"Right, {names.get(role, role)}",
        )
        for role in roles
    ]  # fmt: skip
    look: dict[str, Any] = {
        "facecolor": style.face("wrong"),
        "edgecolor": style.edge("wrong"),
        "hatch": _HATCH,
    }
    handles.append(Patch(**look, label="Wrong answers"))
    if len(panels) > 1:
        handles.append(Line2D([], [], color=style.INK, linewidth=1.4, label="Accuracy"))
        dashes = Line2D(
            [], [], color=style.INK, linewidth=1.4, linestyle=(0, (3, 2)), label="Mean confidence"
        )
        handles.append(dashes)
    across, up = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(left / across, 0.16 / up),
        borderaxespad=0, borderpad=0, ncols=len(handles), columnspacing=1.8, fontsize=8.5,
        labelcolor=style.MUTED,
    )  # fmt: skip


def _origin(panels: Sequence[HistogramPanel]) -> str:
    return style.origin(*((each.part, each.curve.n_rows) for each in panels))


def _in_words(panel: HistogramPanel) -> str:
    return (
        f"{panel.title}, {panel.part}, {panel.curve.n_rows} rows: mean confidence "
        f"{style.percent(panel.mean_confidence)}, accuracy {style.percent(panel.accuracy)}."
    )
