"""The JSON of an evaluation's charts, computed by the package on made-up answers."""

import numpy as np

from glassbox.charts.business import BusinessPanel
from glassbox.charts.chart import plain
from glassbox.charts.confusion import LabelConfusion
from glassbox.charts.histograms import HistogramPanel
from glassbox.charts.registry import chart_info
from glassbox.charts.reliability import ReliabilityPanel
from glassbox.charts.selective import RiskCoverageSeries
from glassbox.charts.training import TrainingCurve
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.calibration.corp import corp_curve
from glassbox.stats.calibration.error import ece_interval, null_level
from glassbox.stats.intervals import proportion_interval
from glassbox.stats.selective.business import business_curve
from glassbox.stats.selective.ranking import risk_coverage_curve
from glassbox.stats.selective.threshold import choose_threshold

N_ROWS = 400


def charts():
    """Return chart name to file content, as a version's calibration answers them."""
    random = np.random.default_rng(5)
    truth = 0.5 + 0.5 * random.beta(2, 1.2, size=N_ROWS)
    correct = random.random(N_ROWS) < truth
    raw = np.clip(0.5 + 0.5 * (2 * truth - 1) ** 0.45, 0.5, 0.999)
    values = {
        "reliability_raw_model_output": {"panel": _panel("Base, raw output", "base", raw, correct)},
        "reliability_platt_scaling": {"panel": _panel("Tuned, Platt", "tuned", truth, correct)},
        "finetuning_raw_reliability_comparison": {
            "base": _panel("Base, raw output", "base", raw, correct),
            "tuned": _panel("Tuned, raw output", "tuned", truth, correct),
        },
        "raw_confidence_histogram": {
            "panel": HistogramPanel(
                "Base, raw output",
                "base",
                "test part",
                reliability_curve(raw, correct, n_bins=20),
                float(correct.mean()),
                float(raw.mean()),
            )
        },
        "risk_coverage": {
            "series": [
                RiskCoverageSeries("Base", "base", "test part", risk_coverage_curve(raw, correct)),
                RiskCoverageSeries(
                    "Tuned", "tuned", "test part", risk_coverage_curve(truth, correct)
                ),
            ]
        },
        "business_reliability": {
            "panel": BusinessPanel(
                "Tuned, Platt",
                "tuned",
                "test part",
                business_curve(truth, correct),
                choose_threshold(truth, correct, max_error=0.15),
                "threshold part",
            )
        },
        "label_confusion": LabelConfusion(
            "Tuned, Platt", "tuned", "test part", ("negative", "positive"), _counts(correct)
        ),
        "training_curve": TrainingCurve(
            (100, 200, 300, 400),
            (0.5, 1.0, 1.5, 2.0),
            (0.69, 0.5, 0.41, 0.36),
            (0.66, 0.52, 0.47, 0.48),
            300,
            1200,
            200,
        ),
    }
    return {name: _file(name, value) for name, value in values.items()}


def _panel(title, role, confidence, correct):
    return ReliabilityPanel(
        title=title,
        role=role,
        part="test part",
        curve=reliability_curve(confidence, correct),
        accuracy=proportion_interval(correct),
        mean_confidence=float(confidence.mean()),
        ece=ece_interval(confidence, correct, n_draws=100),
        null=null_level(confidence, correct, n_draws=100),
        band=binned_band(confidence, n_draws=100),
        corp=corp_curve(confidence, correct),
    )


def _counts(correct):
    right = int(correct.sum())
    wrong = len(correct) - right
    return np.array([[right // 2, wrong // 2], [wrong - wrong // 2, right - right // 2]])


def _file(name, values):
    info = chart_info(name)
    return {
        "schema_version": 1,
        "chart": name,
        "title": info.title,
        "summary": info.alt,
        "reading": info.reading,
        "values": plain(values),
    }
