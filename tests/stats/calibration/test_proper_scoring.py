import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import brier_score_loss, log_loss

from glassbox.stats.calibration.proper_scoring import brier, brier_split, nll, top_label_brier
from tests.stats.worlds import classified, outcomes


@given(outcomes())
def test_the_brier_split_adds_up(rows):
    split = brier_split(*rows)
    total = split.miscalibration - split.discrimination + split.uncertainty
    assert total == pytest.approx(split.brier, abs=1e-9)
    assert split.miscalibration + split.refinement == pytest.approx(split.brier, abs=1e-9)
    assert split.brier == pytest.approx(top_label_brier(*rows))
    assert 0 <= split.uncertainty <= 0.25


def test_proper_scores_equal_sklearn():
    label_probs, labels = classified(300, 3, 1, 2.0)
    assert nll(label_probs, labels) == pytest.approx(log_loss(labels, label_probs))
    expected = brier_score_loss(labels, label_probs, scale_by_half=False)
    assert brier(label_probs, labels) == pytest.approx(expected)
    impossible = nll(np.array([[1.0, 0.0]]), np.array([1]))
    assert impossible == pytest.approx(87.34, abs=0.01)
