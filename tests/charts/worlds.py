"""Seeded values as ``stats`` makes them, small enough to draw many times."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Literal, get_args

import numpy as np

from glassbox.charts.business import (
    BusinessPanel,
    business_reliability,
    business_reliability_progression,
)
from glassbox.charts.capacity import (
    FleetHours,
    ScalingDay,
    SimulationError,
    fleet_day,
    fleet_spike,
    simulation_check,
)
from glassbox.charts.chart import Chart
from glassbox.charts.comparison import (
    Bar,
    Bars,
    accuracy_comparison,
    calibration_error_comparison,
)
from glassbox.charts.confusion import LabelConfusion, label_confusion
from glassbox.charts.histograms import (
    HistogramPanel,
    confidence_distribution_changes,
    raw_confidence_histogram,
)
from glassbox.charts.probes import (
    LayerMap,
    ProbabilityPanel,
    RocPanel,
    probe_layers,
    probe_reliability,
    probe_roc,
)
from glassbox.charts.reliability import (
    PairName,
    ReliabilityPanel,
    SingleName,
    reliability,
    reliability_comparison,
)
from glassbox.charts.selective import (
    RiskCoverageSeries,
    SampleSizes,
    risk_coverage,
    sample_size_thresholds,
)
from glassbox.charts.training import TrainingCurve, training_curve
from glassbox.charts.truth import TruthPanel, truth_versus_confidence
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.calibration.corp import corp_curve
from glassbox.stats.calibration.error import ece_interval, null_level
from glassbox.stats.classification.detection import detection_auroc, roc_curve, tpr_at_fpr
from glassbox.stats.intervals import Interval, proportion_interval
from glassbox.stats.selective.business import business_curve, business_figures
from glassbox.stats.selective.ranking import coverage_at_risk, risk_coverage_curve
from glassbox.stats.selective.threshold import choose_threshold, rows_for_power, rows_needed

N = 400


def outcomes(exponent: float, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences in [0.5, 1] and outcomes; above 1 they are over-confident."""
    random = np.random.default_rng(7)
    confidence = 0.5 + 0.5 * random.beta(3, 1, size=n)
    correct = random.random(n) < 0.5 + 0.5 * (2 * confidence - 1) ** exponent
    return confidence, correct


def panel(
    confidence: np.ndarray,
    correct: np.ndarray,
    title: str = "Base model, raw output",
    role: Literal["base", "tuned"] = "base",
    **binning: object,
) -> ReliabilityPanel:
    return ReliabilityPanel(
        title,
        role,
        "test part",
        reliability_curve(confidence, correct, **binning),
        proportion_interval(correct),
        float(confidence.mean()),
        ece_interval(confidence, correct, n_draws=50),
        null_level(confidence, correct, n_draws=50),
        binned_band(confidence, n_draws=50, **binning),
        corp_curve(confidence, correct),
        {"NLL, nats": 0.378},
    )


BASE, TUNED = outcomes(3.0), outcomes(1.0)


@cache
def panels() -> tuple[ReliabilityPanel, ReliabilityPanel]:
    return panel(*BASE), panel(*TUNED, "Tuned model, raw output", "tuned")


def histogram(value: ReliabilityPanel) -> HistogramPanel:
    return HistogramPanel(
        value.title,
        value.role,
        value.part,
        value.curve,
        value.accuracy.estimate,
        value.mean_confidence,
    )


def business(outcome: tuple[np.ndarray, np.ndarray], max_error: float = 0.3) -> BusinessPanel:
    threshold = choose_threshold(*outcome, max_error=max_error)
    share = None
    if threshold.value is not None:
        share = business_figures(*outcome, threshold.value).share_automated
    return BusinessPanel(
        "Tuned model, Platt scaling",
        "tuned",
        "test part",
        business_curve(*outcome),
        threshold,
        "threshold part",
        share,
    )


def bars() -> Bars:
    level = null_level(*TUNED, n_draws=50)
    return Bars(
        (
            Bar("TF-IDF", "Bag of words", "baseline", Interval(0.4, 0.35, 0.45, 0.95)),
            Bar("Raw", "Base model", "base", Interval(0.1, 0.08, 0.13, 0.95), level),
            Bar("Raw", "Tuned model", "tuned", Interval(0.05, 0.03, 0.08, 0.95), level),
        ),
        "test part",
        N,
        0.5,
    )


def sample_sizes() -> SampleSizes:
    allowed = (0.02, 0.05, 0.1)
    return SampleSizes(
        allowed,
        0.9,
        (0, 2),
        np.array([[rows_needed(each, 0.9, n) for each in allowed] for n in (0, 2)]),
        (0.25, 0.5),
        np.array([[rows_for_power(each, 0.9, s * each) for each in allowed] for s in (0.25, 0.5)]),
        0.8,
        120,
        0.05,
    )


def truth() -> TruthPanel:
    confidence, _ = TUNED
    known = np.clip(confidence - 0.05, 0, 1)
    curve = reliability_curve(confidence, known > 0.5)
    return TruthPanel(
        "Tuned model",
        "tuned",
        "test part",
        confidence,
        known,
        curve.mean_confidence,
        curve.mean_confidence - 0.05,
        curve.counts,
        0.05,
    )


