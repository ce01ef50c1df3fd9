"""The population stability index over bins that were fixed once, from the reference.

Bins that move with every window make two windows incomparable; a fixed limit of 0.1 or 0.25 cries
on small windows and sleeps on large ones. So the bins are frozen, and the limit knows how many
rows there are on both sides.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import stats

from glassbox.errors import NotEnoughData
from glassbox.stats.checking import checked_count, checked_fraction
from glassbox.stats.drift.two_sample import checked_counts

LEAST_LIMIT: Final = 0.1
"""Index below which a shift is called small whatever the number of rows.

Source: the customary rule of credit scoring, Siddiqi 2006, Credit Risk Scorecards.
"""

LEVEL: Final = 0.99
"""Probability with which the index stays below the limit of chance where nothing has changed."""

HALF: Final = 0.5
"""Rows added to every bin, so that an empty one gives a finite index. Source: Jeffreys' prior."""


def population_stability(
    reference: Shaped[np.ndarray, " bins"], current: Shaped[np.ndarray, " other"]
) -> float:
    """Return the population stability index of two counts over the same bins, at least 0.

    Raises:
        InvalidData: Different lengths, negative or non-finite counts.
        NotEnoughData: No rows on one side.

    Source: symmetrised relative entropy, Jeffreys 1946; natural logarithms.
    """
    first, second = (counts + HALF for counts in checked_counts(reference, current))
    p, q = first / first.sum(), second / second.sum()
    return float(((p - q) * np.log(p / q)).sum())


def stability_limit(
    n_reference: int, n_current: int, n_bins: int, *, level: float = LEVEL
) -> float:
    """Return the index from which a shift is neither small nor chance.

    Without a shift the index is distributed like (1/n + 1/N) times a chi-square variable with
    one degree of freedom less than there are bins; the limit is its quantile, or 0.1 if that is
    more.

    Raises:
        InvalidValue: Fewer than one row or bin, or a level outside (0, 1).

    Source: Yurdakul 2018, Statistical properties of population stability index, section 3.
    """
    for what, value in (("n_reference", n_reference), ("n_current", n_current), ("bins", n_bins)):
        checked_count(what, value)
    if n_bins == 1:
        return LEAST_LIMIT
    quantile = float(stats.chi2.ppf(checked_fraction("level", level), n_bins - 1))
    return max(LEAST_LIMIT, quantile * (1 / n_reference + 1 / n_current))


def frozen_cuts(values: Float[np.ndarray, " n"], n_bins: int = 10) -> Float[np.ndarray, " cuts"]:
    """Return the inner bounds of bins that hold about equally many of the values.

    Values that take few distinct values get a bin each. A bin includes its lower bound. The
    outermost bins are open, so that whatever comes later falls into one.

    Args:
        values: Those of the reference, sorted ascending.
        n_bins: Most bins.

    Raises:
        NotEnoughData: No values.
    """
    if values.size == 0:
        raise NotEnoughData("Bins", 0, 1)
    starts = np.concatenate([values[:1], values[1:][np.diff(values) > 0]])
    if starts.size <= n_bins:
        return starts[1:]
    places = np.arange(1, n_bins) * values.size // n_bins
    cuts = np.unique(values[places])
    return np.asarray(cuts[cuts > values[0]])


def binned(
    values: Float[np.ndarray, " n"], cuts: Float[np.ndarray, " cuts"]
) -> Int[np.ndarray, " n"]:
    """Return the bin of each value, from 0; a value on a bound is in the bin above it."""
    return np.searchsorted(cuts, values, side="right")


def sorted_counts(
    values: Float[np.ndarray, " n"], cuts: Float[np.ndarray, " cuts"]
) -> Int[np.ndarray, " bins"]:
    """Return how many of some ascending values fall into each bin."""
    ends = np.searchsorted(values, cuts, side="left")
    return np.diff(np.concatenate([[0], ends, [values.size]]))
