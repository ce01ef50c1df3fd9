"""Patterns over the day and the week: found where they are, not found where they are not."""

import numpy as np
import pytest

from glassbox.errors import InvalidData
from glassbox.stats.drift.seasonality import detect_season, hours_of, same_hours

DAY = 86_400.0
MONDAY = 1_704_067_200.0
"""2024-01-01, a Monday."""


def times(n: int, n_days: float, seed: int = 0) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).uniform(MONDAY, MONDAY + n_days * DAY, n))


def test_a_week_begins_on_monday_at_midnight_utc() -> None:
    moments = MONDAY + np.array([0.0, 3599.0, 3600.0, 6.5 * DAY, 7 * DAY, -3600.0])
    assert hours_of(moments, "week").tolist() == [0, 0, 1, 156, 0, 167]
    assert hours_of(moments, "day").tolist() == [0, 0, 1, 12, 0, 23]


def test_a_daily_pattern_is_found_as_one() -> None:
    when = times(6000, 14)
    values = np.sin(2 * np.pi * when / DAY) + np.random.default_rng(1).normal(size=6000)
    found = detect_season(when, values)
    assert found is not None
    assert found.period == "day"
    # A sine of amplitude 1 has half the variance of the noise added to it: a third of the whole.
    assert found.effect == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("slope", [0.0, 1e-5])
@pytest.mark.parametrize("level", [0.1, 1 / 3, 2.3])
def test_a_constant_and_a_line_have_no_pattern(level: float, slope: float) -> None:
    # More rows at some hours than at others, every day alike.
    per_hour = np.tile(1 + np.arange(24) * 7 % 5, 14)
    when = MONDAY + 3600 * np.repeat(np.arange(14 * 24), per_hour)
    assert detect_season(when, level + slope * (when - MONDAY)) is None


def test_a_weekly_pattern_is_told_from_a_daily_one() -> None:
    when = times(8000, 28)
    weekend = hours_of(when, "week") >= 120
    found = detect_season(when, weekend + np.random.default_rng(1).normal(size=8000))
    assert found is not None
    assert found.period == "week"
    assert found.n_cycles == 4


def test_noise_and_trends_are_no_seasons() -> None:
    when = times(5000, 28)
    generator = np.random.default_rng(2)
    found = [detect_season(when, generator.normal(size=5000)) for _ in range(100)]
    assert sum(each is not None for each in found) <= 1
    trend = (when - when[0]) / (28 * DAY) * 5
    assert detect_season(when, trend + generator.normal(size=5000)) is None
    assert detect_season(when, np.ones(5000)) is None


def test_two_days_show_no_daily_pattern() -> None:
    when = times(5000, 2)
    assert detect_season(when, np.sin(2 * np.pi * when / DAY)) is None
    assert detect_season(np.array([]), np.array([])) is None


def test_rows_of_the_same_hours_have_the_windows_mix() -> None:
    before, now = times(20_000, 28), times(3000, 1, seed=3) + 28 * DAY
    rows, is_covered = same_hours(before, now, "week")
    assert is_covered.all()
    assert (np.diff(rows) > 0).all()
    chosen = np.bincount(hours_of(before[rows], "week"), minlength=168)
    wanted = np.bincount(hours_of(now, "week"), minlength=168)
    assert ((chosen > 0) == (wanted > 0)).all()
    shares = chosen / chosen.sum() - wanted / wanted.sum()
    assert np.abs(shares).max() < 0.02


def test_hours_never_seen_are_left_out() -> None:
    before = MONDAY + np.arange(100) * 10.0
    rows, is_covered = same_hours(before, MONDAY + np.array([60.0, 7300.0]), "day")
    assert is_covered.tolist() == [True, False]
    assert rows.size == 100
    rows, is_covered = same_hours(before, MONDAY + np.array([7300.0]), "day")
    assert rows.size == 0
    assert not is_covered.any()


def test_times_and_values_belong_together() -> None:
    with pytest.raises(InvalidData, match="2 times for 3 values"):
        detect_season(np.zeros(2), np.zeros(3))
