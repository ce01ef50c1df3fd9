import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from glassbox.stats.calibration.binning import reliability_curve


def test_bins_equal_sklearn():
    prob = np.array([0.1, 0.2, 0.3, 0.4, 0.65, 0.7, 0.8, 0.9, 1.0])
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    curve = reliability_curve(prob, truth > 0, n_bins=3)
    accuracy, confidence = calibration_curve(truth, prob, n_bins=3)
    assert curve.accuracy == pytest.approx(accuracy)
    assert curve.mean_confidence == pytest.approx(confidence)
