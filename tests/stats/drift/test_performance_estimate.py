"""Quality without labels, against slow versions and worlds whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.drift.performance_estimate import estimate_accuracy, estimate_auroc
from glassbox.stats.intervals import wilson
from glassbox.stats.selective.ranking import auroc

PROBS = st.lists(st.integers(0, 20).map(lambda each: each / 20), min_size=4, max_size=25).map(
    np.array
)


@settings(max_examples=30)
@given(PROBS)
def test_the_expected_area_is_what_all_pairs_give(probs: np.ndarray) -> None:
    found = estimate_auroc(probs)
    wins = pairs = 0.0
    for i, one in enumerate(probs):
        for j, other in enumerate(probs):
            if i != j:
                weight = one * (1 - other)
                pairs += weight
                wins += weight * ((one > other) + 0.5 * (one == other))
    if pairs < 1:
        assert found is None
        return
    assert found is not None
    assert found.estimate == pytest.approx(wins / pairs, abs=1e-9)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_the_area_of_calibrated_probabilities_is_met() -> None:
    generator = np.random.default_rng(0)
    n_held = 0
    for seed in range(60):
        probs = generator.beta(2, 3, size=800)
        truth = generator.random(800) < probs
        found = estimate_auroc(probs, seed=seed, level=0.95)
        realised = auroc(probs, truth)
        assert found is not None
        assert realised is not None
        n_held += found.low <= realised <= found.high
    # Rows are given here, so the interval, which draws them too, holds a little too often.
    assert n_held >= 54


def test_expected_accuracy_is_the_mean_confidence_with_wilsons_interval() -> None:
    right = np.array([1.0] * 30 + [0.0] * 10)
    found = estimate_accuracy(right, level=0.9)
    low, high = wilson(30, 40, level=0.9)
    assert found.estimate == 0.75
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))


def test_a_ranking_of_its_own_decides_the_order() -> None:
    probs = np.array([0.9, 0.1, 0.8, 0.2])
    forwards, backwards = estimate_auroc(probs), estimate_auroc(probs, ranking=-probs)
    assert forwards is not None
    assert backwards is not None
    assert forwards.estimate == pytest.approx(1 - backwards.estimate)


def test_one_class_alone_has_no_area() -> None:
    assert estimate_auroc(np.zeros(50)) is None
    assert estimate_auroc(np.ones(50)) is None


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InvalidData, match=r"fractions in \[0, 1\]"):
        estimate_accuracy(np.array([0.5, 1.5]))
    with pytest.raises(NotEnoughData, match="confidence"):
        estimate_auroc(np.array([]))
