"""Corrected p-values, against scipy and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glassbox.errors import InvalidData
from glassbox.stats.multiple_testing import benjamini_hochberg

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)


@given(P_VALUES)
def test_adjusted_values_are_those_of_scipy(values: np.ndarray) -> None:
    oracle = stats.false_discovery_control(values, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(values), oracle, atol=1e-15)


@given(P_VALUES)
def test_adjusting_keeps_the_order_and_makes_nothing_smaller(values: np.ndarray) -> None:
    adjusted = benjamini_hochberg(values)
    assert (adjusted >= values - 1e-15).all()
    assert (np.diff(adjusted[np.argsort(values, kind="stable")]) >= -1e-15).all()


@given(P_VALUES, st.integers(0, 60))
def test_tests_whose_p_values_are_not_given_had_one(values: np.ndarray, n_more: int) -> None:
    padded = benjamini_hochberg(np.append(values, np.ones(n_more)))
    adjusted = benjamini_hochberg(values, n_tests=values.size + n_more)
    np.testing.assert_allclose(adjusted, padded[: values.size], atol=1e-15)


def test_more_p_values_than_tests_are_refused() -> None:
    with pytest.raises(InvalidData, match="3 p-values cannot come from 2 tests"):
        benjamini_hochberg(np.array([0.1, 0.2, 0.3]), n_tests=2)


def test_few_of_those_called_out_are_false() -> None:
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(500):
        truth = np.arange(100) < 20
        z = generator.normal(3.0 * truth)
        called = benjamini_hochberg(stats.norm.sf(z)) <= 0.1
        shares.append((called & ~truth).sum() / max(1, called.sum()))
    # The bound is 0.1 times the share of true nulls, 0.8.
    assert np.mean(shares) <= 0.09


def test_no_p_values_are_no_p_values() -> None:
    assert benjamini_hochberg(np.array([])).size == 0


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(value: float) -> None:
    with pytest.raises(InvalidData, match="fractions in"):
        benjamini_hochberg(np.array([0.5, value]))
