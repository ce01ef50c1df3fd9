"""The stability index: frozen bins, a slow version, a limit that knows the rows."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.stats.drift.population_stability import (
    LEAST_LIMIT,
    binned,
    frozen_cuts,
    population_stability,
    sorted_counts,
    stability_limit,
)

VALUES = st.lists(st.floats(-100, 100, allow_nan=False), min_size=1, max_size=80).map(
    lambda values: np.sort(np.array(values))
)


def test_the_index_is_what_a_loop_gives() -> None:
    before, now = np.array([100, 250, 650]), np.array([20, 20, 60])
    slow = 0.0
    for one, other in zip(before + 0.5, now + 0.5, strict=True):
        p, q = one / (before.sum() + 1.5), other / (now.sum() + 1.5)
        slow += (p - q) * np.log(p / q)
    assert population_stability(before, now) == pytest.approx(slow)


@given(VALUES, VALUES, st.integers(2, 12))
@example(np.sort(np.r_[np.zeros(30), 1.0:61.0]), np.zeros(1), 10)
def test_every_value_falls_into_one_frozen_bin(
    reference: np.ndarray, current: np.ndarray, n_bins: int
) -> None:
    cuts = frozen_cuts(reference, n_bins)
    assert (np.diff(cuts) > 0).all()
    assert cuts.size < max(n_bins, 2)
    for values in (reference, current):
        counts = sorted_counts(values, cuts)
        assert counts.sum() == values.size
        assert (
            counts.tolist() == np.bincount(binned(values, cuts), minlength=cuts.size + 1).tolist()
        )
    # No bin of the reference is empty: every bound is a value of it, and one lies below all.
    assert (sorted_counts(reference, cuts) > 0).all()


@given(VALUES)
def test_a_sample_is_stable_against_itself(values: np.ndarray) -> None:
    counts = sorted_counts(values, frozen_cuts(values))
    assert population_stability(counts, counts) == 0.0


def test_few_distinct_values_get_a_bin_each() -> None:
    values = np.sort(np.repeat([0.0, 1.0, 5.0], [90, 9, 1]))
    assert frozen_cuts(values).tolist() == [1.0, 5.0]
    assert sorted_counts(values, frozen_cuts(values)).tolist() == [90, 9, 1]


def test_the_limit_is_the_quantile_of_the_index_without_drift() -> None:
    generator = np.random.default_rng(0)
    n, m, n_trials = 2000, 60, 2000
    above = 0
    for _ in range(n_trials):
        reference = np.sort(generator.normal(size=n))
        cuts = frozen_cuts(reference)
        index = population_stability(
            sorted_counts(reference, cuts),
            sorted_counts(np.sort(generator.normal(size=m)), cuts),
        )
        above += index > stability_limit(n, m, cuts.size + 1)
    # At 99 % some 20 of 2000 are expected; the half row in each bin makes it a little cautious.
    assert above <= 40


def test_the_limit_falls_to_a_tenth_with_many_rows_and_rises_with_few() -> None:
    assert stability_limit(100_000, 100_000, 10) == LEAST_LIMIT
    assert stability_limit(5000, 100, 10) > 0.2
    assert stability_limit(10, 10, 1) == LEAST_LIMIT


def test_a_rule_of_thumb_cries_on_small_windows_where_the_limit_does_not() -> None:
    generator = np.random.default_rng(0)
    reference = np.sort(generator.normal(size=5000))
    cuts = frozen_cuts(reference)
    indices = [
        population_stability(
            sorted_counts(reference, cuts),
            sorted_counts(np.sort(generator.normal(size=50)), cuts),
        )
        for _ in range(500)
    ]
    limit = stability_limit(5000, 50, 10)
    assert np.mean(np.array(indices) > 0.1) > 0.7
    assert np.mean(np.array(indices) > limit) <= 0.03


def test_what_makes_no_bins_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="Bins"):
        frozen_cuts(np.array([]))
    with pytest.raises(InvalidValue, match="n_current is 0"):
        stability_limit(10, 0, 10)
    with pytest.raises(InvalidValue, match="level"):
        stability_limit(10, 10, 10, level=1.0)
