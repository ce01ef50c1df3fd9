"""Permutation of the largest effect, order statistics and split halves: laws and simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.effects.max_statistic import (
    Design,
    max_statistic,
    null_order_statistic,
    split_half,
)


def _d(values, treated):
    one, other = values[treated], values[~treated]
    pooled = ((one.size - 1) * one.var(ddof=1) + (other.size - 1) * other.var(ddof=1)) / (
        values.size - 2
    )
    return abs(one.mean() - other.mean()) / np.sqrt(pooled)


def _labels(n_treated, n_baseline):
    return np.arange(n_treated + n_baseline) < n_treated


def test_observed_effects_are_cohens_d():
    rng = np.random.default_rng(0)
    values, treated = rng.normal(size=(25, 6)) * 3 + 100, _labels(11, 14)
    found = max_statistic([Design(values, treated)], n_permutations=10)
    assert found.observed[0] == pytest.approx([_d(column, treated) for column in values.T])
    assert found.n_latents == 6


def test_the_p_value_is_that_of_all_relabellings():
    rng = np.random.default_rng(1)
    values, treated = rng.normal(size=(8, 3)), _labels(4, 4)
    values[:4, 0] += 1.5
    maxima = []
    for chosen in combinations(range(8), 4):
        labels = np.isin(np.arange(8), chosen)
        maxima.append(max(_d(column, labels) for column in values.T))
    exact = [np.mean(np.array(maxima) >= _d(column, treated) - 1e-12) for column in values.T]
    found = max_statistic([Design(values, treated)], n_permutations=20_000)
    assert found.p_adjusted[0] == pytest.approx(exact, abs=0.012)


def test_labels_stay_within_their_strata():
    # Prompts differ much, the treatment adds a little to each: only strata can see it.
    rng = np.random.default_rng(2)
    prompts = np.arange(15)
    base = np.repeat(rng.normal(0, 10, 15)[:, None], 4, axis=1)
    values = np.concatenate([base + 0.5, base]) + rng.normal(0, 0.05, size=(30, 4))
    treated, strata = _labels(15, 15), np.tile(prompts, 2)
    free = max_statistic([Design(values, treated)], n_permutations=500)
    bound = max_statistic([Design(values, treated, strata)], n_permutations=500)
    assert free.p_adjusted[0].min() > 0.3
    assert bound.p_adjusted[0].max() == pytest.approx(1 / 501)


def test_the_largest_null_effect_is_called_out_as_often_as_the_level_says():
    rng = np.random.default_rng(3)
    n_alarms = 0
    for study in range(200):
        values = (rng.random((40, 30)) < 0.6).astype(float)
        found = max_statistic([Design(values, _labels(20, 20))], n_permutations=200, seed=study)
        n_alarms += bool((found.p_adjusted[0] <= 0.05).any())
    # Between chance and the level: with ties the test is conservative.
    assert n_alarms <= stats.binom.ppf(0.999, 200, 0.05)


def test_designs_are_permuted_apart_and_judged_together():
    rng = np.random.default_rng(4)
    small = Design(rng.normal(size=(12, 2)), _labels(6, 6))
    large = Design(rng.normal(size=(60, 3)), _labels(30, 30))
    alone = max_statistic([small], n_permutations=400, seed=9)
    both = max_statistic([small, large], n_permutations=400, seed=9)
    assert (both.null_max >= alone.null_max).all()
    assert (both.p_adjusted[0] >= alone.p_adjusted[0]).all()
    assert both.n_latents == 5


def test_constant_outcomes_are_undefined_and_separated_groups_beat_all():
    treated = _labels(5, 5)
    values = np.stack([np.full(10, 0.3), treated.astype(float), np.arange(10.0)], axis=1)
    found = max_statistic([Design(values, treated)], n_permutations=300)
    assert np.isnan(found.observed[0][0])
    assert np.isnan(found.p_adjusted[0][0])
    assert np.isinf(found.observed[0][1])
    assert found.p_adjusted[0][1] < 0.05
    assert np.isfinite(found.observed[0][2])
    assert found.n_latents == 2


def test_the_same_seed_gives_the_same_result():
    rng = np.random.default_rng(5)
    design = Design(rng.normal(size=(20, 4)), _labels(10, 10))
    first, again = (max_statistic([design], n_permutations=50, seed=1) for _ in range(2))
    assert (first.null_max == again.null_max).all()
    assert first.threshold(0.1) == again.threshold(0.1)


def test_what_cannot_be_permuted_is_refused():
    with pytest.raises(InvalidData, match="no design"):
        max_statistic([])
    with pytest.raises(InvalidData, match="each group needs two"):
        max_statistic([Design(np.zeros((3, 1)), np.array([True, False, False]))])
    with pytest.raises(InvalidData, match="finite"):
        max_statistic([Design(np.full((4, 1), np.nan), _labels(2, 2))])
    with pytest.raises(InvalidData, match="shape"):
        max_statistic([Design(np.zeros((4, 1)), _labels(2, 3))])


def test_order_statistics_are_those_of_simulated_nulls():
    rng = np.random.default_rng(6)
    largest, tenth = [], []
    for _ in range(150):
        one, other = rng.normal(size=(2, 500, 12))
        pooled = np.sqrt((one.var(axis=1, ddof=1) + other.var(axis=1, ddof=1)) / 2)
        d = np.sort(np.abs(one.mean(axis=1) - other.mean(axis=1)) / pooled)
        largest.append(d[-1])
        tenth.append(d[-10])
    sizes = {"n_treated": 12, "n_baseline": 12}
    assert null_order_statistic(500, 1, **sizes) == pytest.approx(np.median(largest), abs=0.04)
    assert null_order_statistic(500, 10, **sizes) == pytest.approx(np.median(tenth), abs=0.02)


def test_the_fiftieth_of_a_dictionary_of_nulls_is_large():
    # 0.82 by the normal approximation; the exact value has the t distribution's longer tail.
    assert null_order_statistic(32_768, 50) == pytest.approx(0.86, abs=0.005)
    with pytest.raises(InvalidValue, match="rank"):
        null_order_statistic(10, 11)


def test_selected_nulls_vanish_on_the_other_half_and_real_effects_stay():
    rng = np.random.default_rng(7)
    nulls = rng.normal(0, 0.37, size=(2, 2000))
    found = split_half(nulls[0], nulls[1], n_selected=50)
    assert found.selected_mean > 0.8
    assert abs(found.shrinkage) < 0.12
    assert found.sign_agreement == pytest.approx(0.5, abs=0.2)
    real = rng.normal(0, 1, 2000)
    halves = real + rng.normal(0, 0.1, size=(2, 2000))
    found = split_half(halves[0], halves[1], n_selected=50)
    assert found.shrinkage > 0.95
    assert found.sign_agreement == 1
    assert found.correlation == pytest.approx(stats.spearmanr(*halves).statistic)


def test_halves_without_effects_give_no_figures():
    nothing = np.full(3, np.nan)
    assert split_half(nothing, nothing, n_selected=2).n_latents == 0
    assert split_half(nothing, nothing, n_selected=2).shrinkage is None
    one = split_half(np.array([0.0, 1.0]), np.array([0.0, 0.5]), n_selected=2)
    assert one.correlation is None
    with pytest.raises(InvalidData, match="shape"):
        split_half(np.zeros(2), np.zeros(3), n_selected=1)


def test_effects_of_exactly_nothing_are_not_selected():
    first = np.array([0.0, 0.0, 0.9, -0.5])
    second = np.array([0.0, 0.4, 0.8, 0.0])
    found = split_half(first, second, n_selected=4)
    assert (found.n_latents, found.n_selected) == (4, 2)
    assert found.sign_agreement == 0.75
    assert split_half(np.zeros(3), np.ones(3), n_selected=2).selected_mean is None
