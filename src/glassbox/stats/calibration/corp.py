"""The bin-free reliability curve: accuracy as the best non-decreasing function of confidence.

It has no bins to choose, and its distance from the diagonal is the miscalibration term of the
Brier score. It assumes that higher confidence never means lower accuracy; where that is false,
it shows a flat step.

Source: Dimitriadis, Gneiting & Jordan 2021, PNAS 118(8), the CORP approach.
"""

from dataclasses import dataclass

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


def isotonic_fit(
    share: Float[np.ndarray, " n_values"], weight: Int[np.ndarray, " n_values"]
) -> Float[np.ndarray, " n_values"]:
    """The non-decreasing sequence nearest to ``share`` in weighted squares, inside its range."""
    fit = isotonic_regression(share, weights=weight.astype(np.float64)).x
    # Pooled means are off by a rounding error, which may leave [0, 1] or fall by one unit.
    return np.asarray(np.maximum.accumulate(np.clip(fit, share.min(), share.max())))
