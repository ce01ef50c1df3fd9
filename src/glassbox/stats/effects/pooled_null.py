"""How unlikely an effect is among those of random causes, when each has few of its own to compare.

Effects of random causes are put on one scale and pooled, and a law is fitted to the bulk of them:
some random causes are real ones, and those must not make the real ones look ordinary. Assumes that
scaled random effects are alike; knows nothing of what the effects are of.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import stdtr, stdtrit

from glassbox.errors import InvalidData
from glassbox.stats.checking import checked_vector

BULK: Final = (0.5, 0.9)
"""Quantiles of the absolute null values that the law goes through; what lies beyond is not used."""

MOST_DEGREES: Final = 30.0
"""Most degrees of freedom: the tail stays heavier than the normal law's, a margin for the fit."""

LEAST_NULL: Final = 50
"""Fewer null values than this are counted: no p-value is below one over their number."""

LEAST_OF_GROUP: Final = 3
"""Fewer null effects than this do not tell what is usual for a group."""


def pooled_p(
    observed: Shaped[np.ndarray, " n"], null: Shaped[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """Return the probability of a null value at least as large, for each observed value.

    Null values follow Student's law with the scale and the degrees of freedom that give their
    median and their 90 % quantile. The largest tenth does not matter: it may hold values that are
    not null. Without null values everything is 1.

    Args:
        observed: Absolute values on the null's scale.
        null: Absolute values of random causes.

    Raises:
        InvalidData: NaN, infinite or negative values.

    Source: a null law fitted to the bulk: Efron 2004, "Large-scale simultaneous hypothesis
    testing: the choice of a null hypothesis", JASA 99(465), with Student's law in place of the
    normal one; pooling: Storey and Tibshirani 2003, PNAS 100(16).
    """
    values, pool = _absolute(observed), _absolute(null)
    if pool.size == 0:
        return np.ones(values.size)
    middle, outer = np.quantile(pool, BULK)
    # Few values have no tail to continue, and where half of them are 0 there is no law of it.
    if pool.size < LEAST_NULL or middle <= 0:
        above = pool.size - np.searchsorted(np.sort(pool), values, side="left")
        counted: Float[np.ndarray, " n"] = (above + 1) / (pool.size + 1)
        return counted
    degrees = _degrees(outer / middle)
    scale = middle / stdtrit(degrees, (1 + BULK[0]) / 2)
    p: Float[np.ndarray, " n"] = 2 * stdtr(degrees, -values / scale)
    return p


def _degrees(ratio: float) -> float:
    """Return the degrees of freedom whose bulk quantiles have a ratio, at most ``MOST_DEGREES``."""
    candidates = np.geomspace(0.5, MOST_DEGREES, 400)
    ends = [stdtrit(candidates, (1 + share) / 2) for share in BULK]
    # The ratio falls as the degrees rise.
    heavier = candidates[ends[1] / ends[0] >= ratio]
    return float(heavier.max(initial=candidates[0]))


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """What random causes do, by group, and how far each of them is from the others of its group."""

    centre: Float[np.ndarray, " n_groups"]
    """Mean effect; NaN where too few tell."""
    spread: Float[np.ndarray, " n_groups"]
    """Standard deviation of one more effect around that mean, as far as the mean is known."""
    null_z: Float[np.ndarray, " m"]
    """Distance of each null effect from the rest of its group, in the rest's spread; NaN where
    they are too few."""

    def z(
        self, effects: Shaped[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Return how far effects are from what random causes do; NaN where that is not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (np.asarray(effects, np.float64) - self.centre[groups]) / self.spread[groups]
        return np.where(np.isfinite(z), z, np.nan)


def fit_random_effects(
    effects: Shaped[np.ndarray, " m"], groups: Int[np.ndarray, " m"], n_groups: int
) -> RandomEffects:
    """Return centre and spread of the effects of random causes in each group.

    The centre need not be 0: a large change disturbs whatever stood there before, whatever its
    direction. Where a group's effects are normal, distances follow Student's law whatever the
    group's own centre and spread, so that those of all groups can be pooled.

    Args:
        effects: Null effects.
        groups: Group of each.
        n_groups: How many groups there are.

    Raises:
        InvalidData: NaN or infinity.
        NotEnoughData: No null effects.

    Source: Student 1908, for one more value of a normal sample.
    """
    x = checked_vector("effects", effects)
    # Around a first guess, so that sums of squares do not lose what little they differ by.
    guess = np.bincount(groups, x, n_groups) / np.maximum(
        np.bincount(groups, minlength=n_groups), 1
    )
    x = x - guess[groups]
    n, total, squares = (
        np.bincount(groups, weights, n_groups) for weights in (np.ones(x.size), x, np.square(x))
    )
    centre, spread = _moments(n, total, squares)
    rest_centre, rest_spread = _moments(
        n[groups] - 1, total[groups] - x, squares[groups] - np.square(x)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x - rest_centre) / rest_spread
    return RandomEffects(centre + guess, spread, np.where(np.isfinite(z), z, np.nan))


def _moments(
    n: Float[np.ndarray, " k"], total: Float[np.ndarray, " k"], squares: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return means, and the deviation of one more value from them; NaN where there are too few."""
    enough = n >= LEAST_OF_GROUP
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(enough, total / n, np.nan)
        variance = np.maximum(squares - n * np.square(mean), 0.0) / (n - 1)
        spread = np.sqrt(variance * (1 + 1 / n))
    return mean, np.where(enough, spread, np.nan)


def _absolute(values: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    array = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise InvalidData("effects on the null's scale must be finite and absolute")
    return array
