"""ROC, rates at few false alarms and thresholds, against scikit-learn and by their laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.stats.classification.detection import (
    auroc_gain,
    detection_auroc,
    negatives_needed,
    one_of_each,
    roc_curve,
    threshold_for_fpr,
    tpr_at_fpr,
)

VALUES = arrays(np.float64, 40, elements=st.integers(-5, 5).map(float))
KINDS = arrays(np.bool_, 40).filter(lambda kinds: 3 <= kinds.sum() <= 37)


@given(VALUES, KINDS)
def test_the_area_is_that_of_scikit_learn_with_ties(values, kinds):
    assert detection_auroc(values, kinds, n_draws=20).estimate == pytest.approx(
        roc_auc_score(kinds, values)
    )


@given(VALUES, KINDS)
def test_the_curve_is_that_of_scikit_learn(values, kinds):
    curve = roc_curve(values, kinds)
    fpr, tpr, thresholds = sklearn_roc(kinds, values, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr[1:])
    np.testing.assert_allclose(curve.true_positive_rate, tpr[1:])
    np.testing.assert_allclose(curve.threshold, thresholds[1:])


@given(VALUES, KINDS, st.sampled_from([0.01, 0.1, 0.3]))
def test_the_rate_at_few_false_alarms_is_the_best_point_of_the_curve(values, kinds, max_fpr):
    curve = roc_curve(values, kinds)
    allowed = curve.false_positive_rate <= max_fpr + 1e-9
    best = curve.true_positive_rate[allowed].max(initial=0.0)
    assert tpr_at_fpr(values, kinds, max_fpr=max_fpr, n_draws=20).estimate == pytest.approx(best)


@given(VALUES, KINDS)
def test_a_reading_gains_nothing_on_itself_and_the_opposite_of_its_opposite(values, kinds):
    same = auroc_gain(values, values, kinds, n_draws=20)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    there = auroc_gain(values, -values, kinds, n_draws=20)
    back = auroc_gain(-values, values, kinds, n_draws=20)
    assert there.estimate == pytest.approx(-back.estimate)


def test_copies_of_rows_in_one_group_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    values, kinds = rng.normal(size=60), rng.random(60) < 0.5
    single = detection_auroc(values, kinds, np.arange(60))
    copied = detection_auroc(np.tile(values, 4), np.tile(kinds, 4), np.tile(np.arange(60), 4))
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    naive = detection_auroc(np.tile(values, 4), np.tile(kinds, 4))
    assert naive.high - naive.low < 0.7 * (single.high - single.low)


def test_kinds_without_overlap_leave_room_for_doubt():
    values, kinds = np.arange(10.0), np.arange(10) >= 5
    found = detection_auroc(values, kinds)
    # Five of five: Wilson's lower end is 5 / (5 + 1.96²).
    assert (found.estimate, found.low, found.high) == (1.0, pytest.approx(0.5655, abs=1e-4), 1.0)
    turned = detection_auroc(-values, kinds)
    assert (turned.low, turned.high) == (0.0, pytest.approx(1 - found.low))
    copied = detection_auroc(np.tile(values, 9), np.tile(kinds, 9), np.tile(np.arange(10), 9))
    assert copied == found
    assert tpr_at_fpr(values, kinds).low == found.low


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    # Two unit normals one apart: AUROC is Phi(1 / sqrt 2) = 0.7602.
    n_inside = 0
    for seed in range(150):
        kinds = np.arange(80) < 40
        found = detection_auroc(rng.normal(size=80) + kinds, kinds, n_draws=200, seed=seed)
        n_inside += found.low <= 0.7602 <= found.high
    assert 0.88 <= n_inside / 150 <= 0.99


def test_the_threshold_keeps_its_false_alarms_on_new_rows():
    rng = np.random.default_rng(2)
    rates = []
    for _ in range(400):
        limit = threshold_for_fpr(rng.normal(size=199), 0.05)
        assert limit is not None
        rates.append(float((rng.normal(size=500) >= limit).mean()))
    assert np.mean(rates) == pytest.approx(0.05, abs=0.005)


def test_the_threshold_keeps_its_false_alarms_on_rows_of_new_groups():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 5)
    rates = []
    naive = []
    for seed in range(800):
        own = np.sqrt(0.9) * rng.normal(size=20)
        values = own[groups] + np.sqrt(0.1) * rng.normal(size=100)
        one = threshold_for_fpr(values[one_of_each(groups, seed=seed)], 0.05)
        every = threshold_for_fpr(values, 0.05)
        assert one is not None
        assert every is not None
        rates.append(float(stats.norm.sf(one)))
        naive.append(float(stats.norm.sf(every)))
    assert np.mean(rates) <= 0.052
    assert np.mean(naive) > 0.058


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(0, 5))
def test_one_row_of_each_group_is_drawn(names, seed):
    groups = np.array(names)
    chosen = one_of_each(groups, seed=seed)
    assert sorted(groups[chosen]) == sorted(set(names))
    assert (np.diff(chosen) > 0).all()


def test_every_row_of_a_group_is_drawn_as_often():
    groups = np.repeat([0, 1], [4, 1])
    drawn = np.bincount([one_of_each(groups, seed=seed)[0] for seed in range(800)], minlength=4)
    assert drawn.sum() == 800
    assert drawn.min() > 150


def test_too_few_negative_rows_give_no_threshold():
    needed = negatives_needed(0.01)
    assert needed == 99
    values = np.arange(needed, dtype=float)
    assert threshold_for_fpr(values[1:], 0.01) is None
    limit = threshold_for_fpr(values, 0.01)
    assert limit is not None
    assert not (values >= limit).any()


@pytest.mark.parametrize("call", [roc_curve, detection_auroc, tpr_at_fpr])
def test_one_kind_of_row_is_not_enough(call):
    with pytest.raises(NotEnoughData, match="negative rows"):
        call(np.arange(3.0), np.ones(3, dtype=bool))


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(InvalidData, match="finite"):
        roc_curve(np.array([0.0, np.nan]), np.array([True, False]))
    with pytest.raises(InvalidValue, match="max_fpr"):
        tpr_at_fpr(np.arange(2.0), np.array([True, False]), max_fpr=0.0)
