"""Keeping the sure answers: risk against coverage, and how many rows a promise takes.

Draws curves that ``stats`` computed. The risk-coverage curve has one point per distinct confidence,
because rows that are equally sure can only be kept or left together.

Source: El-Yaniv and Wiener 2010 (risk-coverage).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes, Figure, Role
from glassbox.errors import InvalidValue
from glassbox.stats.selective.ranking import RiskCoverageCurve
from glassbox.wording import counted

_FEW_POINTS = 60
"""Curves with fewer points show each as a dot: only those can be had."""
_LONGEST_NAME = 32
"""Letters of a curve's name that fit beside the axes: "Tuned model, isotonic regression"."""
_NOISY_SHARE = 0.02
"""Coverage under which the risk rests on too few rows to set the scale of its axis."""
_NAME_GAP = 0.165
"""Inches between the names of two curves that end close to each other."""


@dataclass(frozen=True, eq=False)
class RiskCoverageSeries:
    """One curve of the risk-coverage chart."""

    title: str
    """Whose confidence it is, as in "Tuned model, Platt scaling"."""
    role: Role
    """``base`` or ``tuned``: decides the colour."""
    part: str
    """The part of the data it was measured on, as in "test part"."""
    curve: RiskCoverageCurve
    """The curve with its areas."""
    coverage_at: tuple[tuple[float, float], ...] = ()
    """Pairs of error rate and the coverage that keeps it, both fractions; drawn as marks."""


@dataclass(frozen=True, eq=False)
class SampleSizes:
    """How many automated rows a promise takes, over the error that is allowed."""

    max_error: tuple[float, ...]
    """Allowed error rates, fractions, ascending."""
    confidence_level: float
    """Confidence of the promise."""
    n_errors: tuple[int, ...]
    """Numbers of errors seen among the automated rows, one curve each."""
    rows_needed: Int[np.ndarray, "n_errors n_max_error"]
    """Automated rows with which so many errors still show the promise."""
    error_shares: tuple[float, ...]
    """True error as a share of the allowed one, one curve each."""
    rows_for_power: Int[np.ndarray, "n_shares n_max_error"]
    """Automated rows with which the promise is shown with probability ``power``."""
    power: float
    """Probability of success in the second panel."""
    n_automated: int | None = None
    """Automated rows of this run, drawn as a line."""
    asked_error: float | None = None
    """Error allowed in this run, drawn as a line."""


def risk_coverage(series: Sequence[RiskCoverageSeries]) -> Chart:
    """Return error among the rows kept against the share of rows kept, one curve per model.

    A calibrator that ranks the rows as another does has the same curve: it is drawn once and
    named twice.

    Raises:
        InvalidValue: No curves.
    """
    if not series:
        raise InvalidValue("curves", 0, "at least one")
    info = chart_info("risk_coverage")
    left, width, bottom, height = 0.95, 5.5, 0.62, 4.1
    with style.drawing():
        where = style.origin(*((each.part, each.curve.n_rows) for each in series))
        figure = style.sheet(10.1, 5.75, info.title, where)
        axes = style.place(figure, (left, bottom, width, height))
        drawn: list[tuple[RiskCoverageSeries, Any]] = []
        y = bottom + height
        for each in series:
            twin = next((found for found in drawn if _is_same(found[0], each)), None)
            if twin is None:
                n_alike = sum(found.role == each.role for found, _ in drawn)
                dashes = _DASHES[min(n_alike, len(_DASHES) - 1)]
                drawn.append((each, dashes))
                _curve(axes, each, dashes)
            else:
                dashes = twin[1]
            y = _entry(figure, each, dashes, left + width + 0.4, y, is_new=twin is None)
        axes.set(xlim=(0, 1), ylim=(0, _highest_risk(series)))
        axes.set(xlabel="Coverage: share of rows kept, surest first", ylabel="Error among them")
        style.percent_axis(axes.xaxis)
        style.percent_axis(axes.yaxis)
    words = " ".join(_in_words(each) for each in series)
    return Chart(info, figure, plain({"series": series}), f"{info.alt} {words}")


