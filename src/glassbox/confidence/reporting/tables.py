"""The figures of a run as tables, for the terminal and the report alike.

Formats and arranges; computes nothing. Fractions become per cent here and nowhere below.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from glassbox.charts.report import Table
from glassbox.confidence.analysis.figures import Metrics, ModelAnalysis
from glassbox.confidence.analysis.whole_run import RunAnalysis
from glassbox.stats.intervals import Interval
from glassbox.wording import decimals_apart, exact_percent

MODEL_NAMES = {"base": "base", "tuned": "tuned", "tfidf": "TF-IDF"}
"""How models are called where people read."""

METHOD_NAMES = {
    "identity": "raw",
    "temperature": "temperature",
    "platt": "Platt",
    "isotonic": "isotonic",
}
"""How calibrators are called where people read."""


T = TypeVar("T")

MOST_LINES = 20
"""Lines about single classes on a terminal: more of them push everything else off the screen."""


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in per cent; a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def threshold_cell(value: float | None) -> str:
    """Return a threshold as a fraction with three decimals, and more where they would read as 1."""
    return "none" if value is None else f"{value:.{decimals_apart(value, 1, 3)}f}"


def with_interval(interval: Interval, *, as_percent: bool = True) -> str:
    """Return an estimate with its interval in brackets."""
    if as_percent:
        low, high = 100 * interval.low, 100 * interval.high
        return f"{100 * interval.estimate:.1f} % [{low:.1f}, {high:.1f}]"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def points_cell(interval: Interval) -> str:
    """Return a difference of two shares with its interval, in percentage points.

    A difference of 6.8 points is not one of 6.8 %: the unit stands in the header or after it.
    """
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.estimate:+.1f} [{low:+.1f}, {high:+.1f}]"


def difference_cell(interval: Interval) -> str:
    """Return a mean difference with its interval; words where no row differs.

    A bootstrap over rows that are all alike has no width, which would read as certainty.
    """
    if interval.estimate == interval.low == interval.high == 0:
        return "the same on every row"
    return with_interval(interval, as_percent=False)


def overview(run: RunAnalysis) -> Table:
    """Return every model, raw and with its chosen calibrator, on the test rows."""
    rows = []
    for name, model in run.models.items():
        for kind in dict.fromkeys(("identity", model.chosen)):
            if kind in model.metrics:
                rows.append((MODEL_NAMES[name], METHOD_NAMES[kind], *_figures(model.metrics[kind])))
    return Table(
        caption=f"{'Models compared' if len(run.models) > 1 else 'The model'} on "
        f"{run.final.best.n_rows:,} test rows, raw and calibrated",
        header=(
            "Model",
            "Confidence",
            "Accuracy",
            "ECE",
            "Perfect shows",
            "NLL",
            "Brier",
            "AUROC",
        ),
        rows=tuple(rows),
        notes=(
            "Brackets: 95 % intervals. 'Perfect shows': the mean ECE that a perfectly calibrated "
            "model with the same confidences would show with this many rows; an ECE near it is as "
            "good as it gets. NLL and Brier: lower is better. AUROC: how well confidence ranks "
            "right answers above wrong ones.",
        ),
    )


def _figures(metrics: Metrics) -> tuple[str, ...]:
    return (
        with_interval(metrics.accuracy),
        with_interval(metrics.ece, as_percent=False),
        f"{metrics.null.mean:.3f}",
        f"{metrics.nll:.3f}",
        f"{metrics.brier:.3f}",
        number(metrics.auroc),
    )


def all_methods(run: RunAnalysis) -> Table:
    """Return every calibrator of every model with every calibration error."""
    return Table(
        caption=f"Every calibrator on {run.final.best.n_rows:,} test rows: calibration errors",
        header=(
            "Model",
            "Confidence",
            "ECE",
            "Perfect: mean – 99 %",
            "Debiased",
            "Smooth ECE",
            "MCE",
        ),
        rows=tuple(
            (
                *_method(model, kind),
                with_interval(metrics.ece, as_percent=False),
                f"{metrics.null.mean:.3f} – {metrics.null.quantile_99:.3f}",
                number(metrics.debiased_ece),
                f"{metrics.smooth_ece:.3f}",
                f"{metrics.mce.value:.3f} (n = {metrics.mce.n_rows})",
            )
            for model in run.models.values()
            for kind, metrics in model.metrics.items()
        ),
        notes=(
            "* chosen: lowest cross-validated NLL on the calibrator rows. MCE is the error of the "
            "worst bin, with the rows in it: in a small bin it is mostly noise.",
        ),
    )


def proper_scores(run: RunAnalysis) -> Table:
    """Return every calibrator of every model with NLL and Brier score, the latter split."""
    return Table(
        caption="The same, by scores that only honest probabilities make lowest",
        header=("Model", "Confidence", "NLL", "Brier", "Top label: calibration", "refinement"),
        rows=tuple(
            (
                *_method(model, kind),
                f"{metrics.nll:.4f}",
                f"{metrics.brier:.4f}",
                f"{metrics.brier_split.miscalibration:.4f}",
                f"{metrics.brier_split.refinement:.4f}",
            )
            for model in run.models.values()
            for kind, metrics in model.metrics.items()
        ),
        notes=(
            "Brier: over all labels. That of the predicted label alone is the sum of the last two "
            "columns: what calibration could still mend, and what only a better model could.",
        ),
    )


def _method(model: ModelAnalysis, kind: str) -> tuple[str, str]:
    return MODEL_NAMES[model.name], METHOD_NAMES[kind] + (" *" if kind == model.chosen else "")


def candidates(model: ModelAnalysis) -> Table:
    """Return how one model's calibrator was chosen."""
    return Table(
        caption=f"Choosing the {MODEL_NAMES[model.name]} model's calibrator: cross-validated NLL "
        f"on {model.choice.n_rows} calibrator rows, {model.choice.n_folds} folds",
        header=("Calibrator", "NLL", "± standard error"),
        rows=tuple(
            (
                METHOD_NAMES[each.kind] + (" *" if each.kind == model.chosen else ""),
                "–" if each.nll is None else f"{each.nll:.4f}",
                each.problem
                if each.nll_standard_error is None
                else f"{each.nll_standard_error:.4f}",
            )
            for each in model.choice.candidates
        ),
    )


