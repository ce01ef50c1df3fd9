"""How good a classifier is on rows whose truth nobody knows yet, from its own probabilities.

If a probability p means that the label is right with probability p, then the mean of p is the
accuracy to expect, and the expected area under the ROC curve follows likewise. This holds as long
as the probabilities stay calibrated: under a change of what comes in, not of what it means. Where
the meaning changes the estimate is wrong, and only labels show it.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.stats.checking import checked_confidence, checked_fraction, seeded
from glassbox.stats.intervals import Interval, wilson

RESAMPLES: Final = 200
"""Worlds drawn for the interval of an estimated area: enough for ends at 99 %, no further."""


def estimate_accuracy(confidence: Float[np.ndarray, " n"], *, level: float = 0.95) -> Interval:
    """Return the accuracy to expect from calibrated confidence, [0, 1].

    The interval covers the rows drawn and the luck of each, not a calibration that has gone
    wrong.

    Raises:
        InvalidData: A confidence outside [0, 1].
        NotEnoughData: No rows.
        InvalidValue: A level outside (0, 1).

    Source: Guillory et al. 2021, arXiv 2107.03315 (average confidence); Wilson 1927 for the
    interval, at the number of right rows to expect.
    """
    values = checked_confidence(confidence)
    low, high = wilson(np.asarray(values.sum()), values.size, level=level)
    return Interval(float(values.mean()), float(low), float(high), level)


def estimate_auroc(
    prob: Float[np.ndarray, " n"],
    *,
    ranking: Float[np.ndarray, " n"] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return the area under the ROC curve to expect from calibrated probabilities, [0, 1].

    None where the expected pairs of a positive and a negative row are fewer than one.

    Args:
        prob: Calibrated probability of the positive class.
        ranking: What the rows are ranked by; the probability itself by default.
        level: Coverage of the interval.
        seed: Of the worlds drawn for the interval.

    Raises:
        InvalidData: A probability outside [0, 1].
        NotEnoughData: No rows.
        InvalidValue: A level outside (0, 1).

    Source: NannyML's confidence-based performance estimation: the expected confusion matrix at
    every threshold. Here in its rank form, Mann & Whitney 1947, a row never paired with itself.
    """
    probs = checked_confidence(prob)
    tail = (1 - checked_fraction("level", level)) / 2
    _, places = np.unique(probs if ranking is None else ranking, return_inverse=True)
    n_places = int(places.max()) + 1
    expected = _expected_area(probs, places, n_places)
    if expected is None:
        return None
    generator = seeded(seed)
    areas = []
    for _ in range(RESAMPLES):
        rows = generator.integers(0, probs.size, probs.size)
        is_positive = generator.random(probs.size) < probs[rows]
        drawn = _area(
            np.bincount(places[rows][is_positive], minlength=n_places).astype(np.float64),
            np.bincount(places[rows][~is_positive], minlength=n_places).astype(np.float64),
        )
        if drawn is not None:
            areas.append(drawn)
    low, high = np.quantile(areas, [tail, 1 - tail]) if areas else (0.0, 1.0)
    return Interval(expected, min(float(low), expected), max(float(high), expected), level)


def _expected_area(
    probs: Float[np.ndarray, " n"], places: Int[np.ndarray, " n"], n_places: int
) -> float | None:
    positive = np.bincount(places, weights=probs, minlength=n_places)
    negative = np.bincount(places, weights=1 - probs, minlength=n_places)
    own = float((probs * (1 - probs)).sum())
    pairs = float(positive.sum() * negative.sum()) - own
    if pairs < 1:
        return None
    return min(1.0, max(0.0, (_wins(positive, negative) - own / 2) / pairs))


def _area(positive: Float[np.ndarray, " k"], negative: Float[np.ndarray, " k"]) -> float | None:
    pairs = float(positive.sum() * negative.sum())
    return _wins(positive, negative) / pairs if pairs else None


def _wins(positive: Float[np.ndarray, " k"], negative: Float[np.ndarray, " k"]) -> float:
    """Return the pairs that are ranked right, ties half, by place from the lowest."""
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2))
