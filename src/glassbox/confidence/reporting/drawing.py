"""Which charts a run has, and the values that each one shows.

Hands values from ``stats`` to ``charts``; draws nothing itself and computes nothing that it does
not hand on.
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.charts.business import (
    BusinessPanel,
    business_reliability,
    business_reliability_progression,
)
from glassbox.charts.chart import Chart, numbers, remove, save
from glassbox.charts.comparison import Bar, Bars, accuracy_comparison, calibration_error_comparison
from glassbox.charts.confusion import LabelConfusion, label_confusion
from glassbox.charts.histograms import (
    HistogramPanel,
    confidence_distribution_changes,
    raw_confidence_histogram,
)
from glassbox.charts.registry import CHARTS
from glassbox.charts.reliability import (
    PairName,
    ReliabilityPanel,
    SingleName,
    reliability,
    reliability_comparison,
)
from glassbox.charts.report import ChartImage
from glassbox.charts.selective import (
    RiskCoverageSeries,
    SampleSizes,
    risk_coverage,
    sample_size_thresholds,
)
from glassbox.charts.style import Role
from glassbox.charts.training import TrainingCurve, training_curve
from glassbox.charts.truth import TruthPanel, truth_versus_confidence
from glassbox.confidence.analysis.figures import Answers, ModelAnalysis, known_probability
from glassbox.confidence.analysis.whole_run import RunAnalysis, reopen
from glassbox.confidence.run import RunFolder
from glassbox.engine.lora.curve import CURVE_FILE, read_curve
from glassbox.progress import Progress
from glassbox.stats.calibration import corp
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.selective import ranking
from glassbox.stats.selective.business import business_curve, business_figures
from glassbox.stats.selective.threshold import rows_for_power, rows_needed

PART = "test part"
"""Where everything in a chart is measured, unless the chart says otherwise."""

SINGLE: dict[str, SingleName] = {
    "identity": "reliability_raw_model_output",
    "platt": "reliability_platt_scaling",
    "isotonic": "reliability_isotonic_regression",
    "temperature": "reliability_temperature_scaling",
}
"""Chart of one diagram by calibrator."""

PAIRED: dict[str, PairName] = {
    "identity": "finetuning_raw_reliability_comparison",
    "platt": "finetuning_platt_reliability_comparison",
    "isotonic": "finetuning_isotonic_reliability_comparison",
}
"""Chart of base beside tuned by calibrator."""

LONG_NAMES = {
    "identity": "raw output",
    "temperature": "temperature scaling",
    "platt": "Platt scaling",
    "isotonic": "isotonic regression",
}
"""Calibrators as titles name them."""

MAX_ERRORS = (0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.10)
"""Allowed error rates along the axis of the sample-size chart."""

DECADE = (0.01, 0.02, 0.03, 0.05, 0.07)
"""Those of one decade, where the axis is moved to another."""

NAMES_APART = 1.4
"""Ratio of two error rates whose names do not touch on that axis."""

SEEN_ERRORS = (0, 1, 2, 5, 10)
"""Curves of the sample-size chart."""

ERROR_SHARES = (0.25, 0.5, 0.75)
"""True error as a share of the allowed one, for the chart of power."""


MOST_POINTS = 2000
"""Points of a curve from which a picture and its numbers hold some of them: no pixel is lost."""

MOST_DOTS = 5000
"""Texts that are drawn as dots at most: more are a blot. Every figure is measured on all."""


def charts_of(run: RunAnalysis, folder: RunFolder) -> Iterator[Chart]:
    """Yield every chart that a run has, drawn one at a time.

    Args:
        run: What was measured.
        folder: Where the training curve is, if the run tuned.

    Raises:
        DependencyMissing: matplotlib is not installed.
        CorruptArtifact: The training curve is damaged or of another version of Glassbox.
    """
    for make in (_calibration, _automation, _insight, _fine_tuning):
        yield from make(run)
    if "tuned" in run.models and (folder.adapter / CURVE_FILE).exists():
        yield training_curve(_training(folder))


def write_charts(
    run: RunAnalysis, folder: RunFolder, out: Path | None = None, report: Progress | None = None
) -> tuple[ChartImage, ...]:
    """Write PNG, SVG and JSON of every chart and return them for the report.

    Charts that an earlier evaluation left there and this one has not are removed.

    Args:
        run: What was measured.
        folder: The run.
        out: Where to write; None is the run's own ``charts`` folder.
        report: Called as charts are finished; the total is not known beforehand.

    Raises:
        DependencyMissing: matplotlib is not installed.
        CorruptArtifact: The training curve is damaged or of another version of Glassbox.
        NoDiskSpace: The device is full.
    """
    target = folder.charts if out is None else out / "charts"
    drawn = []
    for chart in charts_of(run, folder):
        files = save(chart, target)
        drawn.append(ChartImage(chart.info, files.svg.read_bytes(), chart.summary))
        if report is not None:
            report(len(drawn), 0)
    now = {each.info.name for each in drawn}
    for info in CHARTS.values():
        if info.folder in ("calibration", "fine_tuning") and info.name not in now:
            remove(info, target)
    return tuple(drawn)


def chart_numbers(run: Path) -> dict[str, dict[str, Any]]:
    """Return the numbers of every chart of a finished run, by name; nothing is written.

    They are those that stand beside the pictures; without matplotlib there are none.

    Raises:
        UnknownName: The folder holds no finished run.
        CorruptArtifact: A file of it is damaged.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return {}
    folder = RunFolder(run)
    drawn = charts_of(reopen(folder), folder)
    return {each.info.name: numbers(each) for each in drawn}


