"""Differences of two means that may be looked at after every observation.

The two are observed apart, as the arms of an experiment are. Knows nothing of where they come from.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.stats.checking import checked_fraction
from glassbox.stats.sequential.means import PRECISION, BoundedMean, Bounds, Coins

N_NARROWINGS: Final = 10
"""Most times that the range of a mean not asked about is narrowed to two of eleven parts."""

LOG_ROUNDING: Final = 1e-3
"""How far below the logarithm of the least coins what is found may be."""

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
    wanted_low, wanted_high = _wanted(alpha_low), _wanted(alpha_high)
    lowest, highest = first.low - second.high, first.high - second.low
    if not first.n:
        return Bounds(math.nan, lowest, highest)
    below, above = _both_sides(first, second, second_at_most)
    value = first.mean - (second.mean if second.n else 0.0)
    high = _lowest(lambda each: below.reach(each, wanted_high), lowest, highest)
    low = -_lowest(lambda each: above.reach(-each, wanted_low), -highest, -lowest)
    return Bounds(value, low, high)


def difference_p_values(
    first: BoundedMean, second: BoundedMean, at: float = 0.0
) -> tuple[float, float]:
    """Return two p-values that hold at every look: that the difference is no smaller, no larger.

    The first is small where the first mean less the second is below ``at`` for sure, the second
    where it is above.

    Source: Ville 1939; p = 1 / coins, as in Ramdas & others 2023, Statistical Science 38(4).
    """
    below, above = _both_sides(first, second, math.inf)
    return math.exp(-max(below.at(at), 0.0)), math.exp(-max(above.at(at), 0.0))


def is_difference_sure(first: BoundedMean, second: BoundedMean, alpha: float) -> bool:
    """Return whether one of ``difference_p_values`` is at most alpha; sooner than these are known.

    Raises:
        InvalidValue: alpha outside (0, 1).
    """
    wanted = _wanted(alpha)
    return any(each.reach(0.0, wanted) for each in _both_sides(first, second, math.inf))


class _Product:
    """Coins against claims on a difference, whatever the second mean is."""

    def __init__(
        self, of_first: Coins, of_second: Coins, low: float, high: float, *, is_alone: bool
    ) -> None:
        self._of_first = of_first
        self._of_second = of_second
        self._low = low
        self._high = high
        self._is_alone = is_alone
        self._known = (0.0, low, high)

    def at(self, difference: float) -> float:
        """Return the logarithm of the coins against a difference, rounded down."""
        return self._least(difference, math.nan)

    def reach(self, difference: float, wanted: float) -> bool:
        """Return whether that is at least so much."""
        return self._least(difference, wanted) >= wanted

    def _least(self, difference: float, wanted: float) -> float:
        """Return the least over all second means, or what is on the same side of ``wanted``.

        The logarithm is convex in the second mean: with a stake f it is, up to constants, a sum of
        log(a - m) - log(high - m) with a >= high, and so is the logarithm of a sum of such coins.
        What surrounds the lowest of some values therefore holds the minimum, which lies above the
        lines through them, carried on.
        """
        if self._is_alone:
            # Then either end of its range is the worst.
            return float(self._of_first(difference + np.array([self._low, self._high])).min())
        low, high = self._around(difference)
        least = math.inf
        for _ in range(N_NARROWINGS):
            grid = low + (high - low) * _SHARES
            coins = self._of_first(difference + grid) + self._of_second(grid)
            place = int(coins.argmin())
            least = float(coins[place])
            low = float(grid[max(place - 1, 0)])
            high = float(grid[min(place + 1, grid.size - 1)])
            self._known = difference, low, high
            if least < wanted or math.isinf(least):
                return least
            # At an end of the range the line of the two values beside it is the one that counts.
            middle = min(max(place, 1), coins.size - 2)
            before, here, after = (float(each) for each in coins[middle - 1 : middle + 2])
            depth = max(before, after) - here
            if depth <= LOG_ROUNDING or least - depth >= wanted:
                return least - depth
        return least - LOG_ROUNDING

    def _around(self, difference: float) -> tuple[float, float]:
        """Return where the minimum is, known from where it was for another difference.

        As the difference grows it moves down, and by no more than that, because both are convex.

        Source: Topkis 1978, Operations Research 26(2), theorem 6.1.
        """
        other, low, high = self._known
        moved = difference - other
        low, high = low - max(moved, 0.0), high - min(moved, 0.0)
        return max(low, self._low), min(high, self._high)


def _both_sides(
    first: BoundedMean, second: BoundedMean, second_at_most: float
) -> tuple[_Product, _Product]:
    """Return coins against "the difference is at least" and against "it is at most"."""
    low, high = second.low, min(second.high, second_at_most)
    is_alone = second.n == 0
    return (
        _Product(first.log_coins_below, second.log_coins_above, low, high, is_alone=is_alone),
        _Product(first.log_coins_above, second.log_coins_below, low, high, is_alone=is_alone),
    )


def _wanted(alpha: float) -> float:
    return math.log(1 / checked_fraction("alpha", alpha))


def _lowest(is_refuted: Callable[[float], bool], low: float, high: float) -> float:
    """Return the lowest number that is refuted, rounded up; all above it are, too."""
    width = (high - low) * PRECISION
    while high - low > width:
        middle = (low + high) / 2
        if is_refuted(middle):
            high = middle
        else:
            low = middle
    return high
