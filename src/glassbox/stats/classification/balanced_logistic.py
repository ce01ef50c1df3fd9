"""Logistic regression whose mean prediction may be held near the outcome within each stratum.

Ordinary logistic regression is right on average over all rows, and over rows of equal prediction.
Where strata cannot be told apart by the features it is then wrong in each stratum: it shrinks them
towards one another. Where a training set names its strata, a penalty on each stratum's mean gap
trades a little sharpness for means that hold. Knows nothing of what the features are.

Source: the penalty follows the constrained estimates of Ghosh 1992, JASA 87(418): posterior means
are under-dispersed across groups, and a constraint on the ensemble undoes it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import fmin_l_bfgs_b
from scipy.special import expit

from glassbox.errors import InvalidData, NotEnoughData

CLIP: Final = 6.0
"""Standardised features are cut at so many standard deviations: one odd row must not rule."""
LEAST_OF_EACH: Final = 10
"""Fewest right and fewest wrong rows a fit takes. Source: Peduzzi et al. 1996."""
MOST_STEPS: Final = 500
"""Steps of the optimiser; these problems are small and need tens."""


@dataclass(frozen=True)
class Balance:
    """How strongly strata are balanced; without it the fit is ordinary."""

    pull: float = 300.0
    """Weight of the squared gaps against the mean log loss (nats)."""
    slack: float = 0.06
    """Gap between mean prediction and outcome that is let be, a fraction."""


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """A fitted linear map from features to log-odds."""

    mean: Float[np.ndarray, " d"]
    """Mean of each feature."""
    scale: Float[np.ndarray, " d"]
    """Standard deviation of each feature; 1 for a constant one."""
    weight: Float[np.ndarray, " d"]
    """Log-odds per standard deviation."""
    bias: float
    """Log-odds at the mean."""

    def terms(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """What each feature adds to the log-odds, against its mean."""
        return np.asarray(_standardised(features, self.mean, self.scale) * self.weight)

    def logits(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Log-odds of each row."""
        return np.asarray(self.terms(features).sum(axis=1) + self.bias)


def fit_balanced_logistic(
    features: Float[np.ndarray, "n d"],
    correct: Bool[np.ndarray, " n"],
    *,
    l2: float,
    strata: Int[np.ndarray, " n"] | None = None,
    balance: Balance | None = None,
) -> LogisticFit:
    """Return the fit of least mean log loss plus ``l2 / 2`` times the squared weights.

    Args:
        features: Finite values.
        correct: The outcome.
        l2: Strength of the penalty on weights of standardised features; the bias is free.
        strata: Number of each row's stratum, 0 and up; -1 belongs to none.
        balance: How strata are balanced; None does not.

    Raises:
        InvalidData: NaN or infinity.
        NotEnoughData: Fewer than ten right or ten wrong rows.
    """
    if not np.isfinite(features).all():
        raise InvalidData("a feature is NaN or infinite")
    n_least = int(min(correct.sum(), (~correct).sum()))
    if n_least < LEAST_OF_EACH:
        raise NotEnoughData("Fitting right against wrong (rows of the rarer kind)", n_least, 10)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    design = np.c_[_standardised(features, mean, scale), np.ones(len(features))]
    outcome = correct.astype(np.float64)
    groups = [] if strata is None else [strata == each for each in range(int(strata.max()) + 1)]
    groups = [each for each in groups if each.any()]

    def objective(weights: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        logits = design @ weights
        prob = expit(logits)
        loss = float((np.logaddexp(0, logits) - outcome * logits).mean())
        slope = design.T @ (prob - outcome) / len(outcome)
        free = np.r_[weights[:-1], 0.0]
        loss, slope = loss + l2 / 2 * float(free @ free), slope + l2 * free
        if balance is not None and groups:
            share = balance.pull / len(groups)
            for rows in groups:
                gap = float((prob[rows] - outcome[rows]).mean())
                over = np.sign(gap) * max(0.0, abs(gap) - balance.slack)
                spread = (prob[rows] * (1 - prob[rows])) @ design[rows] / rows.sum()
                loss, slope = loss + share * over**2, slope + 2 * share * over * spread
        return loss, slope

    start = np.zeros(design.shape[1])
    found, _, _ = fmin_l_bfgs_b(objective, start, maxiter=MOST_STEPS)
    return LogisticFit(mean, scale, found[:-1], float(found[-1]))


def _standardised(
    features: Float[np.ndarray, "n d"],
    mean: Float[np.ndarray, " d"],
    scale: Float[np.ndarray, " d"],
) -> Float[np.ndarray, "n d"]:
    return np.asarray(np.clip((features - mean) / scale, -CLIP, CLIP))