def _title(model: ModelAnalysis, kind: str) -> str:
    return f"{model.name.capitalize()} model, {LONG_NAMES[kind]}"


def _role(model: ModelAnalysis) -> Role:
    return "tuned" if model.name == "tuned" else "base"


def _panel(run: RunAnalysis, model: ModelAnalysis, kind: str) -> ReliabilityPanel:
    answers, metrics = model.answers[kind], model.metrics[kind]
    confidence, correct = answers.confidence, answers.correct
    return ReliabilityPanel(
        title=_title(model, kind),
        role=_role(model),
        part=PART,
        curve=reliability_curve(confidence, correct),
        accuracy=metrics.accuracy,
        mean_confidence=metrics.mean_confidence,
        ece=metrics.ece,
        null=metrics.null,
        band=binned_band(confidence, seed=run.question.seed),
        corp=corp.with_fewer_points(corp.corp_curve(confidence, correct), MOST_POINTS),
        further={"Smooth ECE": metrics.smooth_ece, "NLL": metrics.nll},
    )


def _histogram(model: ModelAnalysis, kind: str) -> HistogramPanel:
    answers, metrics = model.answers[kind], model.metrics[kind]
    return HistogramPanel(
        title=_title(model, kind),
        role=_role(model),
        part=PART,
        curve=reliability_curve(answers.confidence, answers.correct, n_bins=20),
        accuracy=metrics.accuracy.estimate,
        mean_confidence=metrics.mean_confidence,
    )


def _calibration(run: RunAnalysis) -> Iterator[Chart]:
    first = run.models["base"]
    yield raw_confidence_histogram(_histogram(first, "identity"))
    for kind, name in SINGLE.items():
        if kind in first.metrics:
            yield reliability(name, _panel(run, first, kind))


def _business(run: RunAnalysis, model: ModelAnalysis, kind: str) -> BusinessPanel:
    answers, value = model.answers[kind], model.thresholds[kind].value
    share = None
    if value is not None:
        share = business_figures(answers.confidence, answers.correct, value).share_automated
    return BusinessPanel(
        title=_title(model, kind),
        role=_role(model),
        part=PART,
        curve=business_curve(answers.confidence, answers.correct, costs=run.question.costs),
        threshold=model.thresholds[kind],
        threshold_part="threshold part",
        share_automated=share,
    )


def _automation(run: RunAnalysis) -> Iterator[Chart]:
    base, final = run.models["base"], run.final
    yield business_reliability(_business(run, final, final.chosen))
    steps = dict.fromkeys(
        [(base.name, "identity"), (base.name, base.chosen), (final.name, final.chosen)]
    )
    yield business_reliability_progression(
        [_business(run, run.models[name], kind) for name, kind in steps]
    )
    yield risk_coverage([_series(run.models[name], kind) for name, kind in steps])
    yield sample_size_thresholds(_sample_sizes(run))


def _series(model: ModelAnalysis, kind: str) -> RiskCoverageSeries:
    answers, coverage = model.answers[kind], model.metrics[kind].coverage
    curve = ranking.risk_coverage_curve(answers.confidence, answers.correct)
    return RiskCoverageSeries(
        title=_title(model, kind),
        role=_role(model),
        part=PART,
        curve=ranking.with_fewer_points(curve, MOST_POINTS, coverages=tuple(coverage.values())),
        coverage_at=tuple((float(risk), share) for risk, share in coverage.items()),
    )


def _sample_sizes(run: RunAnalysis) -> SampleSizes:
    promise, level, power = run.question.promise, run.question.promise.confidence_level, 0.8
    limits = _limits(promise.max_error)
    needed = [[rows_needed(each, level, n) for each in limits] for n in SEEN_ERRORS]
    powered = [
        [rows_for_power(each, level, share * each, power=power) for each in limits]
        for share in ERROR_SHARES
    ]
    return SampleSizes(
        max_error=limits,
        confidence_level=level,
        n_errors=SEEN_ERRORS,
        rows_needed=np.array(needed),
        error_shares=ERROR_SHARES,
        rows_for_power=np.array(powered),
        power=power,
        n_automated=run.final.threshold.n_automated or None,
        asked_error=promise.max_error,
    )


