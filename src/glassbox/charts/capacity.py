"""A fleet's day, its spike, and how far the simulation is off. Draws only."""

import math
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

_DASHED = (0, (4, 3))
_MEDIAN: Role = "base"
_P99: Role = "wrong"


@dataclass(frozen=True)
class FleetHours:
    """A day of a fleet of fixed size, hour by hour."""

    n_instances: int
    """Instances in the fleet."""
    n_requests: int
    """Requests that were simulated."""
    rates: tuple[float, ...]
    """Requests a second in each of 24 hours."""
    utilisations: tuple[float, ...]
    """Rate over the most that the fleet answers; fractions."""
    p50_s: tuple[float, ...]
    """Median time of each hour's requests."""
    p99_s: tuple[float, ...]
    """99th percentile of them."""
    target: float
    """Utilisation aimed at."""
    limit_s: float
    """Most seconds allowed for the 99th percentile."""


@dataclass(frozen=True, eq=False)
class ScalingDay:
    """A day of a fleet that scales itself, at equal steps of time."""

    step_s: float
    """Seconds between two values."""
    rates: Float[np.ndarray, " n_steps"]
    """Requests a second that came."""
    ready: Int[np.ndarray, " n_steps"]
    """Instances that answered."""
    wanted: Int[np.ndarray, " n_steps"]
    """Instances decided on."""
    times_s: Float[np.ndarray, " n_steps"]
    """Time that a request took."""
    rate_of_one: float
    """Most requests a second of one instance."""
    limit_s: float
    """Most seconds allowed."""
    cold_start_s: float
    """Seconds from a decision to an answer."""
    share_turned_away: float
    """Share of the day's requests that were turned away."""
    share_late: float
    """Share of them that were late or turned away."""


@dataclass(frozen=True)
class SimulationError:
    """A measured server beside its simulation at one load."""

    name: str
    """Work and rate, as in "verify, 4.6/s"."""
    measured_p50_s: float
    """Median of the server."""
    measured_p99_s: float
    """99th percentile of the server."""
    simulated_p50_s: float
    """Median of the simulation."""
    simulated_p99_s: float
    """99th percentile of the simulation."""


def fleet_day(value: FleetHours) -> Chart:
    """Return what comes and how long requests take, hour by hour.

    Raises:
        InvalidValue: Series that are not 24 hours long.
    """
    for series in (value.rates, value.utilisations, value.p50_s, value.p99_s):
        if len(series) != 24:
            raise InvalidValue("hours", len(series), "24")
    info = chart_info("fleet_day")
    hours = np.arange(24) + 0.5
    subtitle = (
        f"{style.count(value.n_instances)} instances, {style.count(value.n_requests)} simulated "
        "requests, sent to any instance"
    )
    with style.drawing():
        figure = style.sheet(8.2, 6.3, info.title, subtitle)
        upper = style.place(figure, (0.95, 3.35, 6.3, 1.95))
        lower = style.place(figure, (0.95, 0.62, 6.3, 1.95))
        upper.bar(
            hours, value.utilisations, width=0.8, color=style.face("base"),
            edgecolor=style.edge("base"), linewidth=0.8,
        )  # fmt: skip
        _level(upper, value.target, f"target {style.percent(value.target, 0)}")
        upper.set(ylim=(0, 1.08), title="Utilisation: what comes over the most that is answered")
        style.percent_axis(upper.yaxis)
        for times, role, name in (
            (value.p50_s, _MEDIAN, "median"),
            (value.p99_s, _P99, "99th percentile"),
        ):
            lower.plot(
                hours, times, color=style.stroke(role), linewidth=1.8, marker="o", markersize=4,
                label=name,
            )  # fmt: skip
        _seconds(lower, [*value.p50_s, *value.p99_s, value.limit_s])
        _level(lower, value.limit_s, f"allowed {value.limit_s:g} s")
        lower.set_title("Time from arrival to answer, seconds")
        lower.legend(loc="upper left", ncol=2)
        for axes in (upper, lower):
            _clock(axes)
        lower.set_xlabel("Hour of the day")
    worst = max(value.p99_s)
    summary = (
        f"{info.alt} {style.count(value.n_instances)} instances; utilisation at most "
        f"{style.percent(max(value.utilisations))}, 99th percentile at most {worst:.3g} s."
    )
    return Chart(info, figure, plain(value), summary)


def fleet_spike(value: ScalingDay) -> Chart:
    """Return how a fleet that scales itself takes a spike.

    Raises:
        InvalidValue: Series of different length, or empty.
    """
    sizes = {len(each) for each in (value.rates, value.ready, value.wanted, value.times_s)}
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidValue("steps of the scaled day", sorted(sizes), "equal numbers, not 0")
    info = chart_info("fleet_spike")
    hours = np.arange(len(value.rates)) * value.step_s / 3600
    subtitle = (
        f"A new instance answers after {value.cold_start_s:g} s · "
        f"{style.percent(value.share_late, 2)} of requests late or turned away, "
        f"{style.percent(value.share_turned_away, 2)} turned away"
    )
    with style.drawing():
        figure = style.sheet(8.2, 6.3, info.title, subtitle)
        upper = style.place(figure, (0.95, 3.35, 6.3, 1.95))
        lower = style.place(figure, (0.95, 0.62, 6.3, 1.95))
        _servers(upper, hours, value)
        lower.plot(hours, value.times_s, color=style.stroke("wrong"), linewidth=1.4)
        _seconds(lower, [*map(float, value.times_s), value.limit_s])
        _level(lower, value.limit_s, f"allowed {value.limit_s:g} s")
        lower.set_title("Time that a request took, seconds")
        for axes in (upper, lower):
            _clock(axes)
        lower.set_xlabel("Hour of the day")
    summary = (
        f"{info.alt} At most {int(value.wanted.max())} instances; "
        f"{style.percent(value.share_late, 2)} of requests late or turned away."
    )
    return Chart(info, figure, plain(value), summary)


