"""Reliability diagrams: is a model that says 80 % right in 80 % of such cases?

One square per model: bins as dots with interval whiskers, the band in which a perfectly calibrated
model's dots would fall, the number of rows per bin underneath, and the calibration error beside
its interval and the level that perfection itself shows with this many rows. Draws only: every
figure comes from ``stats``. Empty bins are absent, not zero.

Source: Bröcker and Smith 2007 (consistency bars); Dimitriadis, Gneiting and Jordan 2021 (CORP).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Artist, Axes, Figure, Role
from glassbox.stats.calibration.bands import ConsistencyBand
from glassbox.stats.calibration.binning import ReliabilityCurve
from glassbox.stats.calibration.corp import CorpCurve
from glassbox.stats.calibration.error import NullLevel
from glassbox.stats.intervals import Interval

SingleName = Literal[
    "reliability_raw_model_output",
    "reliability_platt_scaling",
    "reliability_isotonic_regression",
    "reliability_temperature_scaling",
]
"""Charts with one diagram."""

PairName = Literal[
    "finetuning_raw_reliability_comparison",
    "finetuning_platt_reliability_comparison",
    "finetuning_isotonic_reliability_comparison",
]
"""Charts with the base and the tuned model side by side."""

_SMALLEST_DOT = 22.0
"""Area of the dot of a bin with hardly any rows, in square points."""
_LARGEST_DOT = 300.0
"""Area of the dot of a bin that holds every row, in square points; the same in every chart."""
_WIDE_BIN = 0.05
"""Bins narrower than this have no room for their count."""
_WIDEST_BAND = 0.1
"""Widest piece of the band, in confidence."""
_STRIP = 0.72
"""Height of the count strip, in inches."""


@dataclass(frozen=True, eq=False)
class ReliabilityPanel:
    """One reliability diagram: a model's confidence on one part of the data."""

    title: str
    """Whose confidence it is, as in "Base model, raw output"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data it was measured on, as in "test part"."""
    curve: ReliabilityCurve
    """The bins."""
    accuracy: Interval
    """Share of right answers."""
    mean_confidence: float
    """Mean confidence, in [0, 1]."""
    ece: Interval
    """Expected calibration error with its interval."""
    null: NullLevel
    """What a perfectly calibrated model would show at this number of rows."""
    band: ConsistencyBand | None = None
    """Where the dots of a perfectly calibrated model's bins, the same bins, would lie."""
    corp: CorpCurve | None = None
    """Bin-free curve, drawn as a thin line."""
    further: Mapping[str, float] = field(default_factory=dict)
    """More figures for the side column, as in ``{"Smooth ECE": 0.053, "NLL": 0.378}``."""


def reliability(name: SingleName, panel: ReliabilityPanel) -> Chart:
    """Return one reliability diagram with its figures in a column at the right.

    Raises:
        UnknownName: No chart has this name.
        DependencyMissing: matplotlib is not installed.
    """
    info = chart_info(name)
    size, left, bottom = 4.7, 0.85, 0.62
    with style.drawing():
        source = style.source(panel.title, panel.part, panel.curve.n_rows)
        figure = style.sheet(9.3, 7.05, info.title, source)
        _diagram(figure, panel, (left, bottom, size))
        top = bottom + _STRIP + 0.12 + size
        n_keys = _key(figure, panel, left + size + 0.45, top)
        _figures(figure, panel, left + size + 0.45, top - 0.30 - 0.235 * n_keys)
    summary = f"{info.alt} {_in_words(panel)}"
    return Chart(info, figure, plain({"panel": panel}), summary)


def reliability_comparison(
    name: PairName, base: ReliabilityPanel, tuned: ReliabilityPanel
) -> Chart:
    """Return two reliability diagrams on the same axes, base at the left and tuned at the right.

    Raises:
        UnknownName: No chart has this name.
        DependencyMissing: matplotlib is not installed.
    """
    info = chart_info(name)
    size, left, gap, bottom = 4.5, 0.85, 0.85, 1.0
    top = bottom + _STRIP + 0.12 + size
    with style.drawing():
        figure = style.sheet(11.0, 8.1, info.title, _pair_subtitle(base, tuned))
        for position, panel in enumerate((base, tuned)):
            x = left + position * (size + gap)
            _diagram(figure, panel, (x, bottom, size), is_first=position == 0)
            heading = style.literal(style.shorten(panel.title, 46))
            style.write(figure, x, top + 0.84, heading, weight="bold", size=11)
            style.write(
                figure, x, top + 0.58, _short_figures(panel), size=9, color=style.MUTED,
                linespacing=1.4,
            )  # fmt: skip
        _key_line(figure, base, left)
    summary = f"{info.alt} {_in_words(base)} {_in_words(tuned)}"
    return Chart(info, figure, plain({"base": base, "tuned": tuned}), summary)


