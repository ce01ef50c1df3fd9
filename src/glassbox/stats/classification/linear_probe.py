"""Linear rules that tell two kinds of rows apart by many features, and how one of them is chosen.

Two rules: logistic regression on standardised features with a strong L2 penalty, and the
difference of the class means, which has nothing to tune and travels well. Folds keep the rows of a
group together. Knows nothing of models, layers or texts: features are columns.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import fmin_l_bfgs_b
from scipy.special import expit

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.stats.checking import checked_correct, checked_count

PENALTIES: Final = (1e4, 1e3, 1e2, 1e1, 1e0)
"""Penalties tried, strongest first. Source: the published lie-detector probes chose between 100
and 10,000 on standardised features."""
MAX_STEPS: Final = 3000
"""Steps of the optimiser; a penalised fit takes tens to a few hundred."""
GRADIENT_TOLERANCE: Final = 1e-7
"""Largest component of the gradient of the mean loss at which a fit ends."""
CONSTANT: Final = 1e-9
"""Standard deviation, relative to the largest magnitude, at which a feature counts as constant."""


@dataclass(frozen=True, eq=False)
class LinearRule:
    """logit = weight · (x - mean) / scale + bias."""

    weight: Float[np.ndarray, " d"]
    """Log-odds per standard deviation of each feature."""
    bias: float
    """Log-odds at the mean."""
    mean: Float[np.ndarray, " d"]
    """Mean of each feature on the rows it was fitted on."""
    scale: Float[np.ndarray, " d"]
    """Their standard deviation; 1 where a feature was constant."""

    def logits(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Log-odds of the positive kind for each row."""
        weight, bias = self.folded()
        return np.asarray(features @ weight + bias)

    def folded(self) -> tuple[Float[np.ndarray, " d"], float]:
        """Weight and bias on features as they are, the standardisation folded in."""
        weight = self.weight / self.scale
        return weight, float(self.bias - weight @ self.mean)


def logistic_path(
    features: Float[np.ndarray, "n d"],
    is_positive: Bool[np.ndarray, " n"],
    penalties: Sequence[float] = PENALTIES,
) -> tuple[LinearRule, ...]:
    """A logistic rule for each penalty, in their order.

    Each minimises the summed log loss plus ``penalty / 2`` times the squared weights of the
    standardised features; the bias is free.

    Args:
        features: Any scale.
        is_positive: The kind of each row.
        penalties: Above 0; strongest first is fastest, because each fit starts from the last.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        InvalidValue: A penalty that is not above 0.
        NotEnoughData: No positive or no negative row.

    Source: Hoerl & Kennard 1970 and Le Cessie & van Houwelingen 1992 (ridge logistic regression).
    """
    if not penalties or min(penalties) <= 0:
        raise InvalidValue("penalties", tuple(penalties), "one or more numbers above 0")
    features, is_positive = _checked(features, is_positive)
    mean, scale = _standard(features)
    design = (features - mean) / scale
    outcome = is_positive.astype(np.float64)
    share = outcome.mean()
    at = np.append(np.zeros(design.shape[1]), np.log(share / (1 - share)))
    rules = []
    for penalty in penalties:
        at = _fit(design, outcome, penalty, at)
        rules.append(LinearRule(at[:-1], float(at[-1]), mean, scale))
    return tuple(rules)


def difference_in_means(
    features: Float[np.ndarray, "n d"], is_positive: Bool[np.ndarray, " n"]
) -> LinearRule:
    """The rule along the difference of the class means of standardised features.

    Its scale is that of the one-dimensional discriminant along this direction, so that the logit
    is a log-odds if the readings of both classes are normal with one variance.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        NotEnoughData: No positive or no negative row.

    Source: Marks & Tegmark 2023, "The geometry of truth" (mass-mean probe, diagonal covariance);
        Fisher 1936 for the scale.
    """
    features, is_positive = _checked(features, is_positive)
    mean, scale = _standard(features)
    design = (features - mean) / scale
    upper, lower = design[is_positive].mean(axis=0), design[~is_positive].mean(axis=0)
    direction = upper - lower
    reading = design @ direction
    gaps = np.where(is_positive, reading - upper @ direction, reading - lower @ direction)
    spread = float((gaps**2).mean())
    # Readings without any spread separate perfectly; a finite slope is as good as any.
    slope = float(direction @ direction) / spread if spread > 1e-12 else 1.0
    share = is_positive.mean()
    prior = float(np.log(share / (1 - share)))
    middle = float((upper + lower) @ direction / 2)
    return LinearRule(slope * direction, prior - slope * middle, mean, scale)