def series() -> RiskCoverageSeries:
    curve = risk_coverage_curve(*TUNED)
    kept = ((0.1, coverage_at_risk(curve, 0.1)),)
    return RiskCoverageSeries("Tuned model", "tuned", "test part", curve, kept)


CONFUSION = LabelConfusion(
    "Tuned", "tuned", "test part", ("positive", "negative"), np.array([[180, 20], [31, 169]])
)
LOSSES = TrainingCurve((5, 10), (0.5, 1.0), (0.6, 0.4), (0.62, 0.5), 10, 320, 40)


def layer_map(n_layers: int = 12) -> LayerMap:
    """Return areas that rise towards the middle layers."""
    rows = ("last, logistic", "mean, logistic", "last, difference-in-means")
    depth = np.linspace(0, np.pi, n_layers)
    auroc = 0.45 + 0.4 * np.outer([1, 0.7, 0.9], np.sin(depth))
    best = (0, int(auroc[0].argmax()))
    part = "5 folds of the training part"
    return LayerMap("tiny", part, 500, tuple(range(n_layers)), rows, auroc, best, 216, 0.81)


def detection() -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds and targets."""
    random = np.random.default_rng(3)
    logits = random.normal(size=N) * 1.5
    return logits, random.random(N) < 1 / (1 + np.exp(-logits))


def roc_panel() -> RocPanel:
    """Return the curves of a probe and of two trivial readings."""
    logits, found = detection()
    random = np.random.default_rng(4)
    trivial = {
        "mean entropy": logits + random.normal(size=N) * 2, "tokens": random.normal(size=N),
    }  # fmt: skip
    return RocPanel(
        "test part",
        roc_curve(logits, found),
        detection_auroc(logits, found, n_draws=100),
        tpr_at_fpr(logits, found, n_draws=100),
        {
            name: (roc_curve(each, found), detection_auroc(each, found, n_draws=100))
            for name, each in trivial.items()
        },
    )


def probability_panel() -> ProbabilityPanel:
    """Return calibrated probabilities in bins."""
    logits, found = detection()
    probs = 1 / (1 + np.exp(-logits))
    return ProbabilityPanel(
        "test part",
        "label = 1",
        reliability_curve(probs, found, n_bins=10),
        binned_band(probs, n_bins=10),
        ece_interval(probs, found),
        null_level(probs, found),
    )


def fleet_hours() -> FleetHours:
    """A day whose afternoon is busy."""
    waves = [1 + 0.5 * math.cos(2 * math.pi * (hour - 15) / 24) for hour in range(24)]
    return FleetHours(
        n_instances=12,
        n_requests=4_320_000,
        rates=tuple(50 * wave for wave in waves),
        utilisations=tuple(0.5 * wave for wave in waves),
        p50_s=tuple(0.1 * wave for wave in waves),
        p99_s=tuple(0.3 * wave for wave in waves),
        target=0.8,
        limit_s=0.5,
    )


def scaling_day() -> ScalingDay:
    """A day with a spike in it, ten minutes apart."""
    rates = np.full(144, 40.0)
    rates[90:93] = 120.0
    wanted = np.where(rates > 50, 12, 5)
    return ScalingDay(
        step_s=600.0,
        rates=rates,
        ready=np.roll(wanted, 1),
        wanted=wanted,
        times_s=np.where(rates > 50, 20.0, 0.1),
        rate_of_one=10.0,
        limit_s=0.5,
        cold_start_s=300.0,
        share_turned_away=0.01,
        share_late=0.02,
    )


DRAW: dict[str, Callable[[], Chart]] = {
    "raw_confidence_histogram": lambda: raw_confidence_histogram(histogram(panels()[0])),
    "business_reliability": lambda: business_reliability(business(TUNED)),
    "business_reliability_progression": lambda: business_reliability_progression(
        [business(BASE), business(TUNED)]
    ),
    "risk_coverage": lambda: risk_coverage([series()]),
    "sample_size_thresholds": lambda: sample_size_thresholds(sample_sizes()),
    "truth_versus_confidence": lambda: truth_versus_confidence([truth(), truth()]),
    "label_confusion": lambda: label_confusion(CONFUSION),
    "accuracy_comparison": lambda: accuracy_comparison(bars()),
    "calibration_error_comparison": lambda: calibration_error_comparison(bars()),
    "confidence_distribution_changes": lambda: confidence_distribution_changes(
        [histogram(each) for each in panels()]
    ),
    "training_curve": lambda: training_curve(LOSSES),
    "probe_layers": lambda: probe_layers(layer_map()),
    "probe_roc": lambda: probe_roc(roc_panel()),
    "probe_reliability": lambda: probe_reliability(probability_panel()),
    "fleet_day": lambda: fleet_day(fleet_hours()),
    "fleet_spike": lambda: fleet_spike(scaling_day()),
    "simulation_check": lambda: simulation_check(
        [SimulationError("verify, 4.6/s", 0.10, 0.28, 0.14, 0.42)]
    ),
}
"""How each chart of the registry is drawn."""

for single in get_args(SingleName):
    DRAW[single] = partial(lambda name: reliability(name, panels()[0]), single)
for pair in get_args(PairName):
    DRAW[pair] = partial(lambda name: reliability_comparison(name, *panels()), pair)