def _diagram(
    figure: Figure,
    panel: ReliabilityPanel,
    corner: tuple[float, float, float],
    *,
    is_first: bool = True,
) -> None:
    left, bottom, size = corner
    strip = style.place(figure, (left, bottom, size, _STRIP))
    axes = style.place(figure, (left, bottom + _STRIP + 0.12, size, size))
    filled = panel.curve.counts > 0
    _band(axes, panel, filled)
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    if panel.corp is not None:
        axes.plot(
            panel.corp.confidence, panel.corp.accuracy, color=style.stroke(panel.role),
            linewidth=1.3, alpha=0.9, zorder=3,
        )  # fmt: skip
    _dots(axes, panel, filled)
    style.unit_square(axes)
    axes.tick_params(labelbottom=False, bottom=False)
    if is_first:
        axes.set_ylabel("Accuracy: share of right answers")
    _counts(strip, panel, is_first=is_first)


def _band(axes: Axes, panel: ReliabilityPanel, filled: Bool[np.ndarray, " n_bins"]) -> None:
    band = panel.band
    if band is None:
        return
    # A very wide bin of an equal-mass binning gets its band around its mean alone.
    left, right = panel.curve.edges[:-1][filled], panel.curve.edges[1:][filled]
    span = np.minimum(right - left, _WIDEST_BAND)
    axes.bar(
        np.clip(band.confidence - span / 2, left, right - span), band.high - band.low, width=span,
        bottom=band.low, align="edge", color=style.BAND, linewidth=0, zorder=1,
    )  # fmt: skip


def _dots(axes: Axes, panel: ReliabilityPanel, filled: Bool[np.ndarray, " n_bins"]) -> None:
    curve = panel.curve
    x, y = curve.mean_confidence[filled], curve.accuracy[filled]
    colour = style.edge(panel.role)
    # A whisker always reaches its dot, also where rounding left the bound a hair inside it.
    below = np.maximum(y - curve.accuracy_low[filled], 0)
    above = np.maximum(curve.accuracy_high[filled] - y, 0)
    axes.errorbar(
        x, y, yerr=(below, above), fmt="none", ecolor=colour, elinewidth=1.3, capsize=2.5,
        zorder=4,
    )  # fmt: skip
    share = curve.counts[filled] / max(curve.n_rows, 1)
    axes.scatter(
        x, y, s=_SMALLEST_DOT + (_LARGEST_DOT - _SMALLEST_DOT) * share,
        facecolor=style.face(panel.role), edgecolor=colour, linewidth=1.2, zorder=5,
        clip_on=False,
    )  # fmt: skip


def _counts(strip: Axes, panel: ReliabilityPanel, *, is_first: bool) -> None:
    curve = panel.curve
    filled = curve.counts > 0
    share = curve.counts[filled] / max(curve.n_rows, 1)
    left, width = curve.edges[:-1][filled], np.diff(curve.edges)[filled]
    strip.bar(
        left, share, width=width, align="edge", facecolor=style.face(panel.role),
        edgecolor=style.edge(panel.role), linewidth=0.8,
    )  # fmt: skip
    strip.set(xlim=(0, 1), ylim=(0, 1.28), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1], yticks=[0, 1])
    strip.grid(visible=False)
    style.percent_axis(strip.xaxis)
    style.percent_axis(strip.yaxis)
    strip.set_xlabel("Confidence")
    if is_first:
        strip.set_ylabel("Rows")
    for x, span, height, rows in zip(left, width, share, curve.counts[filled], strict=True):
        if span >= _WIDE_BIN:
            strip.text(
                x + span / 2, height + 0.05, style.count(int(rows)), ha="center", va="bottom",
                size=7, color=style.MUTED,
            )  # fmt: skip


def _key(figure: Figure, panel: ReliabilityPanel, x: float, y: float) -> int:
    """Draw the key of symbols with its top edge at ``y`` inches; return the number of lines."""
    across, up = figure.get_size_inches()
    handles = _handles(panel, style.face(panel.role), style.edge(panel.role))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(x / across, y / up),
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.85,
        handlelength=1.9,
        fontsize=9,
        labelcolor=style.INK,
    )
    return len(handles)


