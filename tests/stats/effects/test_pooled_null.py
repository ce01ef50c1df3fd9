import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.effects.pooled_null import fit_random_effects, pooled_p


def test_p_values_of_null_values_are_nearly_uniform():
    rng = np.random.default_rng(0)
    p = pooled_p(np.abs(rng.standard_normal(20_000)), np.abs(rng.standard_normal(20_000)))
    for level in (0.5, 0.2, 0.1, 0.05):
        assert (p <= level).mean() == pytest.approx(level, rel=0.15)


@pytest.mark.parametrize("z", [3.0, 4.0, 5.0])
def test_a_normal_tail_is_continued_on_the_safe_side(z):
    found = [
        pooled_p(np.array([z]), np.abs(np.random.default_rng(seed).standard_normal(1000)))[0]
        for seed in range(40)
    ]
    exact = 2 * stats.norm.sf(z)
    assert exact < np.median(found) < 100 * exact
    assert np.mean(np.array(found) > exact) > 0.85


def test_a_heavy_tail_is_recognised_by_the_bulk():
    rng = np.random.default_rng(1)
    p = pooled_p(np.array([8.0]), np.abs(rng.standard_t(3, 5000)))[0]
    exact = 2 * stats.t.sf(8.0, 3)
    assert exact / 2 < p < 2 * exact


def test_a_few_real_effects_among_the_random_ones_do_not_hide_a_real_one():
    rng = np.random.default_rng(2)
    clean = np.abs(rng.standard_normal(2000))
    mixed = np.concatenate([clean, np.full(20, 9.0)])
    assert pooled_p(np.array([8.0]), mixed)[0] < 1e-6


@given(st.integers(0, 1000), st.integers(1, 400))
def test_larger_values_have_smaller_p_values_and_all_are_fractions(seed, n):
    rng = np.random.default_rng(seed)
    p = pooled_p(np.sort(np.abs(rng.standard_normal(50)) * 3), np.abs(rng.standard_normal(n)))
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()


def test_few_null_values_give_no_p_value_below_one_over_their_number():
    p = pooled_p(np.array([1e6, 3.5]), np.arange(1.0, 10.0))
    assert p == pytest.approx([1 / 10, 7 / 10])


def test_without_null_values_nothing_is_surprising():
    assert (pooled_p(np.array([1.0, 100.0]), np.zeros(0)) == 1).all()


def test_where_most_random_causes_do_nothing_the_others_are_counted():
    null = np.concatenate([np.zeros(60), np.arange(1.0, 41.0)])
    assert pooled_p(np.array([0.0, 1.0, 21.0, 41.0]), null) == pytest.approx(
        [1.0, 41 / 101, 21 / 101, 1 / 101]
    )


def test_random_causes_without_any_effect_leave_one_over_their_number():
    p = pooled_p(np.array([0.0, 1.0]), np.zeros(99))
    assert p == pytest.approx([1.0, 0.01])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_values_off_the_scale_are_refused(bad):
    with pytest.raises(InvalidData, match="finite and absolute"):
        pooled_p(np.array([bad]), np.ones(3))


def _random_world(seed, n_groups=60, each=10):
    """Effects around centres and with spreads that differ between groups."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), each)
    centre, spread = rng.standard_normal(n_groups) * 5, rng.uniform(0.5, 2, n_groups)
    effects = centre[groups] + spread[groups] * rng.standard_normal(len(groups))
    return effects, groups, centre, spread


def _law_of(z):
    return np.median(np.abs(z)) / stats.norm.ppf(0.75)


def test_new_random_effects_stand_as_far_out_as_those_that_were_fitted():
    effects, groups, centre, spread = _random_world(0)
    fit = fit_random_effects(effects, groups, 60)
    rng = np.random.default_rng(99)
    of = np.repeat(np.arange(60), 100)
    fresh = fit.z(centre[of] + spread[of] * rng.standard_normal(len(of)), of)
    assert _law_of(fit.null_z) == pytest.approx(_law_of(fresh), rel=0.12)
    p = pooled_p(np.abs(fresh), np.abs(fit.null_z))
    for level in (0.5, 0.1):
        assert (p <= level).mean() == pytest.approx(level, rel=0.4)
    assert (p <= 0.01).mean() < 0.015


def test_a_null_effect_is_left_out_of_what_it_is_held_against():
    effects, groups, _, _ = _random_world(1, n_groups=1)
    fit = fit_random_effects(effects, groups, 1)
    for row in (0, 7):
        rest = np.delete(effects, row)
        expected = (effects[row] - rest.mean()) / (rest.std(ddof=1) * np.sqrt(1 + 1 / 9))
        assert fit.null_z[row] == pytest.approx(expected)


def test_distances_of_normal_effects_follow_students_law():
    effects, groups, _, _ = _random_world(3, n_groups=2000)
    fit = fit_random_effects(effects, groups, 2000)
    assert stats.kstest(fit.null_z[::10], stats.t(8).cdf).pvalue > 0.01


def test_a_shift_that_all_random_causes_share_is_not_counted_as_an_effect():
    effects, groups, _, _ = _random_world(2)
    fit, moved = (fit_random_effects(effects + by, groups, 60) for by in (0.0, 100.0))
    np.testing.assert_allclose(fit.null_z, moved.null_z, atol=1e-6)
    one = np.zeros(1, int)
    np.testing.assert_allclose(fit.z(np.ones(1), one), moved.z(np.ones(1) + 100, one), atol=1e-6)


def test_groups_with_too_few_random_causes_know_nothing():
    fit = fit_random_effects(np.arange(5.0), np.array([0, 0, 1, 1, 1]), 3)
    z = fit.z(np.ones(3), np.arange(3))
    assert np.isnan(z[[0, 2]]).all()
    assert np.isfinite(z[1])


def test_nan_effects_and_none_at_all_are_refused():
    with pytest.raises(InvalidData, match="finite"):
        fit_random_effects(np.array([np.nan]), np.zeros(1, int), 1)
    with pytest.raises(NotEnoughData, match="effects"):
        fit_random_effects(np.zeros(0), np.zeros(0, int), 1)
