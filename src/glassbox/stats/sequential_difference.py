"""Differences of two means that may be looked at after every observation.

The two are observed apart, as the arms of an experiment are. Knows nothing of where they come from.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.stats.sequential import BoundedMean, Bounds, Coins, lowest_mean

N_NARROWINGS: Final = 8
"""Times that the range of a mean that is not asked about is narrowed to two of eleven parts."""

LOG_ROUNDING: Final = 1e-3
"""Taken off the logarithm of coins that were found by narrowing."""

_SHARES: Final[Float[np.ndarray, " shares"]] = np.linspace(0.0, 1.0, 12)


def difference_bounds(
    first: BoundedMean,
    second: BoundedMean,
    alpha_low: float,
    alpha_high: float,
    *,
    second_at_most: float = math.inf,
) -> Bounds:
    """Return the first mean less the second with one-sided bounds, whatever the second mean is.

    The two tallies hold different observations, made in any order. The coins against "the first is
    at least p + d" and against "the second is at most p" are multiplied; that their product is
    large for every p is evidence against a difference of d. Nothing is spent on a second mean that
    is known well, as it would be if each had an interval of its own.

    Args:
        first: As it says.
        second: As it says; empty, it may be anything in its range.
        alpha_low: For the lower bound.
        alpha_high: For the upper bound.
        second_at_most: What the second mean is known not to exceed, beforehand.

    Raises:
        InvalidValue: An alpha outside (0, 1).

    Source: product of e-values over a nuisance parameter, Ramdas & others 2023, Statistical
        Science 38(4), section 5; Turner, Ly & Grünwald 2024, JSPI 230.
    """
    if not first.n:
        return Bounds(math.nan, first.low - second.high, first.high - second.low)
    pair = _Pair(first, second, second_at_most)
    lowest, highest = first.low - second.high, first.high - second.low
    value = first.mean - (second.mean if second.n else 0.0)
    high = lowest_mean(pair.log_coins_below, lowest, highest, alpha_high, at_once=1)
    low = -lowest_mean(
        lambda means: pair.log_coins_above(-means), -highest, -lowest, alpha_low, at_once=1
    )
    return Bounds(value, low, high)


def difference_p_values(
    first: BoundedMean, second: BoundedMean, at: float = 0.0
) -> tuple[float, float]:
    """Return two p-values that hold at every look: that the difference is no smaller, no larger.

    The first is small where the first mean less the second is below ``at`` for sure, the second
    where it is above.

    Source: Ville 1939; p = 1 / coins, as in Ramdas & others 2023, Statistical Science 38(4).
    """
    pair, means = _Pair(first, second, math.inf), np.array([at])
    below, above = pair.log_coins_below(means)[0], pair.log_coins_above(means)[0]
    return math.exp(-max(float(below), 0.0)), math.exp(-max(float(above), 0.0))


class _Pair:
    """Coins against claims on a difference, whatever the second mean is."""

    def __init__(self, first: BoundedMean, second: BoundedMean, second_at_most: float) -> None:
        self._first = first
        self._second = second
        self._low = second.low
        self._high = min(second.high, second_at_most)

    def log_coins_below(self, means: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return self._least(means, self._first.log_coins_below, self._second.log_coins_above)

    def log_coins_above(self, means: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return self._least(means, self._first.log_coins_above, self._second.log_coins_below)

    def _least(
        self, means: Float[np.ndarray, " m"], of_first: Coins, of_second: Coins
    ) -> Float[np.ndarray, " m"]:
        """Return the smallest product of coins over all second means.

        The logarithm is convex in the second mean: with a stake f it is, up to constants, a sum of
        log(a - m) - log(high - m) with a >= high, and so is the logarithm of a sum of such coins.
        What surrounds the lowest of some values therefore holds the minimum.
        """
        if not self._second.n:
            # Then either end of its range is the worst.
            return np.minimum(of_first(means + self._low), of_first(means + self._high))
        low, high = np.full(means.size, self._low), np.full(means.size, self._high)
        least = np.zeros(means.size)
        rows = np.arange(means.size)
        for _ in range(N_NARROWINGS):
            grid = low[:, None] + (high - low)[:, None] * _SHARES[None, :]
            coins = of_first((means[:, None] + grid).ravel()) + of_second(grid.ravel())
            coins = coins.reshape(grid.shape)
            place = coins.argmin(axis=1)
            least = coins[rows, place]
            low = grid[rows, np.maximum(place - 1, 0)]
            high = grid[rows, np.minimum(place + 1, grid.shape[1] - 1)]
        return least - LOG_ROUNDING
