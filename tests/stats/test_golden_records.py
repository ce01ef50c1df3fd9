"""Figures of public predictions, computed once by an independent implementation."""

import numpy as np
import pytest

from glassbox.stats.calibration.error import (
    debiased_calibration_error,
    ece,
    ece_interval,
    mce,
    null_level,
)
from glassbox.stats.calibration.proper_scoring import brier_split, nll
from glassbox.stats.calibration.smooth_error import smooth_ece
from glassbox.stats.calibrators.choice import fit_calibrator
from glassbox.stats.intervals import bootstrap_interval
from glassbox.stats.selective.ranking import auroc, coverage_at_risk, risk_coverage_curve
from tests.stats.worlds import RECORDS, load_record, top_label

pytestmark = pytest.mark.data

BINNED = {
    "lenet-5-cifar-10": (0.5308, 0.107888, 0.107888, 0.185821),
    "wideresnet-16-4-cifar-10": (0.9109, 0.053716, 0.053716, 0.262389),
    "densenet-bc-100-cifar-100": (0.7541, 0.142153, 0.142153, 0.313162),
    "lenet-5-cifar-100": (0.1246, 0.014878, 0.014681, 0.306270),
    "wideresnet-16-4-cifar-100": (0.7543, 0.058060, 0.058028, 0.133597),
}
SMOOTH = dict(zip(RECORDS, (0.10789, 0.05372, 0.14215, 0.01560, 0.05628), strict=True))
NLL = dict(zip(RECORDS, (1.36987, 0.37817, 1.22563, 3.81307, 0.95645), strict=True))
SPLIT = {
    "lenet-5-cifar-10": (0.216598, 0.013917, 0.046371, 0.249051),
    "wideresnet-16-4-cifar-10": (0.066339, 0.009330, 0.024152, 0.081161),
    "densenet-bc-100-cifar-100": (0.160085, 0.035162, 0.060510, 0.185433),
    "lenet-5-cifar-100": (0.100684, 0.001001, 0.009392, 0.109075),
    "wideresnet-16-4-cifar-100": (0.130522, 0.005838, 0.060648, 0.185332),
}
RANKING = {
    "lenet-5-cifar-10": (0.742048, 0.271543, 0.138512, (0.0104, 0.0345, 0.0801, 0.1526)),
    "wideresnet-16-4-cifar-10": (0.914793, 0.012748, 0.008651, (0.7051, 0.8013, 0.9133, 1.0)),
    "densenet-bc-100-cifar-100": (0.863016, 0.070882, 0.037799, (0.2860, 0.3875, 0.5602, 0.6865)),
    "lenet-5-cifar-100": (0.701275, 0.782918, 0.166972, (0.0007, 0.0007, 0.0007, 0.0007)),
    "wideresnet-16-4-cifar-100": (0.862019, 0.072229, 0.039203, (0.2324, 0.3665, 0.5442, 0.6893)),
}
DEBIASED = {
    "lenet-5-cifar-10": 0.107827,
    "wideresnet-16-4-cifar-10": 0.053619,
    "densenet-bc-100-cifar-100": 0.142232,
    "lenet-5-cifar-100": 0.014315,
    "wideresnet-16-4-cifar-100": 0.056194,
}
BOOTSTRAP = {
    "lenet-5-cifar-10": (0.0994, 0.1167),
    "wideresnet-16-4-cifar-10": (0.0488, 0.0587),
    "densenet-bc-100-cifar-100": (0.1351, 0.1500),
    "lenet-5-cifar-100": (0.0116, 0.0224),
    "wideresnet-16-4-cifar-100": (0.0524, 0.0651),
}


@pytest.fixture(scope="module", params=RECORDS)
def record(request, data_dir):
    label_probs, labels = load_record(data_dir, request.param)
    return request.param, label_probs, labels, *top_label(label_probs, labels)


def test_binned_errors(record):
    name, _, _, confidence, correct = record
    accuracy, ece15, ece10, mce15 = BINNED[name]
    assert correct.mean() == pytest.approx(accuracy)
    assert ece(confidence, correct) == pytest.approx(ece15, abs=1e-6)
    assert ece(confidence, correct, n_bins=10) == pytest.approx(ece10, abs=1e-6)
    assert mce(confidence, correct).value == pytest.approx(mce15, abs=1e-6)


