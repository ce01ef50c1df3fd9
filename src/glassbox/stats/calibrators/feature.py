"""Confidence from several signals at once: a logistic regression on whether the answer is right.

Made for consistency features beside the one-pass confidence: no one of them is a probability, and
the fit says how much each adds. It gives P(the predicted label is right), not label_probs.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, log1p

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.calibrators.newton import Expansion, convex_minimum
from glassbox.stats.calibrators.parametric import LOGPROB_FLOOR
from glassbox.stats.checking import checked_confidence, checked_correct

EVENTS_PER_VARIABLE: Final = 10
"""Rows of the rarer outcome asked for per feature. Source: Peduzzi et al. 1996."""
DEPENDENT: Final = 1e-6
"""Standard deviation, against its own, that the features before leave of one that they tell."""


@dataclass(frozen=True)
class FeatureCalibrator:
    """sigmoid(intercept + weights · features), fitted without penalty."""

    intercept: float
    """Log-odds where all features are 0."""
    weights: tuple[float, ...]
    """Log-odds per unit of each feature; 0 for one that was constant or that those before it tell
    by a straight line."""

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n d"], correct: Bool[np.ndarray, " n"]) -> Self:
        """The weights of least NLL.

        Raises:
            InvalidData: NaN, infinity, or different lengths.
            NotEnoughData: Fewer right or wrong answers than ten per feature that tells something,
                or features that separate them perfectly.

        Source: Cox 1958 (logistic regression).
        """
        matrix = _checked_features(features)
        outcome = checked_correct(correct, len(matrix))
        spread = matrix.std(axis=0)
        centre = matrix.mean(axis=0)
        scaled = (matrix - centre) / np.where(spread > 1e-12, spread, 1.0)
        told = _independent(scaled)
        rarer = int(min(outcome.sum(), (~outcome).sum()))
        need = EVENTS_PER_VARIABLE * max(1, int(told.sum()))
        if rarer < need:
            raise NotEnoughData("A feature calibrator (of the rarer outcome)", rarer, need)
        design = np.column_stack([np.ones(len(matrix)), scaled[:, told]])
        start = np.zeros(design.shape[1])
        fitted = convex_minimum(lambda at: _logistic_expansion(at, design, outcome), start)
        # A fit that sets every row right could always be made steeper.
        if fitted is None or ((design @ fitted > 0) == outcome).all():
            raise NotEnoughData(
                "A feature calibrator (rows that break a perfect separation)",
                0,
                1,
                remedy="Leave a feature out or bring more rows.",
            )
        weights = np.zeros(matrix.shape[1])
        weights[told] = fitted[1:] / spread[told]
        return cls(float(fitted[0] - weights @ centre), tuple(map(float, weights)))

    def apply(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Calibrated confidence, inside (0, 1).

        Raises:
            InvalidData: NaN, infinity, or another number of features.
        """
        matrix = _checked_features(features)
        if matrix.shape[1] != len(self.weights):
            raise InvalidData(
                f"{matrix.shape[1]} features given, {len(self.weights)} weights known"
            )
        return np.asarray(expit(self.intercept + matrix @ np.array(self.weights)))


def confidence_log_odds(confidence: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """log(c / (1 - c)), within ±27.6: the form in which confidence is a feature.

    Raises:
        InvalidData: NaN or out of range.
        NotEnoughData: No rows.
    """
    floor = float(np.exp(LOGPROB_FLOOR))
    clipped = np.clip(checked_confidence(confidence), floor, 1 - floor)
    return np.asarray(np.log(clipped) - log1p(-clipped))


def _logistic_expansion(
    at: Float[np.ndarray, " d"], design: Float[np.ndarray, "n d"], outcome: Bool[np.ndarray, " n"]
) -> Expansion:
    """Mean NLL with its derivatives."""
    logit = design @ at
    prob = expit(logit)
    value = float((np.logaddexp(0, logit) - outcome * logit).mean())
    gradient = design.T @ (prob - outcome) / len(design)
    hessian = (design * (prob * (1 - prob))[:, None]).T @ design / len(design)
    return Expansion(value, gradient, hessian)


def _independent(scaled: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " d"]:
    """Which features, centred and of unit deviation or 0, those before them do not tell."""
    kept = np.zeros(scaled.shape[1], dtype=np.bool_)
    for column, values in enumerate(scaled.T):
        before = scaled[:, kept]
        left = values - before @ np.linalg.lstsq(before, values)[0] if kept.any() else values
        kept[column] = left.std() > DEPENDENT
    return kept


def _checked_features(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidData(f"features has shape {matrix.shape}; (rows, features) needed")
    if not np.isfinite(matrix).all():
        raise InvalidData("features holds NaN or infinity")
    return matrix
