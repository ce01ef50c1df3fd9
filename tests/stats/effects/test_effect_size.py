"""Effect sizes against their definitions, scipy and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.effects.effect_size import (
    effect_sizes,
    exact_table_p_values,
    from_d,
    hedges_factor,
    moments,
    noncentral_interval,
    student_p_values,
)


def _miss(noncentrality, t, df, share):
    return stats.nct.cdf(t, df, noncentrality) - share


NUMBERS = st.lists(st.integers(-40, 40).map(lambda each: each / 8), min_size=2, max_size=25)


def _of(treated: list[float], baseline: list[float]):
    groups = []
    for values in (treated, baseline):
        row = np.array([values], dtype=np.float64)
        groups.append(moments(row, np.ones_like(row, dtype=bool)))
    return effect_sizes(*groups)


# The warning is scipy's, where one group is constant.
@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@given(NUMBERS, NUMBERS)
def test_d_and_p_value_are_those_of_the_definition_and_of_scipy(treated, baseline):
    found = _of(treated, baseline)
    one, other = np.array(treated), np.array(baseline)
    pooled = np.sqrt(
        ((one.size - 1) * one.var(ddof=1) + (other.size - 1) * other.var(ddof=1))
        / (one.size + other.size - 2)
    )
    if pooled == 0:
        assert np.isnan(found.d[0])
        assert np.isnan(found.p_value[0])
        assert not found.has_spread[0]
        return
    assert found.d[0] == pytest.approx((one.mean() - other.mean()) / pooled, abs=1e-12)
    oracle = stats.ttest_ind(one, other)
    assert found.p_value[0] == pytest.approx(oracle.pvalue, rel=1e-9, abs=1e-14)


@given(NUMBERS, NUMBERS, st.floats(0.1, 10), st.floats(-50, 50))
def test_g_does_not_depend_on_unit_or_origin_and_turns_with_the_groups(one, other, unit, origin):
    found = _of(one, other)
    moved = _of([unit * each + origin for each in one], [unit * each + origin for each in other])
    turned = _of(other, one)
    if np.isnan(found.g[0]):
        return
    assert moved.g[0] == pytest.approx(found.g[0], abs=1e-6)
    assert turned.g[0] == pytest.approx(-found.g[0], abs=1e-12)
    assert turned.low[0] == pytest.approx(-found.high[0], abs=1e-9)
    assert found.low[0] <= found.g[0] + 1e-12
    assert found.g[0] <= found.high[0] + 1e-12


def test_entries_that_are_not_present_do_not_count():
    values = np.array([[1.0, 2.0, 1e9], [5.0, 5.0, 5.0]])
    present = np.array([[True, True, False], [True, False, False]])
    found = moments(values, present)
    assert found.mean.tolist() == [1.5, 5.0]
    assert found.variance[0] == 0.5
    assert np.isnan(found.variance[1])
    assert found.count.tolist() == [2, 1]


@pytest.mark.parametrize("df", [2.0, 8.0, 58.0, 400.0])
@pytest.mark.parametrize("t", [0.0, 0.01, 0.7, 2.0, 3.5, 9.0])
def test_the_interval_inverts_the_noncentral_distribution(df, t):
    low, high = noncentral_interval(np.array([t]), np.array([df]))
    for end, share in ((low[0], 0.975), (high[0], 0.025)):
        wanted = optimize.brentq(_miss, -6, 20, args=(t, df, share), xtol=1e-11)
        assert end == pytest.approx(wanted, abs=1e-6)


def test_the_interval_is_finite_far_out():
    low, high = noncentral_interval(np.array([80.0, -300.0]), np.array([4.0, 58.0]))
    assert np.isfinite([low, high]).all()
    assert (low < high).all()


@pytest.mark.parametrize(("truth", "n"), [(0.8, 12), (3.0, 3), (2.0, 4)])
def test_the_interval_covers_as_often_as_it_says(truth, n):
    rng = np.random.default_rng(3)
    n_studies = 4000
    one = rng.normal(truth, 1, size=(n_studies, n))
    other = rng.normal(0, 1, size=(n_studies, n))
    everything = np.ones((n_studies, n), dtype=bool)
    found = effect_sizes(moments(one, everything), moments(other, everything))
    covered = (found.low <= truth) & (truth <= found.high)
    assert covered.mean() == pytest.approx(0.95, abs=0.012)
    # d is too large on average for few trials, g is not.
    assert found.g.mean() == pytest.approx(truth, rel=0.03)
    assert found.d.mean() > 1.03 * truth


def test_the_factor_is_nearly_the_well_known_one():
    df = np.array([10.0, 58.0, 500.0])
    assert hedges_factor(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=5e-4)
    assert hedges_factor(np.array([58.0]))[0] == pytest.approx(0.987, abs=5e-4)


def test_the_width_at_thirty_trials_is_that_of_the_normal_formula():
    found = from_d(np.array([0.0, 0.5, 0.8]), np.full(3, 30.0), np.full(3, 30.0))
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * np.array([0.258, 0.262, 0.268]), rel=0.01)


def test_what_is_not_finite_stays_undefined():
    found = from_d(
        np.array([np.nan, np.inf, -np.inf, 0.5]), np.full(4, 30.0), np.array([30.0, 30, 30, 0])
    )
    for values in (found.g, found.low, found.high, found.p_value, found.d):
        assert np.isnan(values).all()


def test_a_constant_group_of_inexact_numbers_has_no_spread():
    found = _of([0.1 + 0.2] * 7, [0.3] * 9)
    assert np.isnan(found.d[0])


def test_a_level_outside_its_range_is_refused():
    with pytest.raises(InvalidValue, match="level"):
        from_d(np.zeros(1), np.full(1, 3.0), np.full(1, 3.0), level=1.0)
    with pytest.raises(InvalidData, match="finite"):
        noncentral_interval(np.array([np.nan]), np.array([3.0]))


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=6))
def test_exact_p_values_are_those_of_scipy_one_table_at_a_time(tables):
    k1, extra1, k0, extra0 = np.array(tables).T
    n1, n0 = k1 + extra1, k0 + extra0
    found = exact_table_p_values(k1, n1, k0, n0)
    for row in range(len(tables)):
        table = [[k1[row], n1[row] - k1[row]], [k0[row], n0[row] - k0[row]]]
        oracle = stats.fisher_exact(table).pvalue
        assert found[row] == pytest.approx(oracle, rel=1e-9, abs=1e-15)


def test_impossible_counts_are_refused():
    with pytest.raises(InvalidData, match="0 <= k <= n"):
        exact_table_p_values(np.array([3]), np.array([2]), np.array([0]), np.array([1]))


def test_p_values_of_d_are_those_of_its_t():
    d = np.array([0.3, -0.9, 1.5])
    t = d / np.sqrt(1 / 20 + 1 / 30)
    assert student_p_values(d, 20, 30) == pytest.approx(2 * stats.t.sf(np.abs(t), 48))
