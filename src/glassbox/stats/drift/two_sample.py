"""How far two samples of one number, or two counts over the same bins, lie apart.

Numbers are compared by their empirical distribution functions, counts by their proportions. Each
p-value takes the rows as independent draws; rows that resemble their neighbours in time make it
too small, which is why an effect size stands beside it wherever something is decided.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats

from glassbox.errors import InvalidData, NotEnoughData

LEAST_EXPECTED: Final = 5.0
"""Rows expected in a bin below which it is joined with others for the chi-square test.

Source: Cochran 1954, Biometrics 10(4).
"""


@dataclass(frozen=True)
class NumberComparison:
    """Two samples of a number."""

    ks: float
    """Largest distance of the two distribution functions, [0, 1]."""
    p_value: float
    """Probability of as large a distance if both came from one distribution; conservative with
    ties."""
    wasserstein: float
    """Mean distance that a row has to move, in the unit of the number."""


@dataclass(frozen=True)
class CountComparison:
    """Two counts over the same bins."""

    chi_square: float
    """Pearson's statistic of homogeneity, rare bins joined."""
    p_value: float
    """Probability of as large a statistic if both came from one distribution."""
    cramers_v: float
    """The statistic as an effect size, [0, 1]: it does not grow with the number of rows."""


def compare_numbers(
    reference: Float[np.ndarray, " n"], current: Float[np.ndarray, " m"]
) -> NumberComparison:
    """Return how far two samples lie apart, both sorted ascending and finite.

    Raises:
        NotEnoughData: One of them is empty.

    Source: two-sample Kolmogorov-Smirnov test, its null distribution by the one-sample one at
    the effective number of rows n m / (n + m) as in scipy's ``ks_2samp(method="asymp")``;
    Wasserstein distance of order 1 as the area between the distribution functions.
    """
    n, m = reference.size, current.size
    if min(n, m) == 0:
        raise NotEnoughData("A comparison of two samples", 0, 1)
    # Two ascending runs are merged in linear time by a stable sort.
    merged = np.concatenate([reference, current])
    order = np.argsort(merged, kind="stable")
    merged = merged[order]
    is_current = order >= n
    n_current = np.cumsum(is_current)
    places = np.arange(1, n + m + 1)
    gaps = (places - n_current) / n - n_current / m
    widths = np.diff(merged)
    # Between equal values there is no gap to see: only the last of them counts.
    is_last = np.append(widths > 0, True)
    ks = float(np.abs(gaps[is_last]).max())
    area = float(np.abs(gaps[:-1]) @ widths)
    effective = round(n * m / (n + m))
    return NumberComparison(ks, float(stats.kstwo.sf(ks, max(1, effective))), area)


def compare_counts(
    reference: Shaped[np.ndarray, " bins"], current: Shaped[np.ndarray, " other"]
) -> CountComparison:
    """Return how far two counts lie apart.

    Bins in which fewer than 5 rows of the smaller sample are expected are joined with each
    other. Where one bin is left there is nothing to compare: statistic 0, p-value 1.

    Raises:
        InvalidData: Different lengths, negative or non-finite counts.
        NotEnoughData: No rows on one side.

    Source: Pearson's chi-square test of homogeneity; Cramér 1946 for V.
    """
    first, second = checked_counts(reference, current)
    table = _join_rare(np.stack([first, second]))
    if table.shape[1] < 2:
        return CountComparison(0.0, 1.0, 0.0)
    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    statistic = float(((table - expected) ** 2 / expected).sum())
    return CountComparison(
        statistic,
        float(stats.chi2.sf(statistic, table.shape[1] - 1)),
        float(np.sqrt(statistic / total)),
    )


def jensen_shannon(
    reference: Shaped[np.ndarray, " bins"], current: Shaped[np.ndarray, " other"]
) -> float:
    """Return the Jensen-Shannon distance of two counts, [0, 1].

    Raises:
        InvalidData: Different lengths, negative or non-finite counts.
        NotEnoughData: No rows on one side.

    Source: Lin 1991, IEEE Trans. Inf. Theory 37(1); Endres & Schindelin 2003 for the root, which
    makes it a metric. Logarithms to base 2.
    """
    first, second = checked_counts(reference, current)
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(min(1.0, max(0.0, divergence))))


def checked_counts(
    reference: Shaped[np.ndarray, " bins"], current: Shaped[np.ndarray, " other"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Return both counts as float64.

    Raises:
        InvalidData: Different lengths, negative or non-finite counts.
        NotEnoughData: No rows on one side.
    """
    first = np.asarray(reference, dtype=np.float64)
    second = np.asarray(current, dtype=np.float64)
    if first.shape != second.shape:
        raise InvalidData(f"counts over {first.size} and {second.size} bins cannot be compared")
    for counts in (first, second):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise InvalidData("counts must be finite and at least 0")
        if counts.sum() == 0:
            raise NotEnoughData("A comparison of two counts", 0, 1)
    return first, second


def _relative_entropy(p: Float[np.ndarray, " bins"], q: Float[np.ndarray, " bins"]) -> float:
    present = p > 0
    return float((p[present] * np.log2(p[present] / q[present])).sum())


def _join_rare(table: Float[np.ndarray, "2 bins"]) -> Float[np.ndarray, "2 joined"]:
    shares = table.sum(axis=0) / table.sum()
    expected = shares * table.sum(axis=1).min()
    is_rare = expected < LEAST_EXPECTED
    kept = np.asarray(table[:, ~is_rare])
    if not is_rare.any():
        return kept
    rest = table[:, is_rare].sum(axis=1, keepdims=True)
    if float(expected[is_rare].sum()) >= LEAST_EXPECTED:
        return np.concatenate([kept, rest], axis=1)
    if kept.shape[1] == 0:
        return np.asarray(rest)
    # What is rare even together goes to the least common of the others.
    smallest = int(kept.sum(axis=0).argmin())
    kept[:, smallest : smallest + 1] += rest
    return kept
