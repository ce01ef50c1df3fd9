"""From evaluated rows to figures: calibrators, metrics, threshold, comparisons.

Pure functions of rows: nothing here loads a model or writes a file. Calibrators are fitted on the
calibrator part, the threshold is chosen on the threshold part and every metric is measured on the
test part, so no figure is measured on rows that shaped it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.confidence.asking.verbalisers import label_mass, label_probs
from glassbox.confidence.evaluation.rows import EvaluatedRows
from glassbox.confidence.job import Promise
from glassbox.stats.calibration.binning import DEFAULT_BINS
from glassbox.stats.calibration.error import (
    MaximumError,
    NullLevel,
    SpiegelhalterTest,
    debiased_calibration_error,
    ece_interval,
    mce,
    null_level,
    spiegelhalter,
)
from glassbox.stats.calibration.proper_scoring import BrierSplit, brier, brier_split, nll, row_nll
from glassbox.stats.calibration.smooth_error import smooth_ece
from glassbox.stats.calibrators.choice import CalibratorChoice, choose_calibrator, fit_calibrator
from glassbox.stats.calibrators.label_bias import LabelBias, fit_label_bias
from glassbox.stats.calibrators.parametric import Calibrator, CalibratorKind
from glassbox.stats.intervals import (
    Interval,
    McNemar,
    mcnemar,
    paired_difference,
    paired_share_difference,
    proportion_interval,
)
from glassbox.stats.selective.business import BusinessFigures, Costs, business_figures
from glassbox.stats.selective.ranking import auroc, coverage_at_risk, risk_coverage_curve
from glassbox.stats.selective.threshold import (
    ClassCheck,
    Threshold,
    check_classes,
    choose_threshold,
)

METHODS: tuple[CalibratorKind, ...] = ("identity", "temperature", "platt", "isotonic")
"""Calibrators that every report compares; ``identity`` leaves the raw probabilities."""

FOLDS = 5
"""Folds in which calibrators are compared; with fewer calibrator rows, one for each row."""

RISKS = (0.01, 0.02, 0.05, 0.10)
"""Error rates at which coverage is reported."""

Array = np.ndarray


@dataclass(frozen=True)
class Answers:
    """Label probabilities of some rows, with what was right."""

    probs: Float[Array, "n n_classes"]
    """Rows sum to 1."""
    labels: Int[Array, " n"]
    """Index of the true class."""

    @property
    def predicted(self) -> Int[Array, " n"]:
        """Index of the most probable class."""
        return np.asarray(self.probs.argmax(axis=1))

    @property
    def confidence(self) -> Float[Array, " n"]:
        """Probability of the most probable class."""
        return np.asarray(self.probs.max(axis=1))

    @property
    def correct(self) -> Bool[Array, " n"]:
        """Whether the most probable class is the true one."""
        return np.asarray(self.predicted == self.labels)


@dataclass(frozen=True)
class Metrics:
    """How good some answers are; fractions in [0, 1], NLL in nats."""

    n_rows: int
    """Rows measured on."""
    accuracy: Interval
    """Share of right answers."""
    mean_confidence: float
    """Mean probability of the predicted class."""
    nll: float
    """Mean negative log-likelihood of the true class."""
    brier: float
    """Multi-class Brier score, [0, 2]."""
    brier_split: BrierSplit
    """Top-label Brier score: miscalibration - discrimination + uncertainty."""
    ece: Interval
    """Expected calibration error, 15 equal-width bins, with its interval."""
    null: NullLevel
    """What a perfectly calibrated model would show at this n."""
    mce: MaximumError
    """Largest bin error and how many rows that bin holds."""
    debiased_ece: float | None
    """Debiased equal-mass calibration error; None with fewer rows than its 15 bins."""
    smooth_ece: float
    """Bin-free calibration error."""
    spiegelhalter: SpiegelhalterTest
    """Test of calibration through the Brier score."""
    auroc: float | None
    """Does confidence rank right answers above wrong ones; None when all are alike."""
    aurc: float
    """Area under the risk-coverage curve, ties averaged."""
    coverage: dict[str, float]
    """Largest share of rows whose error stays within 1, 2, 5 and 10 % (no guarantee)."""


@dataclass(frozen=True)
class CategoryFigures:
    """One category of the test part."""

    name: str
    """Category."""
    n_rows: int
    """Rows in it."""
    accuracy: Interval
    """Share of right answers."""
    mean_confidence: float
    """Mean calibrated confidence."""
    share_automated: float
    """Share at or above the threshold; 0 without one."""


@dataclass(frozen=True)
class TruthFigures:
    """Confidence against the known probability that the predicted label is right."""

    mean_absolute_error: float
    """Mean of |confidence - known probability|."""
    mean_difference: float
    """Mean of confidence - known probability; positive is over-confident."""
    best_accuracy: float
    """Accuracy of always answering the label that is truly more probable."""


@dataclass(frozen=True)
class ModelAnalysis:
    """Everything measured about one model."""

    name: str
    """``base``, ``tuned`` or ``tfidf``."""
    rows: EvaluatedRows
    """Its answers on all held-out parts."""
    bias: LabelBias | None
    """Class offsets that were taken off, if asked for."""
    calibrators: Mapping[str, Calibrator]
    """Fitted on the calibrator part, by kind."""
    choice: CalibratorChoice
    """Which one has the lowest cross-validated NLL, and all candidates."""
    answers: Mapping[str, Answers]
    """Test part, by calibrator kind."""
    metrics: Mapping[str, Metrics]
    """Test part, by calibrator kind."""
    thresholds: Mapping[str, Threshold]
    """Chosen on the threshold part, by calibrator kind."""
    classes: tuple[ClassCheck, ...]
    """The promise looked at for each predicted class, on the threshold part."""
    outcome: BusinessFigures | None
    """What the threshold does on the test part; None without a safe threshold."""
    categories: tuple[CategoryFigures, ...]
    """Test part by category; empty where the data has none."""
    truth: Mapping[str, TruthFigures]
    """By calibrator kind; empty where the truth is not known."""
    mean_label_mass: float
    """Mean probability that any label follows; low means off task."""

    @property
    def chosen(self) -> str:
        """Kind of the chosen calibrator."""
        return self.choice.calibrator.kind

    @property
    def threshold(self) -> Threshold:
        """The threshold for the chosen calibrator."""
        return self.thresholds[self.chosen]

    @property
    def best(self) -> Metrics:
        """Metrics with the chosen calibrator."""
        return self.metrics[self.chosen]


@dataclass(frozen=True)
class Difference:
    """One model against another on the same test rows (second minus first)."""

    first: str
    """Name of the first model."""
    second: str
    """Name of the second model."""
    accuracy: Interval
    """Difference of accuracy on the same rows."""
    nll: Interval
    """Difference of calibrated NLL, nats; negative is better."""
    mcnemar: McNemar
    """Exact test on the rows where only one is right."""


def probs_of(rows: EvaluatedRows, bias: LabelBias | None) -> Float[Array, "n n_classes"]:
    """Return label probabilities, class offsets taken off where there are any."""
    return label_probs(rows.class_logprobs) if bias is None else bias.apply(rows.class_logprobs)


def fit_all(
    rows: EvaluatedRows, *, use_bias: bool = False, seed: int = 0
) -> tuple[dict[str, Calibrator], CalibratorChoice, LabelBias | None]:
    """Return every calibrator fitted on the calibrator part, the choice, and class offsets.

    With a handful of rows the identity is all that they can determine.

    Raises:
        NotEnoughData: Fewer than two calibrator rows; with ``use_bias``, fewer than ten.
    """
    part = rows.part("calibrator")
    bias = fit_label_bias(part.class_logprobs) if use_bias else None
    probs, labels = probs_of(part, bias), part.held_out.labels
    n_folds = max(2, min(FOLDS, labels.size))
    choice = choose_calibrator(probs, labels, kinds=METHODS, n_folds=n_folds, seed=seed)
    usable = [each.kind for each in choice.candidates if not each.problem]
    return {kind: fit_calibrator(kind, probs, labels) for kind in usable}, choice, bias


def measure(answers: Answers, *, seed: int = 0) -> Metrics:
    """Return all metrics of some answers."""
    confidence, correct = answers.confidence, answers.correct
    curve = risk_coverage_curve(confidence, correct)
    return Metrics(
        n_rows=len(answers.labels),
        accuracy=proportion_interval(correct),
        mean_confidence=float(confidence.mean()),
        nll=nll(answers.probs, answers.labels),
        brier=brier(answers.probs, answers.labels),
        brier_split=brier_split(confidence, correct),
        ece=ece_interval(confidence, correct, seed=seed),
        null=null_level(confidence, correct, seed=seed),
        mce=mce(confidence, correct),
        debiased_ece=None
        if confidence.size < DEFAULT_BINS
        else debiased_calibration_error(confidence, correct),
        smooth_ece=smooth_ece(confidence, correct),
        spiegelhalter=spiegelhalter(confidence, correct),
        auroc=auroc(confidence, correct),
        aurc=curve.aurc,
        coverage={f"{risk:g}": coverage_at_risk(curve, risk) for risk in RISKS},
    )


def analyse_model(
    name: str,
    rows: EvaluatedRows,
    fitted: tuple[Mapping[str, Calibrator], CalibratorChoice, LabelBias | None],
    promise: Promise,
    *,
    costs: Costs | None = None,
    seed: int = 0,
) -> ModelAnalysis:
    """Return everything measured about one model.

    Args:
        name: ``base``, ``tuned`` or ``tfidf``.
        rows: Its answers on all held-out parts.
        fitted: What ``fit_all`` returned for them.
        promise: What the threshold has to guarantee.
        costs: What mistakes and reviews cost.
        seed: Of bootstrap and simulations.
    """
    calibrators, choice, bias = fitted
    test = rows.part("test")
    raw, labels = probs_of(test, bias), test.held_out.labels
    answers = {kind: Answers(each.apply(raw), labels) for kind, each in calibrators.items()}
    model = ModelAnalysis(
        name=name,
        rows=rows,
        bias=bias,
        calibrators=calibrators,
        choice=choice,
        answers=answers,
        metrics={kind: measure(each, seed=seed) for kind, each in answers.items()},
        thresholds={},
        classes=(),
        outcome=None,
        categories=(),
        truth={kind: _truth(test, each) for kind, each in answers.items()}
        if test.held_out.truth is not None
        else {},
        mean_label_mass=float(label_mass(test.class_logprobs).mean()),
    )
    return promised(model, promise, costs)


def promised(model: ModelAnalysis, promise: Promise, costs: Costs | None) -> ModelAnalysis:
    """Return the same model with everything that hangs on the promise found for this one."""
    part = model.rows.part("threshold")
    raw, labels = probs_of(part, model.bias), part.held_out.labels
    asked = {kind: Answers(each.apply(raw), labels) for kind, each in model.calibrators.items()}
    thresholds = {
        kind: choose_threshold(each.confidence, each.correct, **asdict(promise))
        for kind, each in asked.items()
    }
    value, final = thresholds[model.chosen].value, model.answers[model.chosen]
    return replace(
        model,
        thresholds=thresholds,
        classes=_check(asked[model.chosen], value, promise),
        outcome=None
        if value is None
        else business_figures(final.confidence, final.correct, value, costs=costs),
        categories=_categories(model.rows.part("test"), final, value),
    )


def _check(answers: Answers, value: float | None, promise: Promise) -> tuple[ClassCheck, ...]:
    if value is None:
        return ()
    return check_classes(
        answers.confidence,
        answers.correct,
        answers.predicted,
        threshold=value,
        n_classes=answers.probs.shape[1],
        **asdict(promise),
    )


def _categories(
    test: EvaluatedRows, answers: Answers, threshold: float | None
) -> tuple[CategoryFigures, ...]:
    names = np.array([each or "" for each in test.held_out.categories])
    figures = []
    for name in sorted(set(names) - {""}):
        mine = names == name
        confidence = answers.confidence[mine]
        figures.append(
            CategoryFigures(
                name=str(name),
                n_rows=int(mine.sum()),
                accuracy=proportion_interval(answers.correct[mine]),
                mean_confidence=float(confidence.mean()),
                share_automated=0.0
                if threshold is None
                else float((confidence >= threshold).mean()),
            )
        )
    return tuple(figures)


def known_probability(rows: EvaluatedRows, answers: Answers) -> Float[Array, " n"]:
    """Return the known probability that each predicted label is right; the truth must be known."""
    truth = rows.held_out.truth
    assert truth is not None, "asked only for data with known truth"
    return np.asarray(truth[np.arange(len(truth)), answers.predicted])


def _truth(rows: EvaluatedRows, answers: Answers) -> TruthFigures:
    known = known_probability(rows, answers)
    truth = rows.held_out.truth
    assert truth is not None, "asked only for data with known truth"
    difference = answers.confidence - known
    return TruthFigures(
        mean_absolute_error=float(np.abs(difference).mean()),
        mean_difference=float(difference.mean()),
        best_accuracy=float(truth.max(axis=1).mean()),
    )


def difference(first: ModelAnalysis, second: ModelAnalysis, *, seed: int = 0) -> Difference:
    """Return how a second model differs from a first on the same test rows."""
    one, two = first.answers[first.chosen], second.answers[second.chosen]
    return Difference(
        first=first.name,
        second=second.name,
        accuracy=paired_share_difference(one.correct, two.correct),
        nll=paired_difference(
            row_nll(one.probs, one.labels), row_nll(two.probs, two.labels), seed=seed
        ),
        mcnemar=mcnemar(one.correct, two.correct),
    )
