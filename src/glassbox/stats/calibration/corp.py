"""The bin-free reliability curve: accuracy as the best non-decreasing function of confidence.

It has no bins to choose, and its distance from the diagonal is the miscalibration term of the
Brier score. It assumes that higher confidence never means lower accuracy; where that is false,
it shows a flat step.

Source: Dimitriadis, Gneiting & Jordan 2021, PNAS 118(8), the CORP approach.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import isotonic_regression

from glassbox.stats.checking import checked_outcomes


@dataclass(frozen=True, eq=False)
class CorpCurve:
    """Isotonic accuracy at each distinct confidence."""

    confidence: Float[np.ndarray, " n_values"]
    """Distinct confidences, ascending."""
    accuracy: Float[np.ndarray, " n_values"]
    """Isotonic fit, non-decreasing, in [0, 1]."""
    counts: Int[np.ndarray, " n_values"]
    """Rows with that confidence."""
    n_rows: int
    """Rows in all."""


def corp_curve(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> CorpCurve:
    """Accuracy as a non-decreasing step function of confidence, fitted by pooling violators.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Dimitriadis et al. 2021, equation 1 and figure 1.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    values, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=correct) / counts
    return CorpCurve(values, isotonic_fit(share, counts), counts, confidence.size)


def with_fewer_points(curve: CorpCurve, most: int) -> CorpCurve:
    """The very same steps, told by the ends of each level stretch alone where points are many.

    Args:
        curve: The curve.
        most: Points up to which it comes back as it is.
    """
    if curve.confidence.size <= most:
        return curve
    kept = level_ends(curve.accuracy)
    columns = ("confidence", "accuracy", "counts")
    return replace(curve, **{name: getattr(curve, name)[kept] for name in columns})


def level_ends(values: Float[np.ndarray, " n_values"]) -> Bool[np.ndarray, " n_values"]:
    """Which values are the first or the last of a run of equal ones: only these carry news."""
    is_same = values[1:] == values[:-1]
    return np.asarray(~(np.append(False, is_same) & np.append(is_same, False)))


def isotonic_fit(
    share: Float[np.ndarray, " n_values"], weight: Int[np.ndarray, " n_values"]
) -> Float[np.ndarray, " n_values"]:
    """The non-decreasing sequence nearest to ``share`` in weighted squares, inside its range."""
    fit = isotonic_regression(share, weights=weight.astype(np.float64)).x
    # Pooled means are off by a rounding error, which may leave [0, 1] or fall by one unit.
    return np.asarray(np.maximum.accumulate(np.clip(fit, share.min(), share.max())))
