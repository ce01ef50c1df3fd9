"""Experiments: against other libraries, and against simulation."""

import numpy as np
import pytest
from scipy import stats

from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.stats.sequential.differences import difference_p_values
from glassbox.stats.sequential.experiments import (
    Sample,
    compare_means,
    compare_rates,
    compare_sequentially,
    rows_for_sequential,
    rows_per_arm_for_means,
    rows_per_arm_for_rates,
    sample_ratio_p_value,
)
from glassbox.stats.sequential.means import BoundedMean


def arm(values):
    tally = BoundedMean()
    tally.extend(np.asarray(values, dtype=float))
    return tally


def test_means_agree_with_scipys_welch_test():
    rng = np.random.default_rng(0)
    old, new = rng.random(80), 0.8 * rng.random(120) + 0.1
    found = compare_means(Sample.of(arm(old)), Sample.of(arm(new)))
    oracle = stats.ttest_ind(new, old, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


def test_rates_agree_with_the_pooled_test_and_newcombes_example():
    # Newcombe 1998, table II, row (a): 56/70 less 48/80.
    found = compare_rates(Sample(80, 48 / 80, 0.24), Sample(70, 56 / 70, 0.16))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    table = [[56, 14], [48, 32]]
    oracle = stats.chi2_contingency(table, correction=False)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.is_clear


def test_a_planned_experiment_has_the_power_that_was_planned():
    n = rows_per_arm_for_rates(0.1, 0.05, power=0.8)
    rng = np.random.default_rng(1)
    found = [
        compare_rates(
            Sample(n, rng.binomial(n, 0.1) / n, 0.0), Sample(n, rng.binomial(n, 0.15) / n, 0.0)
        ).p_value
        < 0.05
        for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_sample_sizes_are_the_textbooks():
    # Fleiss, Levin & Paik 2003: 2 (1.96 + 0.8416)² (1 / 0.5)² = 62.8.
    assert rows_per_arm_for_means(1.0, 0.5) == 63
    assert rows_per_arm_for_rates(0.25, 0.15) == 152


def test_a_sequential_analysis_may_be_looked_at_always():
    rng = np.random.default_rng(2)
    n_alarms = 0
    for _ in range(60):
        old, new = BoundedMean(), BoundedMean()
        for _ in range(12):
            for tally in (old, new):
                n_events = int(rng.binomial(100, 0.2))
                tally.add_many(1.0, n_events)
                tally.add_many(0.0, 100 - n_events)
            if 2 * min(difference_p_values(new, old)) <= 0.05:
                n_alarms += 1
                break
    assert n_alarms <= 5


def test_a_sequential_analysis_finds_what_is_there():
    old, new = BoundedMean(), BoundedMean()
    old.add_many(0.0, 1800)
    old.add_many(1.0, 200)
    new.add_many(0.0, 1600)
    new.add_many(1.0, 400)
    found = compare_sequentially(old, new)
    assert found.is_clear
    assert found.low < 0.1 < found.high
    assert found.p_value < 0.001


def test_interval_and_p_value_of_a_sequential_analysis_agree():
    rng = np.random.default_rng(4)
    for rate in (0.2, 0.25, 0.3, 0.35):
        old, new = arm(rng.random(700) < 0.2), arm(rng.random(700) < rate)
        found = compare_sequentially(old, new)
        assert found.is_clear == (found.p_value < 0.05)


def test_the_rows_of_a_sequential_analysis_are_more_than_those_planned():
    median, most = rows_for_sequential(0.1, 0.1, n_runs=40)
    fixed = rows_per_arm_for_rates(0.1, 0.1)
    assert fixed * 0.8 <= median <= most <= 16 * fixed


def test_what_cannot_be_compared_is_said():
    with pytest.raises(NotEnoughData, match="An arm"):
        compare_sequentially(BoundedMean(), arm([1.0]))
    with pytest.raises(NotEnoughData, match="comparison of means"):
        compare_means(Sample(1, 0.0, 0.0), Sample(5, 0.0, 0.0))
    with pytest.raises(InvalidValue, match="change"):
        rows_per_arm_for_rates(0.5, 0.5)
    with pytest.raises(InvalidValue, match="deviation"):
        rows_per_arm_for_means(0.0, 1.0)


def test_the_sample_ratio_is_pearsons_test_and_holds_its_level():
    for rows, shares in (((821_588, 815_482), (1, 1)), ((90, 20, 30), (0.6, 0.2, 0.2))):
        expected = sum(rows) * np.array(shares) / sum(shares)
        oracle = stats.chisquare(rows, expected)
        assert sample_ratio_p_value(rows, shares) == pytest.approx(oracle.pvalue, rel=1e-9)
    rng = np.random.default_rng(2)
    splits = rng.multinomial(5000, (0.9, 0.1), size=4000).tolist()
    found = np.array([sample_ratio_p_value(each, (0.9, 0.1)) for each in splits])
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(found < 0.001) < 0.005


def test_a_split_without_rows_or_with_odd_shares_is_refused():
    with pytest.raises(NotEnoughData, match="check of the split"):
        sample_ratio_p_value([0, 0], [1, 1])
    for shares in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(InvalidValue, match="2 numbers above 0"):
            sample_ratio_p_value([5, 5], shares)
