"""Linear rules against scikit-learn, their folds, and the correction for choosing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.stats.classification.linear_probe import (
    difference_in_means,
    grouped_folds,
    logistic_path,
    out_of_fold,
    selection_bias,
)


def world(seed: int, n: int = 80, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)) * rng.uniform(0.1, 30, size=d) + rng.normal(size=d) * 50
    logit = (features - features.mean(0)) / features.std(0) @ rng.normal(size=d)
    return features, rng.random(n) < 1 / (1 + np.exp(-logit))


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 30.0, 1e3]))
def test_logistic_regression_is_that_of_scikit_learn(seed, penalty):
    features, kinds = world(seed)
    scaler = StandardScaler().fit(features)
    oracle = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000)
    oracle.fit(scaler.transform(features), kinds)
    rule = logistic_path(features, kinds, (penalty,))[0]
    np.testing.assert_allclose(rule.weight, oracle.coef_[0], atol=2e-5)
    assert rule.bias == pytest.approx(oracle.intercept_[0], abs=2e-5)
    np.testing.assert_allclose(
        rule.logits(features), oracle.decision_function(scaler.transform(features)), atol=2e-4
    )


def test_more_features_than_rows_are_no_trouble():
    features, kinds = world(3, n=30, d=200)
    path = logistic_path(features, kinds)
    norms = [float(np.linalg.norm(rule.weight)) for rule in path]
    assert norms == sorted(norms), "a weaker penalty allows larger weights"


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-100, 100))
def test_readings_do_not_depend_on_the_scale_of_the_features(seed, scale, shift):
    features, kinds = world(seed, n=40)
    for fit in (difference_in_means, lambda x, y: logistic_path(x, y, (100.0,))[0]):
        one = fit(features, kinds).logits(features)
        two_features = scale * features + shift
        two = fit(two_features, kinds).logits(two_features)
        np.testing.assert_allclose(two, one, atol=1e-3)


def test_the_difference_in_means_points_from_one_mean_to_the_other():
    rng = np.random.default_rng(0)
    kinds = np.arange(400) % 2 == 0
    features = rng.normal(size=(400, 3))
    features[kinds, 1] += 3
    rule = difference_in_means(features, kinds)
    assert abs(rule.weight[1]) > 5 * max(abs(rule.weight[0]), abs(rule.weight[2]))
    readings = rule.logits(features)
    assert readings[kinds].mean() > 0 > readings[~kinds].mean()


def test_a_constant_feature_has_no_say():
    features, kinds = world(1)
    features[:, 2] = 7
    rule = logistic_path(features, kinds, (1.0,))[0]
    assert rule.weight[2] == pytest.approx(0, abs=1e-9)
    moved = features.copy()
    moved[:, 2] += 1e-6
    np.testing.assert_allclose(rule.logits(moved), rule.logits(features), atol=1e-9)


@given(st.lists(st.integers(0, 12), min_size=60, max_size=60), st.integers(0, 5))
def test_folds_keep_groups_whole(numbers, seed):
    groups = [f"g{number}" for number in numbers]
    kinds = np.arange(60) % 3 == 0
    try:
        fold = grouped_folds(groups, kinds, n_folds=3, seed=seed)
    except NotEnoughData:
        return
    for group in set(groups):
        assert len({int(fold[i]) for i, each in enumerate(groups) if each == group}) == 1
    for each in range(3):
        assert 0 < kinds[fold == each].sum() < (fold == each).sum()


def test_folds_spread_the_rare_kind_evenly():
    kinds = np.arange(200) < 20
    fold = grouped_folds([f"row {i}" for i in range(200)], kinds, n_folds=5, seed=0)
    assert [int(kinds[fold == each].sum()) for each in range(5)] == [4] * 5
    assert np.bincount(fold).tolist() == [40] * 5


def test_a_row_is_judged_by_rules_that_did_not_see_its_fold():
    features, kinds = world(5)
    fold = grouped_folds([str(i) for i in range(80)], kinds, n_folds=4, seed=0)
    logits = out_of_fold(features, kinds, fold, (10.0, 1.0))
    assert logits.shape == (3, 80)
    spoiled = kinds.copy()
    spoiled[fold == 2] = ~spoiled[fold == 2]
    again = out_of_fold(features, spoiled, fold, (10.0, 1.0))
    np.testing.assert_allclose(again[:, fold == 2], logits[:, fold == 2])


def test_the_correction_undoes_most_of_what_choosing_among_noise_adds():
    rng = np.random.default_rng(0)
    flattery, corrections = [], []
    for _ in range(200):
        figures = 0.5 + 0.06 * rng.normal(size=(60, 5))
        flattery.append(figures.mean(axis=1).max() - 0.5)
        corrections.append(selection_bias(figures))
    assert np.mean(flattery) > 0.05
    # Known to be conservative with few folds: it takes off at least what was added.
    assert np.mean(corrections) >= np.mean(flattery)
    assert selection_bias(np.array([[0.7, 0.8], [0.5, 0.6]])) == 0


def test_what_cannot_be_fitted_is_refused():
    features, kinds = world(0)
    with pytest.raises(InvalidValue, match="penalties"):
        logistic_path(features, kinds, (0.0,))
    with pytest.raises(NotEnoughData, match="negative rows"):
        logistic_path(features, np.ones(80, dtype=bool))
    with pytest.raises(InvalidData, match="NaN"):
        difference_in_means(np.full((2, 2), np.nan), np.array([True, False]))
    with pytest.raises(NotEnoughData, match="5 folds"):
        grouped_folds(["one"] * 80, kinds, n_folds=5, seed=0)