def sample_size_thresholds(value: SampleSizes) -> Chart:
    """Return rows needed for a promise by errors seen, and rows to succeed by true error.

    Raises:
        InvalidValue: The tables do not fit the errors they belong to.
    """
    columns = len(value.max_error)
    for rows, table in (
        (len(value.n_errors), value.rows_needed),
        (len(value.error_shares), value.rows_for_power),
    ):
        if table.shape != (rows, columns):
            raise InvalidValue("shape of a table of rows", table.shape, f"({rows}, {columns})")
    info = chart_info("sample_size_thresholds")
    sure, power = (style.exact_percent(each) for each in (value.confidence_level, value.power))
    with style.drawing():
        figure = style.sheet(
            11.6,
            5.9,
            info.title,
            f"Automated rows that show an error limit with {sure} confidence{_this_run(value)}",
        )
        first = style.place(figure, (0.95, 0.62, 3.9, 4.0))
        second = style.place(figure, (6.65, 0.62, 3.9, 4.0))
        lowest, highest = _scale(value)
        for axes in (first, second):
            axes.set(xscale="log", yscale="log", ylim=(lowest, highest))
            axes.set_xlabel("Allowed error among automated rows")
        names = [counted(n, "error seen", "errors seen") for n in value.n_errors]
        _curves(first, value, value.rows_needed, names)
        first.set_title("Rows needed, by errors seen among them")
        names = [f"{style.percent(each, 0)} of limit" for each in value.error_shares]
        _curves(second, value, value.rows_for_power, names)
        second.set_title(f"Rows for {power} success, by true error")
        first.set_ylabel("Automated rows")
        for axes in (first, second):
            _run_marks(axes, value)
    return Chart(info, figure, plain(value), info.alt)


_DASHES: tuple[tuple[int, tuple[float, ...]] | str, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))
"""Line patterns of the curves of one model, in order."""


def _curve(axes: Axes, series: RiskCoverageSeries, dashes: Any) -> None:
    curve, colour = series.curve, style.stroke(series.role)
    axes.plot(curve.coverage, curve.risk, color=colour, linewidth=1.8, linestyle=dashes)
    if curve.coverage.size < _FEW_POINTS:
        axes.scatter(
            curve.coverage, curve.risk, s=16, facecolor=style.face(series.role),
            edgecolor=colour, linewidth=0.9, zorder=4, clip_on=False,
        )  # fmt: skip
    for _, coverage in series.coverage_at:
        if coverage > 0:
            at = min(int(np.searchsorted(curve.coverage, coverage)), curve.risk.size - 1)
            axes.scatter(
                [coverage], [curve.risk[at]], s=46, marker="D", facecolor=style.face(series.role),
                edgecolor=style.INK, linewidth=1.0, zorder=5, clip_on=False,
            )  # fmt: skip


def _is_same(one: RiskCoverageSeries, other: RiskCoverageSeries) -> bool:
    """Whether two curves of one model would hide each other."""
    first, second = one.curve, other.curve
    return (
        one.role == other.role
        and first.coverage.shape == second.coverage.shape
        and np.allclose(first.coverage, second.coverage)
        and np.allclose(first.risk, second.risk)
    )


def _highest_risk(series: Sequence[RiskCoverageSeries]) -> float:
    tops = [0.01]
    for each in series:
        settled = each.curve.coverage >= _NOISY_SHARE
        tops.append(float(np.max(each.curve.risk[settled], initial=0.0)))
    return min(1.0, 1.12 * max(tops))


