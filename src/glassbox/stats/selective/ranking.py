"""How well confidence separates right answers from wrong ones.

AUROC and the risk-coverage family depend on the order of the confidences only, so a calibrator
that keeps the order leaves them as they are. Rows of one confidence are always taken together:
no figure depends on the order in which ties happen to stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.stats.checking import checked_count, checked_fraction, checked_outcomes


@dataclass(frozen=True, eq=False)
class RiskCoverageCurve:
    """Error rate of the most confident rows against their share of all rows."""

    threshold: Float[np.ndarray, " n_points"]
    """Distinct confidences, descending."""
    coverage: Float[np.ndarray, " n_points"]
    """Share of rows at or above the threshold, ascending to 1."""
    risk: Float[np.ndarray, " n_points"]
    """Share of errors among those rows."""
    n_errors: Int[np.ndarray, " n_points"]
    """Errors among those rows."""
    n_rows: int
    """Rows in all."""
    aurc: float
    """Mean risk over all coverages 1/n, 2/n, … 1, averaged over the orders of tied rows."""
    e_aurc: float
    """``aurc`` above that of a perfect order of the same errors, at least 0."""
    augrc: float
    """Mean share of undetected errors (of all rows) over all coverages, tie-averaged, in [0, 1/2]
    up to 1/(2n)."""


def auroc(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float | None:
    """Probability that a right answer has more confidence than a wrong one, ties counted half.

    None where all answers are right or all are wrong, because there is no pair to compare.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Hanley & McNeil 1982; Mann & Whitney 1947 for the rank form.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    n_right = int(correct.sum())
    n_wrong = correct.size - n_right
    if n_right == 0 or n_wrong == 0:
        return None
    _, place, n_equal = np.unique(confidence, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(n_equal) - (n_equal - 1) / 2
    rank_sum = float(mean_ranks[place][correct].sum())
    return (rank_sum - n_right * (n_right + 1) / 2) / (n_right * n_wrong)


def risk_coverage_curve(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> RiskCoverageCurve:
    """Risk against coverage at each distinct confidence, with AURC, E-AURC and AUGRC.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: El-Yaniv & Wiener 2010 (risk-coverage); Geifman et al. 2019 (AURC, E-AURC); Traub et
        al. 2024, equation 6 (AUGRC).
    """
    confidence, correct = checked_outcomes(confidence, correct)
    threshold, n_accepted, n_errors = accepted_by_threshold(confidence, correct)
    n_rows = confidence.size
    # Within a group of ties, the expected number of errors grows linearly with the rows taken.
    taken = np.arange(1, n_rows + 1)
    errors_taken = np.interp(taken, np.append(0, n_accepted), np.append(0, n_errors))
    aurc = float((errors_taken / taken).mean())
    n_right = n_rows - int(n_errors[-1])
    best = float((np.maximum(taken - n_right, 0) / taken).mean())
    return RiskCoverageCurve(
        threshold=threshold,
        coverage=n_accepted / n_rows,
        risk=n_errors / n_accepted,
        n_errors=n_errors,
        n_rows=n_rows,
        aurc=aurc,
        e_aurc=max(0.0, aurc - best),
        augrc=float(errors_taken.mean() / n_rows),
    )


def with_fewer_points(
    curve: RiskCoverageCurve, most: int, *, coverages: Sequence[float] = ()
) -> RiskCoverageCurve:
    """The curve at some of its own points, near enough to draw it; areas and rows stay as they are.

    One half of the points lies evenly along the coverage, the other evenly along its logarithm:
    the risk of the first few rows changes from row to row. A curve with no more points than
    ``most`` comes back as it is.

    Args:
        curve: The curve.
        most: Points that are kept beside those of ``coverages``, at least 4.
        coverages: Shares of rows whose points are kept in any case.

    Raises:
        InvalidValue: Fewer than four points.
    """
    checked_count("most", most, minimum=4)
    if curve.coverage.size <= most:
        return curve
    first = curve.coverage[0]
    evenly = (np.linspace(first, 1, most // 2), np.geomspace(first, 1, most // 2))
    wanted = np.concatenate([*evenly, np.asarray(coverages, dtype=np.float64)])
    last = curve.coverage.size - 1
    kept = np.unique(np.minimum(np.searchsorted(curve.coverage, wanted), last))
    columns = ("threshold", "coverage", "risk", "n_errors")
    return replace(curve, **{name: getattr(curve, name)[kept] for name in columns})


def coverage_at_risk(curve: RiskCoverageCurve, risk: float) -> float:
    """Largest share of rows whose observed error rate is at most ``risk``; 0 where there is none.

    A description of these rows, not a promise for new ones: that is ``threshold``.

    Raises:
        InvalidValue: A risk outside [0, 1].
    """
    checked_fraction("risk", risk, is_open=False)
    return float(curve.coverage[curve.risk <= risk].max(initial=0.0))


def accepted_by_threshold(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " points"], Int[np.ndarray, " points"], Int[np.ndarray, " points"]]:
    """Distinct confidences, descending, with the rows and the errors at or above each."""
    values, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    n_wrong = np.bincount(group, weights=~correct).astype(np.intp)
    return values[::-1], np.cumsum(counts[::-1]), np.cumsum(n_wrong[::-1])
