"""Pictures of a linear probe: where it reads, what it finds, whether its probabilities hold.

Draws only: areas, curves and bands come from ``stats``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Figure, Role
from glassbox.errors import InvalidValue
from glassbox.stats.calibration.bands import ConsistencyBand
from glassbox.stats.calibration.binning import ReliabilityCurve
from glassbox.stats.calibration.error import NullLevel
from glassbox.stats.classification.detection import RocCurve
from glassbox.stats.intervals import Interval
from glassbox.wording import with_interval

_CELL = 0.62
"""Width of a layer's column where there is room, in inches."""
_WIDEST = 13.0
"""Width of all columns together, in inches; more layers make them narrower."""
_FEWEST_LABELLED = 0.36
"""Cells narrower than this stay without their number, in inches."""


@dataclass(frozen=True, eq=False)
class LayerMap:
    """AUROC of every place that was tried."""

    title: str
    """Whose places: the model."""
    part: str
    """Where they were measured, as in "5 folds of the training part"."""
    n_rows: int
    """Rows of it."""
    layers: tuple[int, ...]
    """Blocks, counted from 0."""
    rows: tuple[str, ...]
    """Pooling and kind of each row of the map."""
    auroc: Float[np.ndarray, "n_rows n_layers"]
    """Area under the ROC curve, mean over the folds."""
    chosen: tuple[int, int]
    """Row and column of the place that was taken."""
    n_tried: int
    """Combinations that were compared, penalties included."""
    corrected: float
    """AUROC of the chosen one less what choosing adds by chance."""


@dataclass(frozen=True, eq=False)
class RocPanel:
    """ROC curves of a probe and of trivial readings on the same rows."""

    part: str
    """Where they were measured."""
    probe: RocCurve
    """The probe's curve."""
    auroc: Interval
    """Its area."""
    tpr_at_1_percent_fpr: Interval
    """Rows found at 1 % false alarms."""
    baselines: Mapping[str, tuple[RocCurve, Interval]]
    """Curve and area of each trivial reading, best first."""


@dataclass(frozen=True, eq=False)
class ProbabilityPanel:
    """A probe's calibrated probabilities against what happened."""

    part: str
    """Where they were measured."""
    target: str
    """What is found, in words."""
    curve: ReliabilityCurve
    """Bins."""
    band: ConsistencyBand
    """Where the dots of perfectly calibrated probabilities would fall."""
    ece: Interval
    """Expected calibration error."""
    null: NullLevel
    """What perfect calibration shows with as many rows."""


def probe_layers(value: LayerMap) -> Chart:
    """Return the heat map of layers and poolings.

    Raises:
        InvalidValue: The numbers do not fit the layers and rows.
    """
    shape = (len(value.rows), len(value.layers))
    if value.auroc.shape != shape or not value.auroc.size:
        raise InvalidValue("shape of the map", value.auroc.shape, f"{shape}, at least (1, 1)")
    info = chart_info("probe_layers")
    cell = min(_CELL, _WIDEST / shape[1])
    left, below = 2.55, 1.15
    width = max(left + cell * shape[1] + 0.5, 7.2)
    subtitle = style.source(value.title, value.part, value.n_rows)
    with style.drawing():
        figure = style.sheet(width, below + 0.5 * shape[0] + 1.0, info.title, subtitle)
        axes = style.place(figure, (left, below, cell * shape[1], 0.5 * shape[0]))
        _heat(axes, value, cell)
        row, column = value.chosen
        best = value.auroc[row, column]
        style.write(
            figure, 0.3, 0.42,
            f"Chosen: layer {value.layers[column]}, {value.rows[row]}, AUROC {best:.3f}; "
            f"corrected for the best of {style.count(value.n_tried)}: {value.corrected:.3f}.",
            size=9, color=style.MUTED,
        )  # fmt: skip
    summary = (
        f"{info.alt} Best: layer {value.layers[column]}, {value.rows[row]}, {best:.3f}; corrected "
        f"for choosing among {value.n_tried}: {value.corrected:.3f}."
    )
    return Chart(info, figure, plain(value), summary)