def test_smooth_error_conserves_mass(record):
    name, _, _, confidence, correct = record
    assert smooth_ece(confidence, correct) == pytest.approx(SMOOTH[name], abs=1e-5)


def test_debiased_errors(record):
    name, _, _, confidence, correct = record
    found = debiased_calibration_error(confidence, correct)
    assert found == pytest.approx(DEBIASED[name], abs=3e-4)


def test_proper_scores(record):
    name, label_probs, labels, confidence, correct = record
    assert nll(label_probs, labels) == pytest.approx(NLL[name], abs=1e-5)
    split = brier_split(confidence, correct)
    found = (split.brier, split.miscalibration, split.discrimination, split.uncertainty)
    assert found == pytest.approx(SPLIT[name], abs=1.5e-6)


def test_ranking(record):
    name, _, _, confidence, correct = record
    area, aurc, excess, coverages = RANKING[name]
    curve = risk_coverage_curve(confidence, correct)
    assert auroc(confidence, correct) == pytest.approx(area, abs=1e-6)
    # The published figures break ties by file order; ours average over the orders.
    assert curve.aurc == pytest.approx(aurc, abs=5e-5)
    assert curve.e_aurc == pytest.approx(excess, abs=5e-5)
    found = [coverage_at_risk(curve, risk) for risk in (0.01, 0.02, 0.05, 0.1)]
    assert found == pytest.approx(coverages, abs=1e-9)


def test_bootstrap_interval_and_null_level(record):
    name, _, _, confidence, correct = record
    published = bootstrap_interval(
        lambda rows: np.array([ece(confidence[each], correct[each]) for each in rows]),
        confidence.size,
    )
    assert (published.low, published.high) == pytest.approx(BOOTSTRAP[name], abs=8e-4)
    interval = ece_interval(confidence, correct)
    # The bootstrap lies too high where a part of the error is noise; else the two are one.
    assert -0.01 < interval.low - published.low < 0
    assert interval.high == pytest.approx(published.high, abs=1.5e-3)
    level = null_level(confidence, correct, n_draws=400)
    assert level.mean < level.quantile_95 <= level.quantile_99
    assert level.p_value == pytest.approx(1 / 401)


FITTED = {
    "lenet-5-cifar-10": (1.3736, 0.0224, 0.0286, 0.0341, 1.3905, 1.3260),
    "wideresnet-16-4-cifar-10": (2.0576, 0.0067, 0.0063, 0.0090, 0.3737, 0.2704),
    "densenet-bc-100-cifar-100": (2.1198, 0.0139, 0.0177, 0.0164, 1.2116, 0.8666),
    "wideresnet-16-4-cifar-100": (1.1099, 0.0436, 0.0120, 0.0146, 0.9439, 0.9347),
}


@pytest.mark.parametrize("name", FITTED)
def test_post_hoc_fits(data_dir, name):
    label_probs, labels = load_record(data_dir, name)
    temperature, ece_temperature, ece_platt, ece_isotonic, raw_nll, new_nll = FITTED[name]
    fitted = fit_calibrator("temperature", label_probs[:5000], labels[:5000])
    assert fitted.temperature == pytest.approx(temperature, abs=6e-5)
    mapped, held_out = fitted.apply(label_probs[5000:]), labels[5000:]
    assert nll(label_probs[5000:], held_out) == pytest.approx(raw_nll, abs=6e-5)
    assert nll(mapped, held_out) == pytest.approx(new_nll, abs=6e-5)
    assert ece(*top_label(mapped, held_out)) == pytest.approx(ece_temperature, abs=2.5e-4)

    # The published Platt and isotonic figures calibrate the top label alone.
    confidence, correct = top_label(label_probs, labels)
    pair = np.stack([1 - confidence, confidence], axis=1)
    for kind, expected in (("platt", ece_platt), ("isotonic", ece_isotonic)):
        single = fit_calibrator(kind, pair[:5000], correct[:5000].astype(int))
        found = single.apply(pair[5000:])[:, 1]
        assert ece(found, correct[5000:]) == pytest.approx(expected, abs=3e-4)
        if kind == "isotonic":
            assert np.unique(found).size < 100
