"""Two runs on the test rows that they share."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from glassbox.charts.report import Table
from glassbox.confidence.analysis.figures import Answers, Metrics, measure
from glassbox.confidence.analysis.whole_run import RunAnalysis
from glassbox.confidence.reporting.tables import (
    difference_cell,
    points_cell,
    threshold_cell,
    with_interval,
)
from glassbox.errors import NotEnoughData
from glassbox.stats.calibration.proper_scoring import row_nll
from glassbox.stats.intervals import (
    Interval,
    McNemar,
    mcnemar,
    paired_difference,
    paired_share_difference,
)

FEWEST_SHARED = 30
"""Shared rows below which a comparison is refused: intervals would say nothing."""


@dataclass(frozen=True)
class RunComparison:
    """Two runs' final, calibrated models on the same rows."""

    names: tuple[str, str]
    """The runs, as they were named."""
    n_shared: int
    """Test rows that both runs hold, with the same label."""
    n_only_first: int
    """Test rows of the first run alone."""
    n_only_second: int
    """Test rows of the second run alone."""
    metrics: tuple[Metrics, Metrics]
    """On the shared rows."""
    thresholds: tuple[float | None, float | None]
    """Chosen on each run's own threshold rows."""
    accuracy: Interval
    """Second minus first."""
    nll: Interval
    """Second minus first, nats, paired bootstrap; negative is better."""
    mcnemar: McNemar
    """Exact test on the rows where only one is right."""

    @property
    def sentence(self) -> str:
        """What the comparison shows: of accuracy, and of the probabilities where it does."""
        first, second = self.names
        if self.accuracy.low > 0:
            found = f"{second} is right more often than {first}"
        elif self.accuracy.high < 0:
            found = f"{first} is right more often than {second}"
        else:
            found = "No difference in accuracy can be shown"
        low, high = 100 * self.accuracy.low, 100 * self.accuracy.high
        told = f"{found}: 95 % interval of the difference {low:+.1f} to {high:+.1f} points."
        least, most = sorted((abs(self.nll.low), abs(self.nll.high)))
        if self.nll.low <= 0 <= self.nll.high:
            return told
        better = second if self.nll.high < 0 else first
        return (
            f"{told} The probabilities of {better} are better: its NLL is lower by {least:.3f} to "
            f"{most:.3f} nats (95 % interval)."
        )


def compare_runs(first: RunAnalysis, second: RunAnalysis, names: tuple[str, str]) -> RunComparison:
    """Return how two runs' final models compare on their shared test rows.

    Raises:
        NotEnoughData: They share too few test rows.
    """
    rows = [_by_text(run) for run in (first, second)]
    shared = [key for key in rows[0] if key in rows[1]]
    if len(shared) < FEWEST_SHARED:
        raise NotEnoughData(
            "Comparing two runs on shared test rows",
            len(shared),
            FEWEST_SHARED,
            remedy="Make both runs from the same data with the same seed and classes.",
        )
    one, two = (
        _take(run, [places[key] for key in shared])
        for run, places in zip((first, second), rows, strict=True)
    )
    return RunComparison(
        names=names,
        n_shared=len(shared),
        n_only_first=len(rows[0]) - len(shared),
        n_only_second=len(rows[1]) - len(shared),
        metrics=(measure(one), measure(two)),
        thresholds=(first.final.threshold.value, second.final.threshold.value),
        accuracy=paired_share_difference(one.correct, two.correct),
        nll=paired_difference(row_nll(one.probs, one.labels), row_nll(two.probs, two.labels)),
        mcnemar=mcnemar(one.correct, two.correct),
    )


def comparison_table(found: RunComparison) -> Table:
    """Return the comparison as a table, one column a run."""
    pairs = zip(found.names, found.metrics, found.thresholds, strict=True)
    columns = [
        (
            name,
            with_interval(metrics.accuracy),
            with_interval(metrics.ece, as_percent=False),
            f"{metrics.null.mean:.3f}",
            f"{metrics.nll:.4f}",
            f"{metrics.brier:.4f}",
            "–" if metrics.auroc is None else f"{metrics.auroc:.3f}",
            threshold_cell(threshold),
        )
        for name, metrics, threshold in pairs
    ]
    names = ("Accuracy", "ECE", "Perfect shows", "NLL", "Brier", "AUROC", "Threshold")
    return Table(
        caption=f"{found.n_shared} shared test rows, each run calibrated its own way",
        header=("", found.names[0], found.names[1]),
        rows=tuple((name, columns[0][i], columns[1][i]) for i, name in enumerate(names, start=1)),
        notes=(
            f"Second − first: accuracy {points_cell(found.accuracy)} points, NLL "
            f"{difference_cell(found.nll)}, McNemar p {found.mcnemar.p_value:.2g}.",
        ),
    )


def _by_text(run: RunAnalysis) -> dict[tuple[str, str, int], int]:
    """Return the place of each test row by text, label and which of its equals it is."""
    held = run.final.rows.part("test").held_out
    places: dict[tuple[str, str, int], int] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for place, (text, label) in enumerate(zip(held.texts, held.labels, strict=True)):
        row = (text, run.final.rows.classes[label])
        places[*row, seen[row]] = place
        seen[row] += 1
    return places


def _take(run: RunAnalysis, places: list[int]) -> Answers:
    answers = run.final.answers[run.final.chosen]
    rows = np.array(places)
    return Answers(answers.probs[rows], answers.labels[rows])
