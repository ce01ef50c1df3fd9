"""Proper scores: figures that only the true probabilities minimise.

NLL and Brier score reward calibration and sharpness together; the split says how much of a Brier
score is miscalibration. They do not say which error costs the business what.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.stats.calibration.corp import corp_curve
from glassbox.stats.checking import checked_label_probs, checked_labels, checked_outcomes

PROB_FLOOR: Final = float(np.finfo(np.float32).tiny)
"""Smallest probability that is scored, the smallest normal float32 (1.2e-38): what a softmax
rounded to 0 costs 87.3 nats instead of infinitely many."""


@dataclass(frozen=True)
class BrierSplit:
    """A Brier score as miscalibration - discrimination + uncertainty."""

    brier: float
    """Mean squared gap of confidence and correctness, in [0, 1]."""
    miscalibration: float
    """What a perfect recalibration would save (MCB), at least 0."""
    discrimination: float
    """What recalibrated confidence saves over one constant (DSC), at least 0."""
    uncertainty: float
    """Brier score of the best constant (UNC), at most 1/4."""

    @property
    def refinement(self) -> float:
        """The part of the score that no recalibration can mend: uncertainty - discrimination."""
        return self.uncertainty - self.discrimination


def row_nll(
    label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """-log of the probability given to the true label, per row, nats, at most 87.3.

    Raises:
        InvalidData: NaN, out of range, rows that do not sum to 1, or labels out of range.
        NotEnoughData: No rows.
    """
    label_probs = checked_label_probs(label_probs)
    labels = checked_labels(labels, *label_probs.shape)
    truth = label_probs[np.arange(labels.size), labels]
    return np.asarray(-np.log(np.maximum(truth, PROB_FLOOR)))


def nll(label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean negative log-likelihood of the true labels, nats.

    Raises:
        InvalidData: NaN, out of range, rows that do not sum to 1, or labels out of range.
        NotEnoughData: No rows.

    Source: Good 1952, the logarithmic score.
    """
    return float(row_nll(label_probs, labels).mean())


def brier(label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean squared distance of label_probs from the true label's unit vector, in [0, 2].

    Raises:
        InvalidData: NaN, out of range, rows that do not sum to 1, or labels out of range.
        NotEnoughData: No rows.

    Source: Brier 1950, equation 2 (all classes summed, not averaged).
    """
    label_probs = checked_label_probs(label_probs)
    labels = checked_labels(labels, *label_probs.shape)
    truth = np.eye(label_probs.shape[1])[labels]
    return float(((label_probs - truth) ** 2).sum(axis=1).mean())


def top_label_brier(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Mean squared gap of confidence and correctness, in [0, 1].

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    return float(((confidence - correct) ** 2).mean())


def brier_split(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> BrierSplit:
    """The top-label Brier score, split by the isotonic reliability curve.

    The split is exact: nothing is lost in bins. Miscalibration is the calibration term,
    uncertainty - discrimination the refinement term.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Dimitriadis et al. 2021, equation 2 (MCB - DSC + UNC); Murphy 1973 for the idea.
    """
    score = top_label_brier(confidence, correct)
    curve = corp_curve(confidence, correct)
    rate = float(curve.counts @ curve.accuracy / curve.n_rows)
    uncertainty = rate * (1 - rate)
    # The isotonic fit is calibrated: its Brier score is the mean of p (1 - p).
    recalibrated = float(curve.counts @ (curve.accuracy * (1 - curve.accuracy)) / curve.n_rows)
    return BrierSplit(
        brier=score,
        miscalibration=max(0.0, score - recalibrated),
        discrimination=max(0.0, uncertainty - recalibrated),
        uncertainty=uncertainty,
    )
