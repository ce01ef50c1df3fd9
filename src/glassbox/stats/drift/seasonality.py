"""Patterns that return with the hour of the day or of the week, and rows of the same hours.

A shop's Monday morning compared with its last week is drift to every test and news to nobody. Where
a pattern returns, the reference is taken from the same hours. All hours are UTC.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from glassbox.errors import InvalidData
from glassbox.stats.checking import vary

Period = Literal["day", "week"]
"""After what a pattern returns."""

HOURS: Final[dict[Period, int]] = {"day": 24, "week": 168}
"""Hours of each period."""

LEAST_CYCLES: Final = 3
"""Periods that must have been seen: two that look alike may do so by chance or by a trend."""

LEAST_EFFECT: Final = 0.02
"""Share of the variance below which a pattern is of no consequence.

Source: between Cohen's small (0.01) and medium (0.06) effect, Cohen 1988.
"""

LEVEL: Final = 0.001
"""P-value from which a pattern is believed: neighbouring hours are alike without any pattern."""

THURSDAY_HOURS: Final = 72
"""Hours from Monday 0:00 to the weekday of the Unix epoch."""


@dataclass(frozen=True)
class Season:
    """A pattern that returns."""

    period: Period
    """After what."""
    effect: float
    """Share of the variance of the rows that the hour explains, [0, 1]."""
    p_value: float
    """Probability of as strong a pattern among hours that differ by chance."""
    n_cycles: int
    """Periods that were seen."""


def hours_of(times_s: Float[np.ndarray, " n"], period: Period) -> Int[np.ndarray, " n"]:
    """Return the hour of each time in its period, from 0; a week begins on Monday."""
    hours = np.floor(times_s / 3600).astype(np.int64)
    return (hours + THURSDAY_HOURS) % HOURS[period]


def detect_season(
    times_s: Float[np.ndarray, " n"], values: Float[np.ndarray, " m"]
) -> Season | None:
    """Return the pattern that returns, None where none can be shown.

    A weekly pattern is preferred to a daily one only where it explains clearly more.

    Args:
        times_s: Unix time of each row.
        values: The number of each row; for categories, 0 and 1.

    Raises:
        InvalidData: Different lengths.
    """
    if times_s.shape != values.shape:
        raise InvalidData(f"{times_s.size} times for {values.size} values")
    level = _without_trend(times_s, values)
    if not vary(level, float(np.abs(values).max(initial=0.0))):
        # What rounding leaves of a constant, or of a line, looks like a pattern without exception.
        return None
    found = {period: _season(times_s, level, period) for period in HOURS}
    day, week = found["day"], found["week"]
    if day is None or (week is not None and week.effect > day.effect + LEAST_EFFECT):
        return week
    return day


def same_hours(
    reference_s: Float[np.ndarray, " n"],
    current_s: Float[np.ndarray, " m"],
    period: Period,
) -> tuple[Int[np.ndarray, " kept"], Bool[np.ndarray, " m"]]:
    """Return which rows of a reference to compare with, and which current rows they stand for.

    The rows chosen have the current rows' mix of hours, as many as the scarcest tenth of the
    current rows' hours allows, spread evenly over the reference's time. Current rows at hours
    that the reference has never seen are left out.
    """
    n_hours = HOURS[period]
    before, now = hours_of(reference_s, period), hours_of(current_s, period)
    have = np.bincount(before, minlength=n_hours)
    want = np.bincount(now, minlength=n_hours)
    is_covered = (have > 0)[now]
    if not is_covered.any():
        return np.empty(0, dtype=np.int64), is_covered
    ratio = np.quantile((have / np.maximum(want, 1))[now[is_covered]], 0.1)
    order = np.argsort(before, kind="stable")
    starts = np.cumsum(have) - have
    chosen = []
    for hour in np.flatnonzero((want > 0) & (have > 0)):
        n_taken = int(min(have[hour], max(1, round(ratio * want[hour]))))
        places = (np.arange(n_taken) * have[hour]) // n_taken
        chosen.append(order[starts[hour] + places])
    return np.sort(np.concatenate(chosen)), is_covered


def _without_trend(
    times_s: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return the values less their line over time, which would look like a ramp in every period."""
    if times_s.size == 0:
        return values
    centred = times_s - times_s.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (values - values.mean())) / spread if spread > 0 else 0.0
    return np.asarray(values - slope * centred)


def _season(
    times_s: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], period: Period
) -> Season | None:
    """Return a pattern if the hours' means differ by more than the same hour does over time.

    Source: two-way analysis of variance of the cell means without replication, hours by periods,
    Fisher 1925; what each period has as a whole (a trend) is taken out.
    """
    if times_s.size == 0:
        return None
    hours = hours_of(times_s, period)
    cycles = np.floor((times_s / 3600 + THURSDAY_HOURS) / HOURS[period]).astype(np.int64)
    cycles -= cycles.min()
    n_hours, n_cycles = HOURS[period], int(cycles.max()) + 1
    if n_cycles < LEAST_CYCLES or n_cycles * n_hours > 50 * values.size:
        return None
    cells = cycles * n_hours + hours
    shape = (n_cycles, n_hours)
    counts = np.bincount(cells, minlength=n_cycles * n_hours).reshape(shape)
    sums = np.bincount(cells, weights=values, minlength=n_cycles * n_hours).reshape(shape)
    # Periods that were seen in part, as the first and the last one, would leave few hours.
    is_full = (counts > 0).mean(axis=1) >= 0.5 * (counts > 0).mean(axis=1).max()
    counts, sums = counts[is_full], sums[is_full]
    seen = (counts > 0).all(axis=0)
    n_phases, n_seen = int(seen.sum()), counts.shape[0]
    variance = float(values.var())
    if n_seen < LEAST_CYCLES or n_phases < 3 or variance == 0:
        return None
    means = sums[:, seen] / counts[:, seen]
    means = means - means.mean(axis=1, keepdims=True)
    pattern = means.mean(axis=0)
    freedom = (n_phases - 1, (n_phases - 1) * (n_seen - 1))
    between = n_seen * float((pattern**2).sum()) / freedom[0]
    within = float(((means - pattern) ** 2).sum()) / freedom[1]
    p_value = float(stats.f.sf(between / within, *freedom)) if within > 0 else 0.0
    # What chance alone adds to the pattern's variance is taken off.
    explained = (between - within) * freedom[0] / (n_seen * n_phases)
    effect = min(1.0, max(0.0, explained / variance))
    if p_value > LEVEL or effect < LEAST_EFFECT:
        return None
    return Season(period, effect, p_value, n_seen)
