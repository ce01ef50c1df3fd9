"""Finding the rare thing: ROC curve, rate found at few false alarms, and a threshold that keeps it.

Values are any real numbers, larger meaning more likely positive; only their order counts. Rows of
one group are not independent draws, so intervals resample whole groups. Knows nothing of models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.checking import (
    checked_correct,
    checked_count,
    checked_fraction,
    checked_vector,
    seeded,
)
from glassbox.stats.intervals import CHUNK_CELLS, Interval, wilson

FEW_FALSE_ALARMS: Final = 0.01
"""False-positive rate at which monitors are compared. Source: Goldowsky-Dill et al. 2025 (recall
at 1 % FPR)."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """True against false positives at each distinct value."""

    threshold: Float[np.ndarray, " n_points"]
    """Distinct values, descending; a row is flagged at or above."""
    false_positive_rate: Float[np.ndarray, " n_points"]
    """Share of negative rows flagged, ascending to 1."""
    true_positive_rate: Float[np.ndarray, " n_points"]
    """Share of positive rows flagged, ascending to 1."""
    n_positive: int
    """Positive rows."""
    n_negative: int
    """Negative rows."""


def roc_curve(values: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"]) -> RocCurve:
    """True-positive against false-positive rate at each distinct value, tied rows together.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        NotEnoughData: No positive or no negative row.

    Source: Fawcett 2006, algorithm 1.
    """
    values, is_positive = _checked(values, is_positive)
    distinct, place = np.unique(-values, return_inverse=True)
    positives = np.cumsum(np.bincount(place, weights=is_positive))
    negatives = np.cumsum(np.bincount(place, weights=~is_positive))
    return RocCurve(
        threshold=-distinct,
        false_positive_rate=negatives / negatives[-1],
        true_positive_rate=positives / positives[-1],
        n_positive=int(positives[-1]),
        n_negative=int(negatives[-1]),
    )


def detection_auroc(
    values: Float[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    *,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Probability that a positive row has the larger value, with its grouped bootstrap interval.

    Args:
        values: Readings.
        is_positive: What was to be found.
        groups: Rows of one group are drawn together; None draws row by row.
        level: Nominal coverage, in (0, 1).
        n_draws: Resamples; one that holds no positive or no negative row is left out.
        seed: Fixes the resamples.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        NotEnoughData: No positive or no negative row.

    Source: Hanley & McNeil 1982 (AUROC); Field & Welsh 2007 (cluster bootstrap); without overlap
        Feng & Cliff 2004, J. Mod. Appl. Stat. Methods 3(2).
    """
    values, is_positive = _checked(values, is_positive)
    area = _AreaOf(values, is_positive)
    found = _bootstrap(area, groups, values.size, (level, n_draws, seed))
    return _with_room(found, is_positive, groups)


