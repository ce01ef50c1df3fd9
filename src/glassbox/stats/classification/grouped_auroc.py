"""How well readings separate right from wrong where rows come in groups.

Rows of one group (responses about one entity) are not independent, so the bootstrap draws groups
whole; differences between two readings are paired by drawing the same groups for both. Readings
may be any finite numbers: only their order counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.checking import checked_count, seeded
from glassbox.stats.intervals import Interval


@dataclass(frozen=True)
class Separation:
    """AUROC of one reading, and how far it stays behind a reference."""

    auroc: Interval
    """Probability that a right row reads higher than a wrong one, ties counted half."""
    behind: Interval
    """AUROC of the reference minus this one, paired; an interval below 0 means that it is
    better than the reference."""


def value_auroc(values: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Return the AUROC of any real readings, in [0, 1].

    Raises:
        InvalidData: NaN or infinity.
        NotEnoughData: No right or no wrong row.

    Source: Mann & Whitney 1947, by mid-ranks.
    """
    if not np.isfinite(values).all():
        raise InvalidData("a reading is NaN or infinite")
    n_right = int(correct.sum())
    n_wrong = len(correct) - n_right
    if not n_right or not n_wrong:
        raise NotEnoughData("AUROC (rows of the rarer kind)", 0, 1)
    rank_sum = float(rankdata(values)[correct].sum())
    return (rank_sum - n_right * (n_right + 1) / 2) / (n_right * n_wrong)


def grouped_separation(
    readings: Mapping[str, Float[np.ndarray, " n"]],
    correct: Bool[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    reference: str,
    level: float = 0.95,
    n_draws: int = 500,
    seed: int = 0,
) -> dict[str, Separation]:
    """Return each reading's AUROC with its interval, and its paired difference to a reference.

    Args:
        readings: By name; higher should mean right.
        correct: The outcome.
        groups: Number of each row's group.
        reference: Name of the reading that the others are compared with.
        level: Coverage of the percentile intervals.
        n_draws: Bootstrap draws; draws without a right or a wrong row are left out.
        seed: Of the draws.

    Raises:
        InvalidData: NaN or infinity.
        NotEnoughData: No right or no wrong row.

    Source: Field & Welsh 2007, JRSS-B 69(3) (cluster bootstrap).
    """
    checked_count("n_draws", n_draws)
    full = {name: value_auroc(each, correct) for name, each in readings.items()}
    members = [np.flatnonzero(groups == each) for each in np.unique(groups)]
    rng = seeded(seed)
    drawn: dict[str, list[float]] = {name: [] for name in readings}
    for _ in range(n_draws):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < int(correct[rows].sum()) < len(rows):
            for name, each in readings.items():
                drawn[name].append(value_auroc(each[rows], correct[rows]))
    tails = ((1 - level) / 2, (1 + level) / 2)
    ahead = np.array(drawn[reference])
    found = {}
    for name in readings:
        own = np.array(drawn[name])
        low, high = np.quantile(own, tails)
        worst, best = np.quantile(ahead - own, tails)
        found[name] = Separation(
            Interval(full[name], float(low), float(high), level),
            Interval(full[reference] - full[name], float(worst), float(best), level),
        )
    return found
