"""Bars that set the base model, the tuned model and a simple baseline beside each other.

Every bar has its interval, and a calibration error stands beside the level that a perfectly
calibrated model would show with as many rows. Draws only.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import ChartInfo, chart_info
from glassbox.charts.style import Artist, Axes, Figure, Role
from glassbox.errors import InvalidValue
from glassbox.stats.calibration.error import NullLevel
from glassbox.stats.intervals import Interval

_BAR_WIDTH = 0.74
"""Share of a bar's place that it fills; the rest shows the band behind it."""
_GROUP_GAP = 0.8
"""Space between groups, in bars."""


@dataclass(frozen=True)
class Bar:
    """One measured figure with its interval."""

    group: str
    """What stands under the bars that belong together, as in "Platt"."""
    series: str
    """Which of the group it is, as in "Base model"; named in the key."""
    role: Role
    """Decides the colour; one role per series."""
    interval: Interval
    """The figure and its interval, as fractions."""
    null: NullLevel | None = None
    """For a calibration error: what a perfectly calibrated model would show."""


@dataclass(frozen=True)
class Bars:
    """Bars measured on the same rows."""

    bars: tuple[Bar, ...]
    """In drawing order; the groups appear in the order in which they first occur."""
    part: str
    """The part of the data they were measured on, as in "test part"."""
    n_rows: int
    """Rows of that part."""
    reference: float | None = None
    """A level to beat, as a fraction: for accuracy the share of the commonest label."""
    reference_name: str = "Always the commonest label"
    """What that level is."""


def accuracy_comparison(value: Bars) -> Chart:
    """Return bars of accuracy on an axis from 0 to 100 %.

    Raises:
        InvalidValue: No bars.
    """
    info = chart_info("accuracy_comparison")
    with style.drawing():
        figure, axes = _grouped(info, value, style.percent)
        axes.set(ylim=(0, 1.0), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1], ylabel="Accuracy")
        style.percent_axis(axes.yaxis)
        if value.reference is not None:
            axes.axhline(value.reference, color=style.RULE, linestyle=(0, (4, 3)), linewidth=1.1)
        _key(figure, value)
    return Chart(info, figure, plain(value), f"{info.alt} {_in_words(value, is_percent=True)}")


def calibration_error_comparison(value: Bars) -> Chart:
    """Return bars of the expected calibration error, each with the level that perfection shows.

    Raises:
        InvalidValue: No bars.
    """
    info = chart_info("calibration_error_comparison")
    with style.drawing():
        figure, axes = _grouped(info, value, lambda number: f"{number:.3f}")
        tops = [max(each.interval.high, each.interval.estimate) for each in value.bars]
        tops += [each.null.quantile_95 for each in value.bars if each.null is not None]
        axes.set(ylim=(0, min(1.0, 1.15 * max(tops)) or 1.0))
        axes.set_ylabel("Expected calibration error (ECE)")
        _even_decimals(axes)
        _key(figure, value)
    return Chart(info, figure, plain(value), f"{info.alt} {_in_words(value, is_percent=False)}")


def _grouped(info: ChartInfo, value: Bars, number: Callable[[float], str]) -> tuple[Figure, Axes]:
    if not value.bars:
        raise InvalidValue("bars", 0, "at least one")
    groups = list(dict.fromkeys(each.group for each in value.bars))
    members = {group: [each for each in value.bars if each.group == group] for group in groups}
    span = len(value.bars) + _GROUP_GAP * len(groups)
    width = min(max(5.6, 0.66 * span), 11.0)
    figure = style.sheet(width + 1.25, 5.6, info.title, style.origin((value.part, value.n_rows)))
    axes = style.place(figure, (0.95, 1.15, width, 3.4))
    start, centres = _GROUP_GAP / 2, []
    for group in groups:
        centres.append(start + len(members[group]) / 2)
        for offset, bar in enumerate(members[group]):
            _bar(axes, start + offset + 0.5, bar, number)
        start += len(members[group]) + _GROUP_GAP
    letters = max(int(width / len(groups) / 0.085), 6)
    labels = ["\n".join(textwrap.wrap(style.literal(each), letters)[:3]) for each in groups]
    axes.set(xlim=(0, span), xticks=centres, xticklabels=labels)
    axes.tick_params(axis="x", length=0, labelcolor=style.INK)
    axes.grid(visible=False, axis="x")
    return figure, axes