def automation(run: RunAnalysis) -> Table:
    """Return what each model's threshold promises and what it did on the test rows."""
    promise, costs = run.question.promise, run.question.costs
    priced = costs is not None
    header = (
        "Model",
        "Confidence",
        "Threshold",
        "Automated",
        "Error at most",
        "Test: automated",
        "Test: error",
        "Wrong per 1,000",
    )
    return Table(
        caption=f"Automating with at most {exact_percent(promise.max_error)} errors, promised with "
        f"{exact_percent(promise.confidence_level)} confidence",
        header=(*header, "Cost per decision") if priced else header,
        rows=tuple(_automated(model, priced) for model in run.models.values()),
        notes=(
            "Threshold and bound come from the threshold rows, the test columns from the test "
            "rows. Wrong per 1,000 counts wrong automated answers among all texts that come in.",
            *(
                ()
                if costs is None
                else (f"Giving every text to a person costs {costs.human_review:.4g} a decision.",)
            ),
        ),
    )


def _automated(model: ModelAnalysis, priced: bool) -> tuple[str, ...]:
    threshold, outcome = model.threshold, model.outcome
    cells = (
        MODEL_NAMES[model.name],
        METHOD_NAMES[model.chosen],
        threshold_cell(threshold.value),
        percent(threshold.coverage),
        percent(threshold.error_upper_bound),
        percent(outcome.share_automated if outcome else None),
        percent(outcome.error_rate if outcome else None),
        "–" if outcome is None else f"{outcome.errors_per_1000:.1f}",
    )
    if not priced:
        return cells
    cost = outcome.cost_per_decision if outcome else None
    return (*cells, "–" if cost is None else f"{cost:.4g}")


def coverage(run: RunAnalysis) -> Table:
    """Return how much could be automated at fixed error rates, without a guarantee."""
    rows = []
    for name, model in run.models.items():
        best = model.best
        rows.append(
            (
                MODEL_NAMES[name],
                *(percent(each) for each in best.coverage.values()),
                f"{best.aurc:.4f}",
            )
        )
    risks = [f"{percent(float(risk), 0)} errors" for risk in run.final.best.coverage]
    return Table(
        caption="Share of test rows that stays within an error rate (in hindsight, no promise)",
        header=("Model", *risks, "AURC"),
        rows=tuple(rows),
        notes=("AURC: area under the risk-coverage curve, ties averaged; lower is better.",),
    )


