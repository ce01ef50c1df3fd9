"""Distances of two samples, against scipy and slow versions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import spatial, stats

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.drift.two_sample import compare_counts, compare_numbers, jensen_shannon

NUMBERS = st.lists(st.integers(-20, 20).map(lambda each: each / 4), min_size=2, max_size=60).map(
    lambda values: np.sort(np.array(values))
)
COUNTS = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), min_size=2, max_size=8)


@given(NUMBERS, NUMBERS)
def test_distances_of_numbers_are_those_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    found = compare_numbers(first, second)
    oracle = stats.ks_2samp(first, second, method="asymp")
    assert found.ks == pytest.approx(oracle.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9, abs=1e-12)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(first, second), abs=1e-9)


@given(NUMBERS, NUMBERS)
def test_distances_do_not_depend_on_which_sample_is_which(
    first: np.ndarray, second: np.ndarray
) -> None:
    one, other = compare_numbers(first, second), compare_numbers(second, first)
    assert one.ks == pytest.approx(other.ks, abs=1e-12)
    assert one.wasserstein == pytest.approx(other.wasserstein, abs=1e-9)


def test_a_sample_does_not_differ_from_itself() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=500))
    found = compare_numbers(values, values)
    assert (found.ks, found.p_value, found.wasserstein) == (0.0, 1.0, 0.0)


def test_chi_square_is_that_of_scipy_where_no_bin_is_rare() -> None:
    table = np.array([[50, 30, 20], [40, 45, 25]])
    oracle = stats.chi2_contingency(table, correction=False)
    found = compare_counts(table[0], table[1])
    assert found.chi_square == pytest.approx(oracle.statistic)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.cramers_v == pytest.approx(np.sqrt(oracle.statistic / table.sum()))


def test_rare_bins_are_joined_before_they_count() -> None:
    rare = compare_counts(np.array([500, 300, 2, 0, 1]), np.array([480, 310, 0, 3, 1]))
    joined = compare_counts(np.array([500, 303]), np.array([480, 314]))
    assert rare.chi_square == pytest.approx(joined.chi_square)


def test_chi_square_keeps_its_promise_with_many_rare_categories() -> None:
    generator = np.random.default_rng(1)
    shares = 1 / np.arange(1, 101)
    shares /= shares.sum()
    p_values = [
        compare_counts(
            generator.multinomial(500, shares), generator.multinomial(300, shares)
        ).p_value
        for _ in range(1000)
    ]
    # 5 % of 1000 are 50; three standard deviations are 21.
    assert sum(each <= 0.05 for each in p_values) <= 71


def test_one_bin_leaves_nothing_to_compare() -> None:
    assert compare_counts(np.array([9]), np.array([4])).p_value == 1.0
    assert compare_counts(np.array([2, 1]), np.array([1, 1])).p_value == 1.0


@given(COUNTS)
def test_jensen_shannon_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    if not first.sum() or not second.sum():
        return
    oracle = spatial.distance.jensenshannon(first, second, base=2)
    assert jensen_shannon(first, second) == pytest.approx(np.nan_to_num(oracle), abs=1e-6)
    assert 0 <= jensen_shannon(first, second) <= 1


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="two samples"):
        compare_numbers(np.array([]), np.array([1.0]))
    with pytest.raises(NotEnoughData, match="two counts"):
        compare_counts(np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(InvalidData, match="over 2 and 3 bins"):
        compare_counts(np.array([1, 0]), np.array([1, 2, 3]))
    with pytest.raises(InvalidData, match="finite and at least 0"):
        jensen_shannon(np.array([1, -1]), np.array([1, 2]))
