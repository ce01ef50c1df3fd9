"""AUROC of any readings against scikit-learn, and intervals that draw groups whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.classification.grouped_auroc import grouped_separation, value_auroc


@given(st.integers(0, 10_000))
def test_it_is_scikit_learns_auroc_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, size=40).astype(float)
    correct = np.r_[True, False, rng.random(38) < 0.5]
    assert value_auroc(values, correct) == pytest.approx(roc_auc_score(correct, values))


def test_repeating_every_row_of_a_group_narrows_nothing() -> None:
    rng = np.random.default_rng(0)
    correct = rng.random(60) < 0.5
    values = correct + rng.normal(size=60)
    once = grouped_separation({"a": values}, correct, np.arange(60), reference="a")["a"].auroc
    many = grouped_separation(
        {"a": np.tile(values, 5)}, np.tile(correct, 5), np.tile(np.arange(60), 5), reference="a"
    )["a"].auroc
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.15)


def test_the_difference_to_itself_is_nothing_and_a_worse_reading_is_behind() -> None:
    rng = np.random.default_rng(1)
    correct = rng.random(300) < 0.5
    good = correct + 0.5 * rng.normal(size=300)
    found = grouped_separation(
        {"good": good, "noise": rng.normal(size=300)}, correct, np.arange(300), reference="good"
    )
    assert found["good"].behind.low == found["good"].behind.high == 0
    assert found["noise"].behind.low > 0.2
    assert found["noise"].auroc.low < 0.5 < found["noise"].auroc.high


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="AUROC"):
        value_auroc(np.array([1.0, 2.0]), np.array([True, True]))
    with pytest.raises(InvalidData, match="NaN"):
        value_auroc(np.array([1.0, np.nan]), np.array([True, False]))