def _key_line(figure: Figure, panel: ReliabilityPanel, x: float) -> None:
    across, up = figure.get_size_inches()
    figure.legend(
        handles=_handles(panel, "white", style.RULE),
        loc="lower left",
        bbox_to_anchor=(x / across, 0.16 / up),
        borderaxespad=0,
        borderpad=0,
        ncols=4,
        columnspacing=2.2,
        handlelength=1.9,
        fontsize=8.5,
        labelcolor=style.MUTED,
    )


def _handles(panel: ReliabilityPanel, inside: str, outside: str) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    label = f"Bin with {style.percent(panel.curve.level, 0)} interval"
    dot: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": inside}
    handles: list[Artist] = [Line2D([], [], color=outside, linewidth=1.3, label=label, **dot)]
    if panel.band is not None:
        label = f"Where {style.percent(panel.band.level, 0)} of perfect models fall"
        handles.append(Patch(facecolor=style.BAND, label=label))
    handles.append(
        Line2D([], [], color=style.RULE, linestyle=(0, (4, 3)), label="As right as sure")
    )
    if panel.corp is not None:
        handles.append(Line2D([], [], color=outside, linewidth=1.3, label="Bin-free (CORP) curve"))
    return handles


def _figures(figure: Figure, panel: ReliabilityPanel, x: float, y: float) -> None:
    """Write the figures as a small table; its top edge stands at ``y`` inches."""
    interval = style.percent(panel.ece.level, 0)
    rows: list[tuple[str, str]] = [
        ("Rows", f"{style.count(panel.curve.n_rows)}"),
        ("Accuracy", style.percent(panel.accuracy.estimate)),
        ("Mean confidence", style.percent(panel.mean_confidence)),
        ("", ""),
        ("ECE", f"{panel.ece.estimate:.3f}"),
        (f"{interval} interval", f"{panel.ece.low:.3f} to {panel.ece.high:.3f}"),
        ("A perfect model shows", f"{panel.null.mean:.3f}"),
        (f"95{style.PERCENT} of them stay below", f"{panel.null.quantile_95:.3f}"),
    ]
    if panel.null.p_value is not None:
        rows.append(("p, if perfect", _p_value(panel.null)))
    if panel.further:
        rows.append(("", ""))
        rows.extend((name, f"{value:.3f}") for name, value in panel.further.items())
    for name, value in rows:
        if not name:
            y -= 0.14
            continue
        weight = "bold" if name == "ECE" else "normal"
        style.write(figure, x, y, name, size=9, color=style.MUTED)
        style.write(figure, x + 2.95, y, value, size=9, weight=weight, ha="right")
        y -= 0.235
    style.write(
        figure, x, y - 0.14, "\n".join(_verdict(panel)), size=9, weight="bold", linespacing=1.4
    )


def _verdict(panel: ReliabilityPanel) -> Sequence[str]:
    if panel.ece.estimate <= panel.null.quantile_95:
        return ("No worse than perfect calibration", "would look with this many rows.")
    if panel.mean_confidence > panel.accuracy.high:
        return ("More sure than right", "(over-confident).")
    if panel.mean_confidence < panel.accuracy.low:
        return ("Less sure than right", "(under-confident).")
    return ("Off the diagonal, though right", "on average.")


def _p_value(null: NullLevel) -> str:
    smallest = 1 / (null.n_draws + 1)
    value = null.p_value if null.p_value is not None else 1.0
    return f"{value:.3f}" if value > max(smallest, 0.0005) else f"below {max(smallest, 0.001):.3f}"


def _pair_subtitle(base: ReliabilityPanel, tuned: ReliabilityPanel) -> str:
    return style.origin(*((each.part, each.curve.n_rows) for each in (base, tuned)))


def _short_figures(panel: ReliabilityPanel) -> str:
    ece = panel.ece
    return (
        f"Accuracy {style.percent(panel.accuracy.estimate)}, mean confidence "
        f"{style.percent(panel.mean_confidence)}\n"
        f"ECE {ece.estimate:.3f} ({style.percent(ece.level, 0)}: {ece.low:.3f} to {ece.high:.3f});"
        f" perfect {panel.null.mean:.3f}, 95{style.PERCENT} below {panel.null.quantile_95:.3f}"
    )


def _in_words(panel: ReliabilityPanel) -> str:
    return (
        f"{panel.title}, {panel.part}, {panel.curve.n_rows} rows: accuracy "
        f"{style.percent(panel.accuracy.estimate)}, mean confidence "
        f"{style.percent(panel.mean_confidence)}, ECE {panel.ece.estimate:.3f} "
        f"({style.percent(panel.ece.level, 0)} interval {panel.ece.low:.3f} to "
        f"{panel.ece.high:.3f}); a perfect model would show {panel.null.mean:.3f}."
    )