def categories(model: ModelAnalysis, most: int | None = None) -> Table | None:
    """Return one model's figures by category; None where the data have none.

    Of more than ``most`` those of lowest accuracy.
    """
    if not model.categories:
        return None
    shown = _first(model.categories, most, lambda each: each.accuracy.estimate)
    return Table(
        caption=f"The {MODEL_NAMES[model.name]} model by category, calibrated, test rows",
        header=("Category", "Rows", "Accuracy", "Mean confidence", "Automated"),
        rows=tuple(
            (
                each.name,
                str(each.n_rows),
                with_interval(each.accuracy),
                percent(each.mean_confidence),
                percent(each.share_automated),
            )
            for each in shown
        ),
        notes=_left_out(len(model.categories) - len(shown), "The categories of lowest accuracy"),
    )


def class_checks(run: RunAnalysis, most: int | None = None) -> Table | None:
    """Return the promise looked at for each predicted class; None without a threshold.

    Of more than ``most`` those of most errors.
    """
    final = run.final
    if not final.classes:
        return None
    shown = _first(final.classes, most, lambda each: (-each.n_errors, -each.n_automated))
    n_kept = sum(each.is_shown for each in final.classes)
    return Table(
        caption="The promise for each predicted class alone, threshold rows",
        header=("Predicted class", "Automated", "Errors", "Error at most", "Shown"),
        rows=tuple(
            (
                final.rows.classes[each.label],
                str(each.n_automated),
                str(each.n_errors),
                percent(each.error_upper_bound),
                "yes" if each.is_shown else "no",
            )
            for each in shown
        ),
        notes=(
            *_left_out(
                len(final.classes) - len(shown),
                f"Shown for {n_kept:,} of {len(final.classes):,} classes. Those of most errors",
            ),
            "The promise is made over all classes together. 'no' means that these rows alone are "
            "too few, or too often wrong, to show it for that class.",
        ),
    )


def _first(all_of: Sequence[T], most: int | None, key: Callable[[T], Any]) -> Sequence[T]:
    return all_of if most is None or len(all_of) <= most else sorted(all_of, key=key)[:most]


def _left_out(n: int, shown: str) -> tuple[str, ...]:
    return (f"{shown}; the report has the other {n:,}, too.",) if n else ()


def differences(run: RunAnalysis) -> Table | None:
    """Return paired differences between models; None with one model."""
    if not run.differences:
        return None
    return Table(
        caption="Differences on the same test rows, calibrated (95 % intervals)",
        header=(
            "Compared",
            "Accuracy, points",
            "NLL",
            "Only first right",
            "Only second right",
            "p",
        ),
        rows=tuple(
            (
                f"{MODEL_NAMES[each.second]} − {MODEL_NAMES[each.first]}",
                points_cell(each.accuracy),
                difference_cell(each.nll),
                # The first of the table is the minuend, which is the second of the comparison.
                str(each.mcnemar.n_second_only),
                str(each.mcnemar.n_first_only),
                f"{each.mcnemar.p_value:.2g}",
            )
            for each in run.differences
        ),
        notes=(
            "First: the model before the minus. p: McNemar's exact test. An interval that holds 0 "
            "does not show a difference.",
        ),
    )


def truth(run: RunAnalysis) -> Table | None:
    """Return confidence against known truth; None where it is not known."""
    if not run.final.truth:
        return None
    rows = [
        (
            MODEL_NAMES[name],
            METHOD_NAMES[kind],
            f"{each.mean_absolute_error:.3f}",
            f"{each.mean_difference:+.3f}",
        )
        for name, model in run.models.items()
        for kind, each in model.truth.items()
        if kind in ("identity", model.chosen)
    ]
    best = next(iter(run.final.truth.values())).best_accuracy
    return Table(
        caption="Confidence against the known probability of being right, test rows",
        header=("Model", "Confidence", "Mean |difference|", "Mean difference"),
        rows=tuple(rows),
        notes=(
            "Known because the data were generated: labels were drawn with these probabilities. "
            f"Whoever knew them would be right on {percent(best)} of such rows on average, and no "
            "model on more; on these very rows luck may add or take a little.",
        ),
    )


def number(value: float | None) -> str:
    """Return a number with three decimals; a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def terminal_tables(run: RunAnalysis) -> Sequence[Table]:
    """Return the tables that a finished evaluation prints."""
    optional = (differences(run), categories(run.final, MOST_LINES))
    return [overview(run), automation(run), *(table for table in optional if table is not None)]
