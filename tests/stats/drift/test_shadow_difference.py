"""Recent level, histogram and outliers of shadow differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.drift.shadow_difference import (
    EDGES,
    difference_histogram,
    moving_average,
    outlier_limit,
    summarise_differences,
)

DIFFERENCES = st.lists(st.floats(0, 1), min_size=1, max_size=100).map(np.array)


@given(DIFFERENCES)
def test_the_summary_is_of_all_differences(values: np.ndarray) -> None:
    found = summarise_differences(values)
    assert found is not None
    assert found.n == values.size == sum(found.histogram.counts)
    assert found.least == values.min()
    assert found.largest == values.max()
    assert found.least - 1e-12 <= found.ema <= found.largest + 1e-12
    assert found.histogram.edges == EDGES
    assert found.n_outliers == (values > outlier_limit(values)).sum() <= values.size


@given(DIFFERENCES, st.floats(0.5, 200))
def test_the_moving_average_is_what_a_loop_gives(values: np.ndarray, half_life: float) -> None:
    keep = 2 ** (-1 / half_life)
    total = weight = 0.0
    for each in values:
        total, weight = keep * total + each, keep * weight + 1
    assert moving_average(values, half_life=half_life) == pytest.approx(total / weight, abs=1e-9)


def test_a_recent_rise_shows_in_the_moving_average_before_the_mean() -> None:
    values = np.concatenate([np.full(950, 0.01), np.full(50, 0.5)])
    found = summarise_differences(values)
    assert found is not None
    assert found.mean == pytest.approx(0.0345)
    assert found.ema == pytest.approx(0.255, abs=0.01)


def test_numbers_further_apart_than_one_get_wider_bins() -> None:
    found = difference_histogram(np.array([0.0, 3.0, 1234.0]))
    assert found.edges[-1] == 10_000
    assert sum(found.counts) == 3
    assert difference_histogram(np.array([10.0])).edges[-1] == 10


def test_outliers_are_those_that_stand_out_and_rounding_is_none() -> None:
    values = np.concatenate([np.random.default_rng(0).uniform(0.01, 0.05, 200), [0.9]])
    assert (values > outlier_limit(values)).sum() == 1
    for last, n_outliers in ((1e-9, 0), (0.3, 1)):
        found = summarise_differences(np.array([0.0] * 99 + [last]))
        assert found is not None
        assert found.n_outliers == n_outliers
    assert outlier_limit(np.array([0.0])) == 0.01


def test_an_empty_window_has_no_summary() -> None:
    assert summarise_differences(np.array([])) is None


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_what_is_no_difference_is_refused(value: float) -> None:
    with pytest.raises(InvalidData, match="differences must"):
        summarise_differences(np.array([0.1, value]))


def test_a_half_life_is_positive() -> None:
    with pytest.raises(InvalidValue, match="half_life"):
        moving_average(np.array([1.0]), half_life=0.0)
