"""The fit against scikit-learn, and what balancing strata does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.classification.balanced_logistic import Balance, fit_balanced_logistic


def world(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)) * [1.0, 5.0, 0.2] + [0.0, 3.0, -1.0]
    logits = features[:, 0] - 0.2 * features[:, 1]
    return features, rng.random(n) < 1 / (1 + np.exp(-logits))


@given(seed=st.integers(0, 1000), l2=st.sampled_from([1e-3, 1e-2, 0.1, 1.0]))
def test_without_balance_it_is_scikit_learns_logistic_regression(seed: int, l2: float) -> None:
    features, correct = world(seed)
    fit = fit_balanced_logistic(features, correct, l2=l2)
    standard = (features - features.mean(0)) / features.std(0)
    if np.abs(standard).max() > 6:
        return
    oracle = LogisticRegression(C=1 / (l2 * len(correct)), tol=1e-8, max_iter=1000)
    oracle.fit(standard, correct)
    np.testing.assert_allclose(fit.weight, oracle.coef_[0], atol=2e-3)
    np.testing.assert_allclose(fit.bias, oracle.intercept_[0], atol=2e-3)
    np.testing.assert_allclose(fit.logits(features), oracle.decision_function(standard), atol=1e-2)


def test_balance_brings_each_stratum_nearer_to_its_own_rate() -> None:
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 1000)
    # One feature that tells the strata apart only faintly.
    features = rng.normal(size=(2000, 1)) + 1.5 * strata[:, None]
    correct = rng.random(2000) < np.where(strata == 0, 0.2, 0.8)

    def gaps(balance: Balance | None) -> list[float]:
        fit = fit_balanced_logistic(features, correct, l2=1e-4, strata=strata, balance=balance)
        probs = 1 / (1 + np.exp(-fit.logits(features)))
        return [abs(float((probs - correct)[strata == each].mean())) for each in (0, 1)]

    assert min(gaps(None)) > 0.1
    assert max(gaps(Balance(pull=1000, slack=0.02))) < 0.05


def test_rows_of_no_stratum_are_not_balanced() -> None:
    features, correct = world(1)
    none = np.full(len(correct), -1)
    plain = fit_balanced_logistic(features, correct, l2=0.01)
    same = fit_balanced_logistic(features, correct, l2=0.01, strata=none, balance=Balance())
    np.testing.assert_array_equal(plain.weight, same.weight)


def test_a_constant_feature_gets_no_weight() -> None:
    features, correct = world(2)
    features[:, 2] = 7.0
    assert fit_balanced_logistic(features, correct, l2=0.01).weight[2] == 0


def test_terms_and_bias_add_up_to_the_logits() -> None:
    features, correct = world(3)
    fit = fit_balanced_logistic(features, correct, l2=0.01)
    np.testing.assert_allclose(fit.terms(features).sum(1) + fit.bias, fit.logits(features))


def test_bad_rows_are_refused() -> None:
    features, correct = world(4)
    with pytest.raises(NotEnoughData, match="rows of the rarer kind"):
        fit_balanced_logistic(features, np.ones(len(correct), dtype=bool), l2=0.01)
    features[0, 0] = np.nan
    with pytest.raises(InvalidData, match="NaN"):
        fit_balanced_logistic(features, correct, l2=0.01)