def _heat(axes: Axes, value: LayerMap, cell: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    # White stands at one half: an area below it is noise, not a find.
    shades = LinearSegmentedColormap.from_list(
        "shades",
        [(0.0, style.BAND), (1 / 3, "white"), (0.72, style.face("base")),
         (1.0, style.stroke("base"))],
    )  # fmt: skip
    axes.imshow(value.auroc, cmap=shades, vmin=0.25, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    every = max(1, int(np.ceil(0.3 / cell)))
    ticks = range(0, len(value.layers), every)
    axes.set_xticks(ticks, [str(value.layers[each]) for each in ticks])
    axes.set_yticks(range(len(value.rows)), [style.literal(each) for each in value.rows])
    axes.tick_params(length=0, labelcolor=style.INK)
    axes.set_xlabel("Layer (block, counted from 0)")
    for row, column in np.ndindex(*value.auroc.shape):
        is_chosen = (row, column) == value.chosen
        if cell >= _FEWEST_LABELLED:
            area = value.auroc[row, column]
            axes.text(
                column, row, f"{area:.2f}".lstrip("0"), ha="center", va="center", size=8.5,
                color="white" if area > 0.93 else style.INK,
                weight="bold" if is_chosen else "normal",
            )  # fmt: skip
        if is_chosen:
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    fill=False,
                    edgecolor=style.INK,
                    linewidth=1.8,
                    clip_on=False,
                    zorder=4,
                )
            )


def probe_roc(value: RocPanel) -> Chart:
    """Return the ROC curves of the probe and of at most three trivial readings."""
    info = chart_info("probe_roc")
    n_rows = value.probe.n_positive + value.probe.n_negative
    roles: tuple[Role, ...] = ("baseline", "other", "tuned")
    size, left, bottom = 4.6, 0.85, 0.7
    with style.drawing():
        figure = style.sheet(9.4, 6.35, info.title, style.origin((value.part, n_rows)))
        axes = style.place(figure, (left, bottom, size, size))
        axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=1, linestyle=(0, (4, 3)))
        # Worst first: the probe then lies on top, and the key, turned round, begins with it.
        shown = list(value.baselines.items())[: len(roles)][::-1]
        for (name, (curve, area)), role in zip(shown, roles, strict=False):
            _line(axes, curve, role, f"{name}\nAUROC {_interval(area)}", 1.3)
        _line(axes, value.probe, "base", f"probe\nAUROC {_interval(value.auroc)}", 2.4)
        style.unit_square(axes)
        axes.set(xlabel="Negative rows flagged", ylabel="Positive rows found")
        handles, labels = axes.get_legend_handles_labels()
        across, up = figure.get_size_inches()
        figure.legend(
            handles[::-1], [style.literal(each) for each in labels[::-1]], loc="upper left",
            bbox_to_anchor=((left + size + 0.35) / across, (bottom + size) / up),
            borderaxespad=0, labelspacing=1.0, handlelength=1.9, labelcolor=style.INK,
        )  # fmt: skip
        style.write(
            figure, left + size + 0.35, bottom + 0.75,
            f"At 1{style.PERCENT} false alarms the probe finds\n"
            f"{_interval(value.tpr_at_1_percent_fpr)} of the positive rows.",
            size=9, color=style.MUTED, linespacing=1.4,
        )  # fmt: skip
    summary = f"{info.alt} Probe: AUROC {_interval(value.auroc)}. " + " ".join(
        f"{name}: {_interval(area)}." for name, (_, area) in shown
    )
    return Chart(info, figure, plain(value), summary)


def _line(axes: Axes, curve: RocCurve, role: Role, label: str, width: float) -> None:
    axes.plot(
        np.append(0, curve.false_positive_rate), np.append(0, curve.true_positive_rate),
        color=style.stroke(role), linewidth=width, label=label, zorder=3 if role == "base" else 2,
    )  # fmt: skip