def simulation_check(values: Sequence[SimulationError]) -> Chart:
    """Return measured times beside simulated ones.

    Raises:
        InvalidValue: Nothing was compared.
    """
    if not values:
        raise InvalidValue("comparisons", 0, "at least one")
    info = chart_info("simulation_check")
    height = 1.75 + 0.52 * len(values)
    with style.drawing():
        figure = style.sheet(8.2, height, info.title, "The same requests at the same moments")
        axes = style.place(figure, (1.75, 0.62, 5.4, 0.52 * len(values)))
        for place, each in enumerate(reversed(values)):
            for measured, simulated, lift, role in (
                (each.measured_p50_s, each.simulated_p50_s, 0.14, _MEDIAN),
                (each.measured_p99_s, each.simulated_p99_s, -0.14, _P99),
            ):
                y = place + lift
                axes.plot([measured, simulated], [y, y], color=style.RULE, linewidth=1.2, zorder=2)
                axes.scatter([measured], [y], s=46, color=style.stroke(role), zorder=3)
                axes.scatter(
                    [simulated], [y], s=46, facecolor="white", edgecolor=style.stroke(role),
                    linewidth=1.5, zorder=3,
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(_ticks(axes.get_xlim()))
        axes.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
        axes.xaxis.set_minor_formatter(lambda _number, _: "")
        axes.set(ylim=(-0.6, len(values) - 0.4), xlabel="Seconds from arrival to answer")
        axes.set_yticks(range(len(values)), [style.literal(v.name) for v in reversed(values)])
        axes.grid(visible=False, axis="y")
        _key(figure, height)
    worst = max(abs(each.simulated_p99_s / each.measured_p99_s - 1) for each in values)
    summary = f"{info.alt} 99th percentiles are off by at most {style.percent(worst, 0)}."
    return Chart(info, figure, plain({"compared": values}), summary)


def _servers(axes: Axes, hours: Float[np.ndarray, " n"], value: ScalingDay) -> None:
    needed = value.rates / value.rate_of_one
    axes.fill_between(
        hours, needed, color=style.face("base"), edgecolor=style.edge("base"), linewidth=0.8,
        label="needed for what comes",
    )  # fmt: skip
    axes.plot(
        hours, value.wanted, color=style.stroke("tuned"), linewidth=1.4, linestyle=_DASHED,
        label="decided on",
    )  # fmt: skip
    axes.plot(hours, value.ready, color=style.INK, linewidth=1.5, label="answering")
    top = float(max(value.wanted.max(), needed.max()))
    axes.set(ylim=(0, 1.3 * top), title="Instances")
    axes.legend(loc="upper left", ncol=3)


def _level(axes: Axes, height: float, name: str) -> None:
    axes.axhline(height, color=style.MUTED, linewidth=1.1, linestyle=_DASHED, zorder=1.5)
    axes.annotate(
        name, (1, height), xycoords=("axes fraction", "data"), xytext=(5, 0),
        textcoords="offset points", va="center", size=8.5, color=style.MUTED,
        annotation_clip=False,
    )  # fmt: skip


def _seconds(axes: Axes, values: Sequence[float]) -> None:
    """Set a scale of seconds: powers of ten where values differ much, from 0 otherwise."""
    real = [each for each in values if np.isfinite(each) and each > 0]
    low, high = min(real), max(real)
    if high / low > 20:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 3)
        axes.yaxis.set_major_formatter(lambda number, _: f"{number:g}")
        axes.yaxis.set_minor_formatter(lambda _number, _: "")
    else:
        axes.set_ylim(0, 1.35 * high)


def _clock(axes: Axes) -> None:
    axes.set(xlim=(0, 24), xticks=range(0, 25, 3))


def _ticks(limits: tuple[float, float]) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two limits."""
    low, high = (math.floor(math.log10(each)) for each in limits)
    all_ticks = [step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)]
    return [tick for tick in all_ticks if limits[0] <= tick <= limits[1]]


def _key(figure: Figure, height: float) -> None:
    look: dict[str, Any] = {"size": 9}
    y = height - 0.82
    for x, role, name in ((1.75, _MEDIAN, "median"), (2.85, _P99, "99th percentile")):
        style.write(figure, x, y, name, color=style.stroke(role), weight="bold", **look)
    style.write(figure, 4.6, y, "full: measured   open: simulated", color=style.MUTED, **look)
