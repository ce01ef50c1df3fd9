"""Differences of skewed groups against scipy, definitions and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.effects.group_difference import bootstrap_g, dominance, firing_difference

VALUES = st.lists(st.integers(0, 6).map(float), min_size=2, max_size=30).map(np.array)


@given(VALUES, VALUES)
def test_dominance_is_the_mann_whitney_statistic_as_a_share(treated, baseline):
    found = dominance(treated, baseline)
    statistic = stats.mannwhitneyu(treated, baseline).statistic
    assert found.auc == pytest.approx(statistic / treated.size / baseline.size)
    assert found.delta.estimate == pytest.approx(2 * found.auc - 1)
    assert -1 <= found.delta.low <= found.delta.estimate <= found.delta.high <= 1


@given(VALUES, VALUES)
def test_dominance_turns_with_the_groups(treated, baseline):
    one, other = dominance(treated, baseline), dominance(baseline, treated)
    assert one.delta.low == pytest.approx(-other.delta.high, abs=1e-9)


def test_groups_without_overlap_leave_room_for_doubt():
    found = dominance(np.arange(5.0) + 10, np.arange(5.0))
    assert found.delta.estimate == 1
    assert found.delta.low < 0.3


def test_the_interval_of_delta_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    # P(X > Y) of two normals one standard deviation apart.
    truth = 2 * stats.norm.cdf(1 / np.sqrt(2)) - 1
    covered = 0
    for _ in range(600):
        delta = dominance(rng.normal(1, 1, 25), rng.normal(0, 1, 25)).delta
        covered += delta.low <= truth <= delta.high
    assert covered / 600 > 0.92


def test_firing_is_compared_by_newcombes_interval():
    # Newcombe 1998, table II, row (a): 56/70 against 48/80, method 10.
    treated = np.r_[np.ones(56), np.zeros(14)]
    baseline = np.r_[np.ones(48), np.zeros(32)]
    found = firing_difference(treated, baseline)
    assert found.difference.estimate == pytest.approx(0.2)
    assert found.difference.low == pytest.approx(0.0524, abs=5e-5)
    assert found.difference.high == pytest.approx(0.3339, abs=5e-5)
    assert found.p_value == pytest.approx(stats.fisher_exact([[56, 14], [48, 32]]).pvalue)


def test_the_bootstrap_lies_near_the_exact_interval_for_normal_values():
    rng = np.random.default_rng(1)
    treated, baseline = rng.normal(0.7, 1, 60), rng.normal(0, 1, 60)
    found = bootstrap_g(treated, baseline, n_draws=1500)
    assert found.low < found.estimate < found.high
    assert found.high - found.low == pytest.approx(0.74, abs=0.12)


def test_trials_of_one_prompt_are_drawn_together():
    # Ten prompts of six like trials each: sixty trials, but ten independent values a group.
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(10), 6)
    treated = np.repeat(rng.normal(0.5, 1, 10), 6)
    baseline = np.repeat(rng.normal(0, 1, 10), 6)
    alone = bootstrap_g(treated, baseline, n_draws=800)
    together = bootstrap_g(
        treated,
        baseline,
        treated_clusters=clusters,
        baseline_clusters=clusters,
        n_draws=800,
    )
    assert together.estimate == alone.estimate
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_few_prompts_cover_nearly_as_often_as_many():
    rng = np.random.default_rng(3)
    truth = 1.0 / np.sqrt((2 * 0.7**2 + 0.4**2 + 2) / 2)
    prompts = np.repeat(np.arange(6), 5)
    covered = 0
    for seed in range(300):
        level, slope = rng.normal(0, 0.7, 6), rng.normal(1, 0.4, 6)
        baseline = level[prompts] + rng.normal(size=30)
        treated = level[prompts] + slope[prompts] + rng.normal(size=30)
        found = bootstrap_g(
            treated,
            baseline,
            treated_clusters=prompts,
            baseline_clusters=prompts,
            n_draws=400,
            seed=seed,
        )
        covered += found.low <= truth <= found.high
    assert covered / 300 > 0.88


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InvalidData, match="one group only"):
        bootstrap_g(np.ones(3), np.zeros(3), treated_clusters=np.arange(3))
    with pytest.raises(InvalidData, match="constant"):
        bootstrap_g(np.ones(3), np.zeros(3))
    with pytest.raises(InvalidData, match="finite"):
        dominance(np.array([np.nan, 1.0]), np.zeros(2))
    four = np.repeat(np.arange(4), 3)
    with pytest.raises(NotEnoughData, match="A bootstrap of clusters"):
        bootstrap_g(np.arange(12.0), np.zeros(12), treated_clusters=four, baseline_clusters=four)
    with pytest.raises(NotEnoughData):
        dominance(np.ones(1), np.zeros(4))
