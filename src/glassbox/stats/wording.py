"""How many decimals a number takes so that rounding does not change what a sentence says.

A promise of 1.25 % must not read as one of 1.2 %, nor a threshold of 99.98 % as one of 100 %.
"""

from typing import Final

MOST_DECIMALS: Final = 10
"""Decimals beyond which nobody reads, and floating point has nothing more to say."""


def decimals_exact(value: float, fewest: int) -> int:
    """Return the fewest decimals, from ``fewest`` on, with which a number is told in full.

    Example:
        >>> [decimals_exact(each, 1) for each in (5.0, 1.25, 100 * 0.07)]
        [1, 2, 1]
    """
    return next(
        (n for n in range(fewest, MOST_DECIMALS) if round(value, n) == round(value, MOST_DECIMALS)),
        MOST_DECIMALS,
    )


def decimals_apart(low: float, high: float, fewest: int) -> int:
    """Return the fewest decimals, from ``fewest`` on, with which ``low`` reads as less than high.

    Numbers that are not apart need no more than ``fewest``.

    Example:
        >>> [decimals_apart(each, 100, 1) for each in (86.92, 99.96, 99.998, 100)]
        [1, 2, 3, 1]
    """
    if low >= high:
        return fewest
    return next(
        (n for n in range(fewest, MOST_DECIMALS) if round(low, n) < round(high, n)), MOST_DECIMALS
    )
