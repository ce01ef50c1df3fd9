"""Which features an answer depends on, and whether that has changed between two windows.

Needs no model: it sees features and answers only. What it measures is each feature's own share, so
a dependence that shows only in combination with another feature is not seen.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.checking import seeded, vary

PERMUTATIONS: Final = 199
"""Random splits of the pooled rows: with the real one 200, so that the p-value is a multiple of
0.005."""

LEAST_ROWS: Final = 50
"""Rows of each window below which shares of variance are noise."""


@dataclass(frozen=True)
class ImportanceDrift:
    """How the importances of one window stand to those of another."""

    reference: tuple[float, ...]
    """Share of the variance of the answers that each feature explains alone, [0, 1]."""
    current: tuple[float, ...]
    """The same, now."""
    rank_correlation: float | None
    """Spearman's correlation of the two; None where one of them does not vary."""
    distance: float
    """Mean absolute difference of the shares, [0, 1]."""
    p_value: float
    """Probability of as large a distance if the windows had been drawn from one lot."""


def explained_shares(
    bins: Int[np.ndarray, "n features"], answers: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " features"]:
    """Return the share of the variance of the answers that each binned feature explains alone.

    What chance explains is taken off: a feature without influence has a share of about 0.

    Args:
        bins: Bin of each row in each feature, from 0.
        answers: The number answered for each row.

    Raises:
        InvalidData: Different numbers of rows.
        NotEnoughData: Fewer than 50 rows.

    Source: first-order sensitivity index, Sobol 1993; epsilon squared, Kelley 1935, as the
    correction for chance.
    """
    n = answers.size
    if bins.shape[0] != n:
        raise InvalidData(f"{bins.shape[0]} rows of features for {n} answers")
    if n < LEAST_ROWS:
        raise NotEnoughData("A share of explained variance", n, LEAST_ROWS)
    if not vary(answers):
        # What rounding leaves of one number would be explained in full by every feature.
        return np.zeros(bins.shape[1])
    centred = answers - answers.mean()
    total = float(centred @ centred)
    shares = []
    for column in bins.T:
        counts = np.bincount(column)
        sums = np.bincount(column, weights=centred)
        present = counts > 0
        between = float((sums[present] ** 2 / counts[present]).sum())
        n_bins = int(present.sum())
        noise = (n_bins - 1) * (total - between) / max(1, n - n_bins)
        shares.append(max(0.0, between - noise) / total)
    return np.asarray(np.minimum(1.0, shares))


def importance_drift(
    reference: tuple[Int[np.ndarray, "n features"], Float[np.ndarray, " n"]],
    current: tuple[Int[np.ndarray, "m others"], Float[np.ndarray, " m"]],
    *,
    seed: int = 0,
) -> ImportanceDrift:
    """Return whether answers depend on the features as they did.

    Args:
        reference: Bins of the features, and answers.
        current: The same of the other window.
        seed: Of the random splits.

    Raises:
        InvalidData: Different numbers of rows or features.
        NotEnoughData: Fewer than 50 rows on a side.

    Source: permutation test, Fisher 1935; Phipson & Smyth 2010 for counting the real split.
    """
    before, now = explained_shares(*reference), explained_shares(*current)
    if before.size != now.size:
        raise InvalidData(f"{before.size} and {now.size} features cannot be compared")
    bins = np.concatenate([reference[0], current[0]])
    answers = np.concatenate([reference[1], current[1]])
    n, generator = reference[1].size, seeded(seed)
    distance = _distance(before, now)
    n_as_far = 0
    for _ in range(PERMUTATIONS):
        order = generator.permutation(answers.size)
        first, second = order[:n], order[n:]
        drawn = _distance(
            explained_shares(bins[first], answers[first]),
            explained_shares(bins[second], answers[second]),
        )
        n_as_far += drawn >= distance
    return ImportanceDrift(
        tuple(map(float, before)),
        tuple(map(float, now)),
        _rank_correlation(before, now),
        distance,
        (1 + n_as_far) / (1 + PERMUTATIONS),
    )


def _distance(first: Float[np.ndarray, " k"], second: Float[np.ndarray, " k"]) -> float:
    return float(np.abs(first - second).mean()) if first.size else 0.0


def _rank_correlation(
    first: Float[np.ndarray, " k"], second: Float[np.ndarray, " k"]
) -> float | None:
    if min(np.unique(first).size, np.unique(second).size) < 2:
        return None
    return float(stats.spearmanr(first, second).statistic)