def grouped_folds(
    groups: Sequence[str], is_positive: Bool[np.ndarray, " n"], *, n_folds: int, seed: int
) -> Int[np.ndarray, " n"]:
    """The fold of each row, 0 … n_folds - 1: groups whole, kinds spread evenly.

    Args:
        groups: Name of each row's group.
        is_positive: The kind of each row.
        n_folds: Folds, at least 2.
        seed: Decides the order in which groups are dealt out.

    Raises:
        InvalidData: Different lengths.
        NotEnoughData: Fewer groups than folds, or a fold that cannot hold both kinds.
    """
    checked_count("n_folds", n_folds, minimum=2)
    is_positive = checked_correct(is_positive, len(groups))
    names = sorted(set(groups))
    place = {name: at for at, name in enumerate(names)}
    number = np.array([place[name] for name in groups])
    n_rows = np.bincount(number)
    n_positive = np.bincount(number, weights=is_positive)
    if len(names) < n_folds:
        raise NotEnoughData(f"{n_folds} folds (groups)", len(names), n_folds)
    order = sorted(
        range(len(names)), key=lambda each: (-n_rows[each], hash_order(names[each], seed))
    )
    taken = np.zeros((n_folds, 2))
    fold_of_group = np.empty(len(names), dtype=np.intp)
    overall = np.array([n_positive.sum(), n_rows.sum() - n_positive.sum()]) / n_folds
    for each in order:
        own = np.array([n_positive[each], n_rows[each] - n_positive[each]])
        # Into the fold that is furthest from its share of what this group brings.
        room = (own * (taken - overall)).sum(axis=1)
        chosen = int(np.argmin(room))
        fold_of_group[each] = chosen
        taken[chosen] += own
    if (taken == 0).any():
        kind = ("positive", "negative")[int(np.argmax((taken == 0).any(axis=0)))]
        raise NotEnoughData(
            f"{n_folds} folds (groups with {kind} rows)",
            int((taken[:, 0 if kind == "positive" else 1] > 0).sum()),
            n_folds,
        )
    return np.asarray(fold_of_group[number])


def hash_order(name: str, seed: int) -> bytes:
    """A key that puts names in an order decided by the seed alone, the same on every machine."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


def out_of_fold(
    features: Float[np.ndarray, "n d"],
    is_positive: Bool[np.ndarray, " n"],
    fold: Int[np.ndarray, " n"],
    penalties: Sequence[float] = PENALTIES,
) -> Float[np.ndarray, "n_rules n"]:
    """Log-odds of each row by rules that did not see its fold.

    The first rules are logistic, one for each penalty; the last one is the difference in means.
    """
    logits = np.empty((len(penalties) + 1, len(features)))
    for held_out in np.unique(fold):
        is_out = fold == held_out
        rules = (
            *logistic_path(features[~is_out], is_positive[~is_out], penalties),
            difference_in_means(features[~is_out], is_positive[~is_out]),
        )
        for row, rule in enumerate(rules):
            logits[row, is_out] = rule.logits(features[is_out])
    return logits


def selection_bias(figures: Float[np.ndarray, "n_candidates n_folds"]) -> float:
    """How much the mean of the best candidate flatters it, estimated from its folds; at least 0.

    In each fold, the best candidate of that fold is compared with the one that is best over all:
    what choosing gains there by chance, choosing over all folds gains as well.

    Args:
        figures: Larger is better, one column a fold.

    Source: Tibshirani & Tibshirani 2009, Annals of Applied Statistics 3(2), equation 4.
    """
    best = int(np.argmax(figures.mean(axis=1)))
    return float((figures.max(axis=0) - figures[best]).mean())


def _fit(
    design: Float[np.ndarray, "n d"],
    outcome: Float[np.ndarray, " n"],
    penalty: float,
    start: Float[np.ndarray, " p"],
) -> Float[np.ndarray, " p"]:
    n_rows = len(outcome)

    def objective(at: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        weight = at[:-1]
        logits = design @ weight + at[-1]
        residual = (expit(logits) - outcome) / n_rows
        loss = float((np.logaddexp(0, logits) - outcome * logits).mean())
        gradient = np.append(design.T @ residual + penalty / n_rows * weight, residual.sum())
        return loss + penalty / (2 * n_rows) * float(weight @ weight), gradient

    found, _, _ = fmin_l_bfgs_b(
        objective, start, m=20, factr=10.0, pgtol=GRADIENT_TOLERANCE, maxiter=MAX_STEPS
    )
    return np.asarray(found)


def _standard(
    features: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varies = deviation > CONSTANT * np.maximum(np.abs(features).max(axis=0), 1e-300)
    return mean, np.where(varies, deviation, 1.0)


def _checked(
    features: Float[np.ndarray, "n d"], is_positive: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidData(f"features has shape {matrix.shape}; (rows, features) needed")
    if not np.isfinite(matrix).all():
        raise InvalidData("features holds NaN or infinity")
    positive = checked_correct(is_positive, len(matrix))
    for name, count in _kinds(positive):
        if not count:
            raise NotEnoughData(f"A linear rule ({name} rows)", 0, 1)
    return matrix, positive


def _kinds(positive: Bool[np.ndarray, " n"]) -> Iterator[tuple[str, int]]:
    yield "positive", int(positive.sum())
    yield "negative", int((~positive).sum())
