"""The same figures from other libraries, on data where those are known to be right."""

import warnings

import numpy as np
import pytest

from glassbox.stats.calibration.error import ece, mce, spiegelhalter
from glassbox.stats.calibration.smooth_error import smooth_ece
from tests.stats.worlds import calibrated, classified


@pytest.fixture
def world():
    label_probs, labels = classified(3000, 5, 11, 1.6)
    return label_probs, labels, label_probs.max(axis=1), label_probs.argmax(axis=1) == labels


def _import(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def test_netcal(world):
    metrics = _import("netcal.metrics")
    label_probs, labels, confidence, correct = world
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected_ece = metrics.ECE(15).measure(label_probs, labels)
        expected_mce = metrics.MCE(15).measure(label_probs, labels)
    assert ece(confidence, correct) == pytest.approx(expected_ece, abs=1e-6)
    assert mce(confidence, correct).value == pytest.approx(expected_mce, abs=1e-6)


def test_mapie(world):
    calibration = _import("mapie.metrics.calibration")
    _, _, confidence, correct = world
    # Its uniform bins are one fewer than asked for.
    found = calibration.expected_calibration_error(
        correct.astype(int), confidence, num_bins=16, split_strategy="uniform"
    )
    assert ece(confidence, correct) == pytest.approx(found, abs=1e-6)
    one_sided = calibration.spiegelhalter_p_value(correct.astype(int), confidence)
    two_sided = 2 * min(one_sided, 1 - one_sided)
    assert spiegelhalter(confidence, correct).p_value == pytest.approx(two_sided, abs=1e-6)


def test_relplot_on_unsaturated_confidences():
    relplot = _import("relplot")
    confidence, correct = calibrated(3000, 4, 4, 2)
    shifted = 0.1 + 0.75 * confidence
    expected = relplot.smECE(shifted, correct.astype(float))
    assert smooth_ece(shifted, correct) == pytest.approx(expected, abs=1e-3)
    assert np.isfinite(expected)