def _limits(asked: float) -> tuple[float, ...]:
    """Return the error rates along the axis: the usual, or as many that end with an unusual one."""
    if MAX_ERRORS[0] <= asked <= MAX_ERRORS[-1]:
        return MAX_ERRORS
    decades = [round(each * 10.0**power, 9) for power in range(-6, 2) for each in DECADE]
    apart = [each for each in decades if max(each / asked, asked / each) >= NAMES_APART]
    beside = len(MAX_ERRORS) - 1
    if asked > MAX_ERRORS[-1]:
        return (*[each for each in apart if each < asked][-beside:], asked)
    return (asked, *[each for each in apart if each > asked][:beside])


def _insight(run: RunAnalysis) -> Iterator[Chart]:
    final = run.final
    if final.truth:
        steps = dict.fromkeys(
            [("base", "identity"), ("base", run.models["base"].chosen), (final.name, final.chosen)]
        )
        yield truth_versus_confidence([_truth(run.models[name], kind) for name, kind in steps])
    answers = final.answers[final.chosen]
    size = len(final.rows.classes)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (answers.labels, answers.predicted), 1)
    yield label_confusion(
        LabelConfusion(_title(final, final.chosen), _role(final), PART, final.rows.classes, counts)
    )


def _truth(model: ModelAnalysis, kind: str) -> TruthPanel:
    answers: Answers = model.answers[kind]
    known = known_probability(model.rows.part("test"), answers)
    # The bins of a reliability curve, with the known probability in the place of the outcome.
    curve = reliability_curve(answers.confidence, answers.correct)
    inside = np.clip(np.searchsorted(curve.edges, answers.confidence, side="left") - 1, 0, None)
    means = [
        float(known[inside == i].mean()) if (inside == i).any() else float("nan")
        for i in range(len(curve.counts))
    ]
    # Rows stand in the order of the split's hash, so every so many of them are a random choice.
    step = -(-known.size // MOST_DOTS)
    return TruthPanel(
        title=_title(model, kind),
        role=_role(model),
        part=PART,
        confidence=answers.confidence[::step],
        truth=known[::step],
        bin_confidence=curve.mean_confidence,
        bin_truth=np.array(means),
        bin_counts=curve.counts,
        mean_gap=model.truth[kind].mean_absolute_error,
    )


def _bars(
    run: RunAnalysis, pick: Callable[[ModelAnalysis, str], Bar], with_words: bool
) -> tuple[Bar, ...]:
    bars = [
        pick(model, kind)
        for name, model in run.models.items()
        if name != "tfidf"
        for kind in model.metrics
    ]
    if with_words and "tfidf" in run.models:
        bars.append(pick(run.models["tfidf"], "identity"))
    return tuple(bars)


def _fine_tuning(run: RunAnalysis) -> Iterator[Chart]:
    n_rows = run.final.best.n_rows
    labels = run.final.answers[run.final.chosen].labels
    commonest = float(np.bincount(labels).max() / len(labels))
    yield accuracy_comparison(
        Bars(_bars(run, _accuracy_bar, True), PART, n_rows, reference=commonest)
    )
    yield calibration_error_comparison(Bars(_bars(run, _ece_bar, False), PART, n_rows))
    shown = [model for name, model in run.models.items() if name != "tfidf"]
    yield confidence_distribution_changes(
        [
            _histogram(model, kind)
            for model in shown
            for kind in dict.fromkeys(("identity", model.chosen))
        ]
    )
    if "tuned" not in run.models:
        return
    base, tuned = run.models["base"], run.models["tuned"]
    for kind, name in PAIRED.items():
        if kind in base.metrics and kind in tuned.metrics:
            yield reliability_comparison(name, _panel(run, base, kind), _panel(run, tuned, kind))


def _accuracy_bar(model: ModelAnalysis, kind: str) -> Bar:
    accuracy = model.metrics[kind].accuracy
    if model.name == "tfidf":
        return Bar("TF-IDF", "Bag of words", "baseline", accuracy)
    return Bar(
        LONG_NAMES[kind].capitalize(), f"{model.name.capitalize()} model", _role(model), accuracy
    )


def _ece_bar(model: ModelAnalysis, kind: str) -> Bar:
    metrics = model.metrics[kind]
    series = f"{model.name.capitalize()} model"
    return Bar(LONG_NAMES[kind].capitalize(), series, _role(model), metrics.ece, metrics.null)


def _training(folder: RunFolder) -> TrainingCurve:
    points = read_curve(folder.adapter)
    best = min(points, key=lambda each: each.validation_loss)
    parts = folder.read_run()["data"]["parts"]
    return TrainingCurve(
        step=tuple(each.step for each in points),
        epoch=tuple(each.epoch for each in points),
        train_loss=tuple(each.train_loss for each in points),
        validation_loss=tuple(each.validation_loss for each in points),
        best_step=best.step,
        n_train=parts["train"],
        n_validation=parts["validation"],
    )