def probe_reliability(value: ProbabilityPanel) -> Chart:
    """Return the reliability diagram of the probe's probabilities."""
    info = chart_info("probe_reliability")
    size, left, bottom, strip = 4.6, 0.85, 0.62, 0.6
    with style.drawing():
        source = style.source(value.target, value.part, value.curve.n_rows)
        figure = style.sheet(9.2, bottom + strip + size + 1.15, info.title, source)
        counts = style.place(figure, (left, bottom, size, strip))
        axes = style.place(figure, (left, bottom + strip + 0.12, size, size))
        _dots(axes, counts, value)
        _words(figure, value, left + size + 0.4, bottom + strip + size)
    summary = (
        f"{info.alt} ECE {_interval(value.ece)}; perfectly calibrated probabilities would show "
        f"{value.null.mean:.3f}."
    )
    return Chart(info, figure, plain(value), summary)


def _dots(axes: Axes, counts: Axes, value: ProbabilityPanel) -> None:
    curve, band = value.curve, value.band
    filled = curve.counts > 0
    x, y = curve.mean_confidence[filled], curve.accuracy[filled]
    edges = curve.edges
    axes.bar(
        edges[:-1][filled], band.high - band.low, width=np.diff(edges)[filled], bottom=band.low,
        align="edge", color=style.BAND, linewidth=0,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=1, linestyle=(0, (4, 3)))
    below = np.maximum(y - curve.accuracy_low[filled], 0)
    above = np.maximum(curve.accuracy_high[filled] - y, 0)
    axes.errorbar(
        x, y, yerr=(below, above), fmt="o", color=style.edge("base"),
        markerfacecolor=style.face("base"), markersize=8, elinewidth=1.3, capsize=2.5,
        clip_on=False, zorder=4,
    )  # fmt: skip
    style.unit_square(axes)
    axes.tick_params(labelbottom=False, bottom=False)
    axes.set_ylabel("Share of positive rows")
    share = curve.counts[filled] / max(curve.n_rows, 1)
    counts.bar(
        edges[:-1][filled], share, width=np.diff(edges)[filled], align="edge",
        facecolor=style.face("base"), edgecolor=style.edge("base"), linewidth=0.8,
    )  # fmt: skip
    top = 1.0 if share.max() > 0.5 else 0.5
    counts.set(xlim=(0, 1), ylim=(0, top), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1], yticks=[0, top])
    counts.grid(visible=False)
    style.percent_axis(counts.xaxis)
    style.percent_axis(counts.yaxis)
    counts.set(xlabel="Probability that the probe gives", ylabel="Rows")


def _words(figure: Figure, value: ProbabilityPanel, x: float, y: float) -> None:
    rows = [
        ("Rows", style.count(value.curve.n_rows)),
        ("ECE", f"{value.ece.estimate:.3f}"),
        (f"{style.percent(value.ece.level, 0)} interval",
         f"{value.ece.low:.3f} to {value.ece.high:.3f}"),
        ("Perfect ones show", f"{value.null.mean:.3f}"),
        (f"95{style.PERCENT} of them stay below", f"{value.null.quantile_95:.3f}"),
    ]  # fmt: skip
    for name, text in rows:
        style.write(figure, x, y, name, size=9, color=style.MUTED)
        style.write(figure, x + 2.75, y, text, size=9, ha="right")
        y -= 0.26
    inside = value.ece.estimate <= value.null.quantile_95
    words = (
        "No worse than perfect calibration\nwould look with this many rows."
        if inside
        else "Not calibrated on these rows:\nread the order, not the number."
    )
    style.write(figure, x, y - 0.14, words, size=9, weight="bold", linespacing=1.4)
    style.write(
        figure, x, y - 0.75, "Grey: where the dots of perfectly\ncalibrated probabilities fall.",
        size=9, color=style.MUTED, linespacing=1.4,
    )  # fmt: skip


def _interval(value: Interval) -> str:
    return with_interval(value.estimate, value.low, value.high)