def auroc_gain(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    *,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """AUROC of the second readings minus that of the first, on the same resamples of groups.

    Args:
        first: Readings to compare with.
        second: Other readings of the same rows.
        is_positive: What was to be found.
        groups: As in ``detection_auroc``.
        level: Nominal coverage, in (0, 1).
        n_draws: Resamples.
        seed: Fixes the resamples.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        NotEnoughData: No positive or no negative row.
    """
    one, is_positive = _checked(first, is_positive)
    two, _ = _checked(second, is_positive)
    areas = _AreaOf(one, is_positive), _AreaOf(two, is_positive)
    return _bootstrap(
        lambda weights: areas[1](weights) - areas[0](weights),
        groups,
        one.size,
        (level, n_draws, seed),
    )


def tpr_at_fpr(
    values: Float[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    *,
    max_fpr: float = FEW_FALSE_ALARMS,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Largest share of positive rows flagged with at most ``max_fpr`` of the negative ones.

    The threshold is found on these very rows, and anew in each resample: a description of how far
    the readings separate, not a promise for a fixed threshold. With fewer than ``1 / max_fpr``
    negative rows not one false alarm is allowed.

    Raises:
        InvalidData: NaN, infinity or different lengths.
        InvalidValue: max_fpr outside (0, 1).
        NotEnoughData: No positive or no negative row.
    """
    checked_fraction("max_fpr", max_fpr)
    values, is_positive = _checked(values, is_positive)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    positive = is_positive[order]

    def rate(weights: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
        sorted_weights = weights[:, order]
        found = np.cumsum(sorted_weights * positive, axis=1)
        alarms = np.cumsum(sorted_weights * ~positive, axis=1)
        # The tolerance keeps 3 alarms of 300 within 1 % in spite of rounding.
        allowed = alarms[:, ends] <= max_fpr * alarms[:, -1:] * (1 + 1e-9)
        best = np.where(allowed, found[:, ends], 0.0).max(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(alarms[:, -1] > 0, best / found[:, -1], np.nan))

    found = _bootstrap(rate, groups, values.size, (level, n_draws, seed))
    return _with_room(found, is_positive, groups)


def threshold_for_fpr(
    negatives: Float[np.ndarray, " n"], max_fpr: float = FEW_FALSE_ALARMS
) -> float | None:
    """Lowest value at which a new negative row is flagged with probability at most ``max_fpr``.

    The promise is over the draw of these rows and of the new one, all independent and from one
    population; of rows that come in groups give ``one_of_each``. Flag values at or above the
    threshold; None where there are too few negative rows for any.

    Args:
        negatives: Readings of negative rows that fitted nothing.
        max_fpr: False-positive rate to keep, in (0, 1).

    Raises:
        InvalidData: NaN or infinity.
        InvalidValue: max_fpr outside (0, 1).
        NotEnoughData: No rows.

    Source: Bates et al. 2023, "Testing for outliers with conformal p-values", equation 2.
    """
    checked_fraction("max_fpr", max_fpr)
    ordered = np.sort(checked_vector("negatives", negatives))[::-1]
    # A new row is flagged if at most ``n_allowed`` of the n + 1 rows stand as high as itself.
    n_allowed = int(np.floor(max_fpr * (ordered.size + 1) + 1e-9))
    if n_allowed < 1:
        return None
    return float(np.nextafter(ordered[n_allowed - 1], np.inf))


def negatives_needed(max_fpr: float) -> int:
    """Fewest negative rows with which ``threshold_for_fpr`` gives a threshold."""
    return int(np.ceil(1 / checked_fraction("max_fpr", max_fpr) - 1e-9)) - 1


def one_of_each(groups: Shaped[np.ndarray, " n"], *, seed: int) -> Int[np.ndarray, " n_groups"]:
    """Return the place of one row of each group, drawn by lot, in ascending order.

    Rows of one group are right or wrong together, so that a promise about independent rows may
    count one of them only.
    """
    order = seeded(seed).permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return np.sort(order[first])


class _AreaOf:
    """AUROC of some rows under weights; called with one row of weights for each resample."""

    def __init__(
        self, values: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"]
    ) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
        self._positive = is_positive[self._order]

    def __call__(self, weights: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
        ordered = weights[:, self._order]
        right = np.add.reduceat(ordered * self._positive, self._starts, axis=1)
        wrong = np.add.reduceat(ordered * ~self._positive, self._starts, axis=1)
        below = np.cumsum(wrong, axis=1) - wrong / 2
        with np.errstate(invalid="ignore"):
            return np.asarray((right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1)))


def _bootstrap(
    statistic: Callable[[Float[np.ndarray, "draws n"]], Float[np.ndarray, " draws"]],
    groups: Shaped[np.ndarray, " n"] | None,
    n_rows: int,
    choice: tuple[float, int, int],
) -> Interval:
    """The statistic of all rows with its percentile interval over resamples of groups."""
    level, n_draws, seed = choice
    tail = (1 - checked_fraction("level", level)) / 2
    checked_count("n_draws", n_draws)
    number = _group_numbers(groups, n_rows)
    n_groups = int(number.max()) + 1
    rng = seeded(seed)
    estimate = float(statistic(np.ones((1, n_rows)))[0])
    chunk = max(1, CHUNK_CELLS // n_rows)
    values = []
    for start in range(0, n_draws, chunk):
        size = min(chunk, n_draws - start)
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        values.append(statistic(drawn[:, number].astype(np.float64)))
    drawn_values = np.concatenate(values)
    usable = drawn_values[np.isfinite(drawn_values)]
    if not usable.size:
        raise NotEnoughData("An interval (resamples that hold both kinds of rows)", 0, 1)
    low, high = np.quantile(usable, (tail, 1 - tail))
    return Interval(estimate, float(low), float(high), level)


def _with_room(
    found: Interval, is_positive: Bool[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"] | None
) -> Interval:
    """Return the interval, not closed where the kinds do not overlap and all resamples agree.

    It is then that of so many of so many, or of none, in the smaller kind; a group counts once.
    """
    if found.low < found.high or found.estimate not in (0.0, 1.0):
        return found
    number = _group_numbers(groups, is_positive.size)
    kinds = (np.unique(number[is_positive]).size, np.unique(number[~is_positive]).size)
    low, high = wilson(int(found.estimate) * min(kinds), min(kinds), level=found.level)
    return Interval(found.estimate, float(low), float(high), found.level)


def _group_numbers(groups: Shaped[np.ndarray, " n"] | None, n_rows: int) -> Int[np.ndarray, " n"]:
    if groups is None:
        return np.arange(n_rows)
    if groups.shape != (n_rows,):
        raise InvalidData(f"groups has shape {groups.shape}, values has ({n_rows},)")
    return np.unique(groups, return_inverse=True)[1]


def _checked(
    values: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    checked = checked_vector("values", values)
    positive = checked_correct(is_positive, checked.size)
    if positive.all() or not positive.any():
        missing = "negative" if positive.all() else "positive"
        raise NotEnoughData(f"Detection ({missing} rows)", 0, 1)
    return checked, positive
