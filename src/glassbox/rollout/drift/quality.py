"""How good the answers are: realised where labels have come, estimated where they have not.

The estimate rests on the confidence, calibrated on the reference's own labels where there are
enough. It sees that harder rows come; it cannot see that the same rows mean something else now:
that is what late labels are for. Knows no database.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import stats

from glassbox.rollout.drift.report import Metric, Quality
from glassbox.rollout.drift.windows import Window
from glassbox.stats.calibrators.isotonic import Isotonic
from glassbox.stats.drift.performance_estimate import estimate_accuracy, estimate_auroc
from glassbox.stats.intervals import Interval
from glassbox.stats.selective.ranking import auroc

LEVEL: Final = 0.99
"""Coverage of the intervals."""

FALL_LEVEL: Final = 0.999
"""Coverage beyond which a fall is no chance: it is looked for again and again."""

LEAST_FALL: Final = 0.02
"""Fall that counts, in the unit of the measure: two points."""

LEAST_LABELS: Final = 100
"""Labelled rows below which a realised measure is not given."""

LEAST_OF_EACH: Final = 10
"""Labelled rows of the rarer class below which no realised area is given: with two to nine of them
it falls by chance more than ten times as often as ``FALL_LEVEL`` says (simulated)."""

CALIBRATION_ROWS: Final = 500
"""Labelled rows of the reference from which the confidence is calibrated on them."""


def estimated(reference: Window, current: Window) -> tuple[Quality, ...]:
    """Return the quality to expect without labels, the measure that counts first.

    Of two classes that is the area under the ROC curve, else the accuracy. Empty where the answers
    have no confidence, or come from another version than the reference's.
    """
    if reference.model_version != current.model_version:
        return ()
    found: list[Quality | None] = []
    if reference.prob is not None and current.prob is not None:
        found.append(_estimated_area(reference, current))
    if reference.confidence is not None and current.confidence is not None:
        before, now = _calibrated(reference.confidence, reference.is_right, current.confidence)
        if min(before.size, now.size):
            first = estimate_accuracy(before, level=LEVEL)
            second = estimate_accuracy(now, level=LEVEL)
            found.append(_quality("accuracy", second, first, now.size, is_realised=False))
    return tuple(each for each in found if each is not None)


def realised(reference: Window, current: Window) -> tuple[Quality, ...]:
    """Return the quality on the rows whose truth is known, the measure that counts first.

    Empty where fewer than 100 rows of the window are labelled; the area also takes ten of either
    class. The reference's own value stands beside it only where the same version answered.
    """
    is_same = reference.model_version == current.model_version
    now = _outcomes(current)
    before = _outcomes(reference) if is_same else {}
    found = []
    for metric, interval in now.items():
        value, n = interval
        then = before.get(metric)
        found.append(
            _quality(metric, value, None if then is None else then[0], n, is_realised=True)
        )
    return tuple(found)


def area_interval(
    prob: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"], *, level: float = LEVEL
) -> Interval | None:
    """Return the area under the ROC curve with its interval; None where a class has no two rows.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44(3), by mid-ranks as in Sun & Xu
    2014.
    """
    positive, negative = prob[is_positive], prob[~is_positive]
    area = auroc(prob, is_positive)
    if area is None or min(positive.size, negative.size) < 2:
        return None
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[: positive.size] - stats.rankdata(positive)) / negative.size
    below = (ranks[positive.size :] - stats.rankdata(negative)) / positive.size
    spread = np.sqrt(above.var(ddof=1) / positive.size + below.var(ddof=1) / negative.size)
    half = float(stats.norm.isf((1 - level) / 2) * spread)
    return Interval(area, max(0.0, area - half), min(1.0, area + half), level)


def _estimated_area(reference: Window, current: Window) -> Quality | None:
    if reference.prob is None or current.prob is None:
        return None
    raw = current.prob[~np.isnan(current.prob)]
    before, now = _calibrated(reference.prob, reference.is_first, current.prob)
    if min(before.size, now.size) == 0:
        return None
    ranked = reference.prob[~np.isnan(reference.prob)]
    first = estimate_auroc(before, ranking=ranked, level=LEVEL)
    second = estimate_auroc(now, ranking=raw, level=LEVEL)
    if second is None:
        return None
    return _quality("auroc", second, first, now.size, is_realised=False)


def _calibrated(
    reference: Float[np.ndarray, " n"],
    truth: Float[np.ndarray, " n"] | None,
    current: Float[np.ndarray, " m"],
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " j"]]:
    """Return both windows' probabilities, calibrated on the reference's labels if they suffice."""
    there = reference[~np.isnan(reference)]
    now = current[~np.isnan(current)]
    if truth is None:
        return there, now
    is_known = ~np.isnan(reference) & ~np.isnan(truth)
    labels = truth[is_known].astype(np.int64)
    if labels.size < CALIBRATION_ROWS or np.unique(labels).size < 2:
        return there, now
    fitted = Isotonic.fit(_pairs(reference[is_known]), labels)
    return (
        fitted.apply(_pairs(there))[:, 1] if there.size else there,
        fitted.apply(_pairs(now))[:, 1] if now.size else now,
    )


def _pairs(prob: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    return np.stack([1 - prob, prob], axis=1)


def _outcomes(window: Window) -> dict[Metric, tuple[Interval, int]]:
    found: dict[Metric, tuple[Interval, int]] = {}
    if window.prob is not None and window.is_first is not None:
        is_known = _known(window.prob, window.is_first)
        n_first = int((window.is_first[is_known] == 1).sum())
        n_rarer = min(n_first, int(is_known.sum()) - n_first)
        if is_known.sum() >= LEAST_LABELS and n_rarer >= LEAST_OF_EACH:
            area = area_interval(window.prob[is_known], window.is_first[is_known] == 1)
            if area is not None:
                found["auroc"] = (area, int(is_known.sum()))
    if window.is_right is not None:
        right = window.is_right[~np.isnan(window.is_right)]
        if right.size >= LEAST_LABELS:
            found["accuracy"] = (estimate_accuracy(right, level=LEVEL), right.size)
    return found


def _known(*columns: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return np.asarray(np.logical_and.reduce([~np.isnan(each) for each in columns]))


def _quality(
    metric: Metric, now: Interval, before: Interval | None, n: int, *, is_realised: bool
) -> Quality:
    found = Quality(
        metric=metric,
        method="realised" if is_realised else "estimated",
        value=now.estimate,
        low=now.low,
        high=now.high,
        reference=None if before is None else before.estimate,
        n=n,
        fell=None,
    )
    if before is None:
        return found
    fall = before.estimate - now.estimate
    # Half the lengths of the intervals towards each other, added as independent errors are.
    noise = np.hypot(before.estimate - before.low, now.high - now.estimate)
    noise *= stats.norm.isf((1 - FALL_LEVEL) / 2) / stats.norm.isf((1 - LEVEL) / 2)
    return replace(found, fell=bool(fall > max(LEAST_FALL, noise)))