def _entry(
    figure: Figure, series: RiskCoverageSeries, dashes: Any, x: float, y: float, *, is_new: bool
) -> float:
    """Write a curve's name and figures at ``y`` inches; return where the next entry begins."""
    from matplotlib.lines import Line2D

    across, up = figure.get_size_inches()
    figure.add_artist(
        Line2D(
            [x / across, (x + 0.32) / across],
            [(y - 0.09) / up] * 2,
            color=style.stroke(series.role),
            linewidth=2,
            linestyle=dashes,
        )
    )
    name = style.literal(style.shorten(series.title, _LONGEST_NAME))
    style.write(figure, x + 0.42, y, name, size=9.5, weight="bold")
    y -= 0.27
    if not is_new:
        words = "The same curve: it ranks the rows alike"
        style.write(figure, x + 0.42, y, words, size=8.5, color=style.MUTED)
        return y - 0.42
    figures = f"AURC {series.curve.aurc:.4f}"
    style.write(figure, x + 0.42, y, figures, size=8.5, color=style.MUTED)
    for risk, coverage in series.coverage_at:
        y -= 0.21
        text = f"{style.percent(coverage)} kept at {style.percent(risk, 0)} error"
        style.write(figure, x + 0.42, y, text, size=8.5, color=style.MUTED)
    return y - 0.42


def _curves(
    axes: Axes, value: SampleSizes, table: Int[np.ndarray, "n_curves n_max_error"],
    names: Sequence[str],
) -> None:  # fmt: skip
    colours = [style.stroke(role) for role in ("base", "tuned", "wrong", "other")] + [style.MUTED]
    inches = axes.bbox.height / axes.figure.dpi
    low, high = np.log10(axes.get_ylim())
    at = -np.inf
    # Each name stands at the end of its curve: nobody has to match colours with a key.
    for position in np.argsort(table[:, -1], kind="stable"):
        name, row, colour = names[position], table[position], colours[position % len(colours)]
        axes.plot(value.max_error, row, color=colour, linewidth=1.8, marker="o", markersize=4.5)
        end = float((np.log10(row[-1]) - low) / (high - low) * inches)
        at = max(end, at + _NAME_GAP)
        axes.annotate(
            name, (1.0, at / inches), xycoords="axes fraction", xytext=(5, 0),
            textcoords="offset points", va="center", size=9, color=colour, annotation_clip=False,
        )  # fmt: skip
    ticks = list(value.max_error)
    axes.set_xticks(ticks)
    axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.1)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda number, _: f"{100 * number:g}{style.PERCENT}")
    axes.yaxis.set_major_formatter(lambda number, _: style.count(round(number)))


def _scale(value: SampleSizes) -> tuple[float, float]:
    """Return the ends of the axis of rows: whole decades that hold every curve and this run."""
    here = [value.n_automated] if value.n_automated else []
    both = np.concatenate([value.rows_needed.ravel(), value.rows_for_power.ravel(), here])
    lowest, highest = int(both.min()), int(both.max())
    return min(10.0 ** np.floor(np.log10(lowest)), 10.0), max(1.2 * highest, 10_000.0)


def _this_run(value: SampleSizes) -> str:
    """Return what the dashed lines are, for those that are there."""
    lines = []
    if value.n_automated:
        lines.append(f"{counted(value.n_automated, 'automated row')}")
    if value.asked_error is not None:
        lines.append(f"at most {style.exact_percent(value.asked_error)} errors")
    return f" · dashed: this run, {', '.join(lines)}" if lines else ""


def _run_marks(axes: Axes, value: SampleSizes) -> None:
    look: dict[str, Any] = {"color": style.RULE, "linewidth": 1.1, "linestyle": (0, (4, 3))}
    if value.asked_error is not None:
        axes.axvline(value.asked_error, zorder=1.5, **look)
    if value.n_automated:
        axes.axhline(value.n_automated, zorder=1.5, **look)


def _in_words(series: RiskCoverageSeries) -> str:
    marks = ", ".join(
        f"{style.percent(coverage)} of rows at {style.percent(risk, 0)} error"
        for risk, coverage in series.coverage_at
    )
    return f"{series.title}: {marks or f'AURC {series.curve.aurc:.4f}'}."
