"""How many automated rows a promise about the error rate takes.

All counts are of *automated* rows: divide by the share automated for rows in all. They follow
from the one-sided exact binomial bound alone, whatever the model.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import bdtr

from glassbox.errors import InvalidValue
from glassbox.stats.checking import checked_count, checked_fraction

MOST_ERRORS: Final = 4096
"""Errors up to which a sample size is searched: a true rate of about 0.96 of the promised one."""


def rows_needed(max_error: float, confidence_level: float, n_errors: int) -> int:
    """Fewest rows whose Clopper-Pearson upper bound with ``n_errors`` errors is at most max_error.

    Args:
        max_error: Error rate promised, a fraction in (0, 1).
        confidence_level: Probability with which the promise must hold, in (0, 1).
        n_errors: Errors observed among the rows.

    Raises:
        InvalidValue: A fraction outside (0, 1) or a negative count.

    Source: Clopper & Pearson 1934; the bound is met where P(Binomial(n, max_error) <= n_errors)
        is at most 1 - confidence_level.
    """
    checked_count("n_errors", n_errors, minimum=0)
    return int(_rows_needed(max_error, confidence_level, np.array([n_errors]))[0])


def rows_for_power(
    max_error: float, confidence_level: float, error_rate: float, *, power: float = 0.8
) -> int | None:
    """Fewest rows that show the promise with probability ``power`` if the truth is error_rate.

    None where thousands of errors would have to be seen: the two rates are too close to tell.

    Args:
        max_error: Error rate promised, a fraction in (0, 1).
        confidence_level: Probability with which the promise must hold, in (0, 1).
        error_rate: True error rate supposed, in [0, max_error).
        power: Probability of success wanted, in (0, 1).

    Raises:
        InvalidValue: A fraction outside its range.

    Source: exact binomial power, as in Chernick & Liu 2002, The American Statistician 56(2).
    """
    checked_fraction("power", power)
    checked_fraction("max_error", max_error)
    if not 0 <= error_rate < max_error:
        raise InvalidValue("error_rate", error_rate, f"a fraction in [0, {max_error})")
    first, size = 0, 64
    while first < MOST_ERRORS:
        # For a given number of errors allowed, power is best at the fewest rows that allow it.
        n_errors = np.arange(first, first + size)
        rows = _rows_needed(max_error, confidence_level, n_errors)
        is_enough = bdtr(n_errors, rows, error_rate) >= power
        if is_enough.any():
            return int(rows[np.argmax(is_enough)])
        first, size = first + size, 2 * size
    return None


def errors_allowed(
    n_rows: Int[np.ndarray, " m"], max_error: float, confidence_level: float
) -> Int[np.ndarray, " m"]:
    """Most errors among ``n_rows`` with which the promise is still shown; -1 where none are."""
    delta = 1 - checked_fraction("confidence_level", confidence_level)
    checked_fraction("max_error", max_error)
    rows = np.asarray(n_rows)
    low, high = np.full(rows.shape, -1), np.ceil(rows * max_error).astype(np.intp)
    # Invariant: low is allowed, high is not; the binomial's median forbids ceil(n * max_error).
    while (high - low > 1).any():
        middle = (low + high) // 2
        is_allowed = (middle < 0) | (_cdf(middle, rows, max_error) <= delta)
        low, high = np.where(is_allowed, middle, low), np.where(is_allowed, high, middle)
    return low


def _rows_needed(
    max_error: float, confidence_level: float, n_errors: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " m"]:
    delta = 1 - checked_fraction("confidence_level", confidence_level)
    checked_fraction("max_error", max_error)
    low, high = n_errors.copy(), n_errors + 1
    # Invariant: low rows are too few; high is doubled until it is enough, then bisected.
    while (too_few := _cdf(n_errors, high, max_error) > delta).any():
        low, high = np.where(too_few, high, low), np.where(too_few, 2 * high, high)
    while (high - low > 1).any():
        middle = (low + high) // 2
        is_enough = _cdf(n_errors, middle, max_error) <= delta
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return high


def _cdf(
    n_errors: Int[np.ndarray, " m"], n_rows: Int[np.ndarray, " m"], rate: float
) -> Float[np.ndarray, " m"]:
    """P(Binomial(n_rows, rate) <= n_errors), with the counts as the exact integers they are."""
    return np.asarray(bdtr(n_errors.astype(np.float64), n_rows, rate))
