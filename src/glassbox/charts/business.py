"""What a threshold on the confidence buys (work done without a person) and what it costs (errors).

Draws the business curve of ``stats`` over the threshold: share automated above, error among the
automated rows with its bounds below, and the promise that was asked for. Draws only.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Figure, Role
from glassbox.errors import InvalidValue
from glassbox.stats.selective.business import BusinessCurve
from glassbox.stats.selective.threshold import Threshold
from glassbox.wording import counted, decimals_apart, estimated

_TRUSTED_SHARE = 0.01
"""Share automated under which the error is too uncertain to set the scale of its axis."""


@dataclass(frozen=True, eq=False)
class BusinessPanel:
    """What thresholds on one confidence would do."""

    title: str
    """Whose confidence it is, as in "Tuned model, Platt scaling"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data the curve was measured on, as in "test part"."""
    curve: BusinessCurve
    """Share automated and error by threshold."""
    threshold: Threshold
    """The threshold chosen on its own part of the data, or the reason why there is none."""
    threshold_part: str
    """The part of the data the threshold was chosen on, as in "threshold part"."""
    share_automated: float | None = None
    """Share of the curve's part at or above the threshold; None where that was not measured, and
    what was seen where it was chosen is told."""


def business_reliability(panel: BusinessPanel) -> Chart:
    """Return share automated and error by threshold, with the chosen threshold."""
    info = chart_info("business_reliability")
    left, width, bottom = 0.95, 5.5, 0.62
    with style.drawing():
        source = style.source(panel.title, panel.part, panel.curve.n_rows)
        figure = style.sheet(9.9, 6.9, info.title, source)
        share = style.place(figure, (left, bottom + 2.85, width, 2.3))
        error = style.place(figure, (left, bottom, width, 2.45))
        _share(share, panel)
        _error(error, panel, _highest_error([panel]))
        share.set_ylabel("Share automated")
        error.set_ylabel("Error among automated")
        error.set_xlabel("Threshold: automate at this confidence or above")
        _key(figure, [panel], left + width + 0.4, bottom + 2.45)
        _story(figure, panel, left + width + 0.4, bottom + 2.85 + 2.3)
    return Chart(info, figure, plain({"panel": panel}), f"{info.alt} {_in_words(panel)}")


def business_reliability_progression(panels: Sequence[BusinessPanel]) -> Chart:
    """Return the same picture for each stage on shared axes, as in raw, calibrated, tuned.

    Raises:
        InvalidValue: No panels.
    """
    if not panels:
        raise InvalidValue("stages", 0, "at least one")
    info = chart_info("business_reliability_progression")
    left, bottom, width, gap = 0.95, 1.15, 3.3, 0.5
    with style.drawing():
        across = left + len(panels) * (width + gap) + 0.1
        figure = style.sheet(max(across, 6.6), 6.75, info.title, _origin(panels))
        highest = _highest_error(panels)
        for position, panel in enumerate(panels):
            x = left + position * (width + gap)
            share = style.place(figure, (x, bottom + 2.25, width, 1.75))
            error = style.place(figure, (x, bottom, width, 1.95))
            _share(share, panel)
            _error(error, panel, highest)
            _outcome(figure, panel, x, bottom + 2.25 + 1.75)
            error.set_xlabel("Confidence threshold")
            if position == 0:
                share.set_ylabel("Share automated")
                error.set_ylabel("Error among automated")
            else:
                share.tick_params(labelleft=False)
                error.tick_params(labelleft=False)
        _key(figure, panels, left, 0.16, is_line=True)
    words = " ".join(_in_words(each) for each in panels)
    return Chart(info, figure, plain({"panels": panels}), f"{info.alt} {words}")


def _share(axes: Axes, panel: BusinessPanel) -> None:
    curve = panel.curve
    axes.fill_between(
        curve.threshold, 0, curve.share_automated, facecolor=style.face(panel.role), alpha=0.55,
        linewidth=0,
    )  # fmt: skip
    axes.plot(curve.threshold, curve.share_automated, color=style.edge(panel.role), linewidth=1.6)
    axes.set(ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1])
    _thresholds(axes, panel)
    axes.tick_params(labelbottom=False)
    style.percent_axis(axes.yaxis)


def _error(axes: Axes, panel: BusinessPanel, highest: float) -> None:
    curve = panel.curve
    known = ~np.isnan(curve.error_rate)
    at = curve.threshold[known]
    axes.fill_between(
        at, curve.error_rate_low[known], curve.error_rate_high[known], color=style.BAND,
        linewidth=0,
    )  # fmt: skip
    axes.plot(at, curve.error_rate[known], color=style.stroke("wrong"), linewidth=1.8)
    axes.plot([0, 1], [1, 0], color=style.INK, linewidth=1.1, linestyle=(0, (1, 1.6)))
    axes.axhline(panel.threshold.max_error, color=style.RULE, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_ylim(0, highest)
    _thresholds(axes, panel)
    style.percent_axis(axes.yaxis)


def _thresholds(axes: Axes, panel: BusinessPanel) -> None:
    axes.set(xlim=(0, 1), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    style.percent_axis(axes.xaxis)
    if panel.threshold.value is not None:
        axes.axvline(panel.threshold.value, color=style.INK, linewidth=1.3)


def _highest_error(panels: Sequence[BusinessPanel]) -> float:
    """Return the end of the error axis: room for every error rate that rests on enough rows."""
    tops = []
    for panel in panels:
        trusted = panel.curve.share_automated >= _TRUSTED_SHARE
        rates = panel.curve.error_rate[trusted & ~np.isnan(panel.curve.error_rate)]
        tops += [float(np.max(rates, initial=0.0)), 2 * panel.threshold.max_error]
    return min(1.0, 1.35 * max(tops))


def _key(
    figure: Figure, panels: Sequence[BusinessPanel], x: float, y: float, *, is_line: bool = False
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dashes, dots = (0, (4, 3)), (0, (1, 1.6))
    limit = style.exact_percent(panels[0].threshold.max_error)
    level = style.percent(panels[0].curve.level, 0)
    handles = [
        Line2D([], [], color=style.stroke("wrong"), linewidth=1.8, label="Measured error"),
        Patch(facecolor=style.BAND, label=f"{level} bounds of the error"),
        Line2D([], [], color=style.RULE, linestyle=dashes, label=f"Allowed error, {limit}"),
        Line2D(
            [], [], color=style.INK, linestyle=dots, label=f"100{style.PERCENT} minus the threshold"
        ),
    ]
    if any(each.threshold.value is not None for each in panels):
        handles.append(Line2D([], [], color=style.INK, linewidth=1.3, label="Chosen threshold"))
    across, up = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="lower left" if is_line else "upper left",
        bbox_to_anchor=(x / across, y / up), borderaxespad=0, borderpad=0,
        ncols=3 if is_line else 1, labelspacing=0.6 if is_line else 0.9, columnspacing=2,
        fontsize=8.5 if is_line else 9, labelcolor=style.MUTED if is_line else style.INK,
    )  # fmt: skip


def _story(figure: Figure, panel: BusinessPanel, x: float, y: float) -> None:
    """Write what the chosen threshold does; the top edge stands at ``y`` inches."""
    chosen = panel.threshold
    big = "No safe threshold" if chosen.value is None else _automated(panel)
    style.write(figure, x, y, big, size=16, weight="bold")
    lines = textwrap.wrap(_promise(panel), 42)
    style.write(figure, x, y - 0.40, "\n".join(lines), size=9, linespacing=1.5)
    what = "Tried" if chosen.value is None else "Chosen"
    source = f"{what} on the {panel.threshold_part}, n = {style.count(chosen.n_rows)}."
    source = "\n".join(textwrap.wrap(style.literal(source), 42))
    style.write(figure, x, y - 0.54 - 0.19 * len(lines), source, size=9, color=style.MUTED)


def _promise(panel: BusinessPanel) -> str:
    chosen = panel.threshold
    allowed = style.exact_percent(chosen.max_error)
    kept = style.exact_percent(chosen.confidence_level)
    if chosen.value is None:
        if chosen.n_more is not None:
            more = f"It would take about {estimated(chosen.n_more)} more rows as sure as these."
        elif chosen.surer_may_help:
            rows = counted(chosen.n_start, "surest row holds", "surest rows hold")
            more = (
                f"The {rows} too many errors; of many more rows, as many surer ones may do better."
            )
        else:
            more = "More rows would not help: the model errs too often even where it is surest."
        return f"At most {allowed} errors cannot be promised with {kept} confidence. {more}"
    return (
        f"Every answer with a confidence of {_from(chosen.value)} or more is automated. "
        f"Among {counted(chosen.n_automated, 'such row')} of the {panel.threshold_part} "
        f"{counted(chosen.n_errors, 'was wrong', 'were wrong')}, which shows a true error of at "
        f"most {allowed}, with {kept} confidence."
    )


def _from(threshold: float) -> str:
    """A threshold below 1 never reads as 100 %."""
    return style.percent(threshold, decimals_apart(100 * threshold, 100, 1))


def _automated(panel: BusinessPanel) -> str:
    share = panel.share_automated
    return f"{style.percent(panel.threshold.coverage if share is None else share)} automated"


def _outcome(figure: Figure, panel: BusinessPanel, x: float, y: float) -> None:
    chosen = panel.threshold
    style.write(
        figure, x, y + 0.62, style.literal(style.shorten(panel.title, 34)), weight="bold", size=10.5
    )
    text = "No safe threshold with these rows"
    if chosen.value is not None:
        text = f"{_automated(panel)}, at {_from(chosen.value)} or more"
    style.write(figure, x, y + 0.38, text, size=9, color=style.MUTED)


def _origin(panels: Sequence[BusinessPanel]) -> str:
    return style.origin(*((each.part, each.curve.n_rows) for each in panels))


def _in_words(panel: BusinessPanel) -> str:
    chosen = panel.threshold
    if chosen.value is None:
        return f"{panel.title}: no safe threshold. {_promise(panel)}"
    return f"{panel.title}: {_automated(panel)}. {_promise(panel)}"