def _bar(axes: Axes, x: float, bar: Bar, number: Callable[[float], str]) -> None:
    colour = style.edge(bar.role)
    middle, interval = bar.interval.estimate, bar.interval
    if bar.null is not None:
        axes.bar(x, bar.null.quantile_95, width=1.0, color=style.BAND, linewidth=0, zorder=1)
        axes.plot(
            [x - 0.5, x + 0.5], [bar.null.mean] * 2, color=style.INK, linewidth=1.6, zorder=5,
            solid_capstyle="butt",
        )  # fmt: skip
    axes.bar(
        x, middle, width=_BAR_WIDTH, facecolor=style.face(bar.role), edgecolor=colour,
        linewidth=1.1, zorder=3,
    )  # fmt: skip
    # An interval need not hold its own estimate, so it is a line of its own.
    ends = [interval.low, interval.high]
    whisker = style.darker(style.face(bar.role), 0.5)
    axes.plot([x, x], ends, color=whisker, linewidth=1.4, zorder=4)
    axes.scatter([x, x], ends, marker="_", s=42, color=whisker, linewidth=1.4, zorder=4)
    top = max(middle, interval.high, 0.0 if bar.null is None else bar.null.quantile_95)
    axes.annotate(
        number(middle), (x, top), xytext=(0, 4), textcoords="offset points",
        ha="center", va="bottom", size=8.5, annotation_clip=False, zorder=6,
        # The level to beat may run behind the figure, which it must not strike through.
        bbox={"facecolor": "white", "linewidth": 0, "pad": 0.8},
    )  # fmt: skip


def _even_decimals(axes: Axes) -> None:
    """Give every tick of the axis as many decimals: 0.100 beside 0.125."""
    from matplotlib.ticker import ScalarFormatter

    plain_numbers = ScalarFormatter(useOffset=False)
    plain_numbers.set_scientific(False)
    axes.yaxis.set_major_formatter(plain_numbers)


def _key(figure: Figure, value: Bars) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    series = dict.fromkeys((each.series, each.role) for each in value.bars)
    handles: list[Artist] = [
        Patch(facecolor=style.face(role), edgecolor=style.edge(role), label=style.literal(name))
        for name, role in series
    ]
    level = style.percent(value.bars[0].interval.level, 0)
    handles.append(Line2D([], [], color=style.MUTED, linewidth=1.4, label=f"{level} interval"))
    if any(each.null is not None for each in value.bars):
        handles.append(Line2D([], [], color=style.INK, linewidth=1.6, label="Perfect model: mean"))
        handles.append(
            Patch(facecolor=style.BAND, label=f"Perfect models: 95{style.PERCENT} fall here")
        )
    if value.reference is not None:
        text = f"{value.reference_name} ({style.percent(value.reference)})"
        dashes = Line2D([], [], color=style.RULE, linestyle=(0, (4, 3)), label=style.literal(text))
        handles.append(dashes)
    across, up = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.95 / across, 0.16 / up),
        borderaxespad=0, borderpad=0, ncols=3, columnspacing=1.8, fontsize=8.5,
        labelcolor=style.MUTED,
    )  # fmt: skip


def _in_words(value: Bars, *, is_percent: bool) -> str:
    words = []
    for each in value.bars:
        middle = each.interval.estimate
        figure = style.percent(middle) if is_percent else f"{middle:.3f}"
        words.append(f"{each.series}, {each.group}: {figure}")
    return f"{'; '.join(words)}. {value.part}, {value.n_rows} rows."
