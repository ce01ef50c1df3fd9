"""Intervals and paired tests: how far a measured figure may be from the truth.

Binomial intervals are exact (Clopper-Pearson) or Wilson's, those of two shares on the same rows
Bonett and Price's; everything else is a percentile bootstrap over rows, seeded. It assumes that
rows are independent draws from one population and does not know whether they are. Quantiles come
from ``scipy.special``: ``scipy.stats`` gives the same numbers and takes a second to import.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.special import bdtr, betaincinv, ndtri

from glassbox.errors import InvalidData
from glassbox.stats.checking import (
    checked_count,
    checked_fraction,
    checked_numbers,
    checked_truths,
    checked_vector,
    seeded,
)

CHUNK_CELLS: Final = 2_000_000
"""Simulated cells held at once; bounds memory at a few tens of megabytes."""


@dataclass(frozen=True)
class Interval:
    """A figure and the range that the data leave open for it."""

    estimate: float
    """The figure on all rows."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    level: float
    """Nominal coverage of [low, high], in (0, 1)."""


@dataclass(frozen=True)
class McNemar:
    """Rows on which exactly one of two models is right, and whether that could be chance."""

    n_first_only: int
    """Rows that only the first model got right."""
    n_second_only: int
    """Rows that only the second model got right."""
    p_value: float
    """Two-sided exact binomial p-value; 1 where the models never differ."""


def clopper_pearson(
    n_events: Shaped[np.ndarray, "*shape"] | int,
    n_rows: Shaped[np.ndarray, "*shape"] | int,
    *,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Lower and upper ends of the exact two-sided interval of a proportion.

    Where there are no rows, the interval is [0, 1].

    Raises:
        InvalidData: Counts that are negative, or more events than rows.
        InvalidValue: A level outside (0, 1).

    Source: Clopper & Pearson 1934, Biometrika 26(4), by quantiles of the beta distribution.
    """
    events, rows = _checked_counts(n_events, n_rows)
    tail = (1 - checked_fraction("level", level)) / 2
    low = betaincinv(np.maximum(events, 1), rows - events + 1, tail)
    high = betaincinv(events + 1, np.maximum(rows - events, 1), 1 - tail)
    return np.where(events == 0, 0.0, low), np.where(events == rows, 1.0, high)


def clopper_pearson_upper(
    n_events: Shaped[np.ndarray, "*shape"] | int,
    n_rows: Shaped[np.ndarray, "*shape"] | int,
    *,
    level: float = 0.9,
) -> Float[np.ndarray, "*shape"]:
    """One-sided exact upper bound of a proportion: the truth is above it at most 1 - level often.

    Where there are no rows, the bound is 1.

    Raises:
        InvalidData: Counts that are negative, or more events than rows.
        InvalidValue: A level outside (0, 1).

    Source: Clopper & Pearson 1934, Biometrika 26(4).
    """
    events, rows = _checked_counts(n_events, n_rows)
    checked_fraction("level", level)
    bound = betaincinv(events + 1, np.maximum(rows - events, 1), level)
    return np.where(events == rows, 1.0, bound)


def wilson(
    n_events: Shaped[np.ndarray, "*shape"] | int,
    n_rows: Shaped[np.ndarray, "*shape"] | int,
    *,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Lower and upper ends of Wilson's interval of a proportion; [0, 1] without rows.

    Shorter than Clopper-Pearson; covers ``level`` on average, not always.

    Raises:
        InvalidData: Counts that are negative, or more events than rows.
        InvalidValue: A level outside (0, 1).

    Source: Wilson 1927, JASA 22(158); Brown, Cai & DasGupta 2001, equation 4.
    """
    events, rows = _checked_counts(n_events, n_rows)
    z = ndtri((1 + checked_fraction("level", level)) / 2)
    size = np.maximum(rows, 1)
    share = events / size
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    low = np.where(events == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(events == rows, 1.0, np.clip(centre + half, 0, 1))
    return np.where(rows == 0, 0.0, low), high


def proportion_interval(events: Bool[np.ndarray, " n"], *, level: float = 0.95) -> Interval:
    """Share of true rows (an accuracy, for example) with its Clopper-Pearson interval.

    Raises:
        InvalidData: Not one value per row, or another than true and false.
        NotEnoughData: No rows.
    """
    checked = checked_truths("events", events)
    low, high = clopper_pearson(int(checked.sum()), checked.size, level=level)
    return Interval(float(checked.mean()), float(low), float(high), level)


def bootstrap_interval(
    statistic: Callable[[Int[np.ndarray, "draws n"]], Float[np.ndarray, " draws"]],
    n_rows: int,
    *,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """A statistic of all rows with its percentile bootstrap interval.

    The percentile interval keeps the statistic's own bias: that of a calibration error of a nearly
    calibrated model lies too high.

    Args:
        statistic: Takes a matrix of row numbers, one resample per row, and returns one value each.
        n_rows: Rows to draw from.
        level: Nominal coverage, in (0, 1).
        n_draws: Resamples.
        seed: Fixes the resamples, so that two statistics can be compared on the same ones.

    Raises:
        InvalidData: The statistic returns something else than one value for each resample.
        InvalidValue: A level outside (0, 1), or no rows or draws.

    Source: Efron 1979; Efron & Tibshirani 1993, chapter 13.
    """
    tail = (1 - checked_fraction("level", level)) / 2
    resamples = resampled_rows(n_rows, n_draws=n_draws, seed=seed)
    on_all = np.asarray(statistic(np.arange(n_rows)[None, :]))
    if on_all.shape != (1,):
        raise InvalidData(
            f"the statistic of one resample has shape {on_all.shape}, not (1,): it is given a "
            "matrix with one resample in each row, and returns one value for each"
        )
    estimate = float(on_all[0])
    values = np.concatenate([statistic(rows) for rows in resamples])
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(estimate, float(low), float(high), level)


def resampled_rows(n_rows: int, *, n_draws: int, seed: int) -> Iterator[Int[np.ndarray, "draws n"]]:
    """Row numbers drawn with replacement, one resample per row, in chunks that fit in memory.

    Raises:
        InvalidValue: No rows or no resamples.
    """
    checked_count("n_draws", n_draws)
    checked_count("n_rows", n_rows)
    rng = seeded(seed)
    chunk = max(1, CHUNK_CELLS // n_rows)
    return (
        rng.integers(n_rows, size=(min(chunk, n_draws - start), n_rows))
        for start in range(0, n_draws, chunk)
    )


def paired_difference(
    first: Shaped[np.ndarray, " n"],
    second: Shaped[np.ndarray, " n"],
    *,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean of ``second - first`` over the same rows, with a bootstrap interval.

    With -log p of the true label this is the difference in NLL. It closes to a point where all rows
    differ by the same: for shares take ``paired_share_difference``. Where a few rows decide the
    mean, it covers less than ``level``: simulated 0.8 with 100 rows and 0.9 with 400.

    Raises:
        InvalidData: Different lengths, NaN or infinity.
        NotEnoughData: No rows.
    """
    gain = checked_vector("second", second)
    base = checked_vector("first", first)
    if gain.size != base.size:
        raise InvalidData(
            f"first has {base.size} rows, second has {gain.size}; rows must be paired"
        )
    gain = gain - base
    return bootstrap_interval(
        lambda rows: gain[rows].mean(axis=1), gain.size, level=level, n_draws=n_draws, seed=seed
    )


def paired_share_difference(
    first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"], *, level: float = 0.95
) -> Interval:
    """Share of true rows in ``second`` less that in ``first``, on the same rows, with its interval.

    With correctness as values this is the gain in accuracy, in [-1, 1]. A bootstrap knows no other
    rows than these: where few differ, or all in favour of one, its interval closes too far. This
    one stays open as far as so many rows leave it.

    Raises:
        InvalidData: Different lengths, or values other than true and false.
        NotEnoughData: No rows.

    Source: Bonett & Price 2012, J. Educ. Behav. Stat. 37(4): Wald's interval with one row added to
    each of the two kinds of disagreement.
    """
    old, new = _paired(first, second)
    n_lost, n_won = int((old & ~new).sum()), int((~old & new).sum())
    size = old.size + 2
    lost, won = (n_lost + 1) / size, (n_won + 1) / size
    centre = won - lost
    z = float(ndtri((1 + checked_fraction("level", level)) / 2))
    half = z * float(np.sqrt((won + lost - centre**2) / size))
    return Interval(
        (n_won - n_lost) / old.size, max(-1.0, centre - half), min(1.0, centre + half), level
    )


def mcnemar(
    first_correct: Bool[np.ndarray, " n"], second_correct: Bool[np.ndarray, " n"]
) -> McNemar:
    """McNemar's exact test of whether two models are right equally often on the same rows.

    Raises:
        InvalidData: Different lengths, or values other than true and false.
        NotEnoughData: No rows.

    Source: McNemar 1947, Psychometrika 12(2); exact form by the binomial distribution.
    """
    first, second = _paired(first_correct, second_correct)
    n_first_only = int((first & ~second).sum())
    n_second_only = int((~first & second).sum())
    n_differ = n_first_only + n_second_only
    # With a fair coin both tails are alike, so the two-sided probability is twice the smaller one.
    tail = float(bdtr(min(n_first_only, n_second_only), n_differ, 0.5)) if n_differ else 1.0
    return McNemar(n_first_only, n_second_only, min(1.0, 2 * tail))


def _paired(
    first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    one, two = (
        checked_truths(name, values) for name, values in (("first", first), ("second", second))
    )
    if one.size != two.size:
        raise InvalidData(f"first has {one.size} rows, second has {two.size}; pair the rows")
    return one, two


def _checked_counts(
    n_events: Shaped[np.ndarray, "*shape"] | int, n_rows: Shaped[np.ndarray, "*shape"] | int
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    events, rows = checked_numbers("n_events", n_events), checked_numbers("n_rows", n_rows)
    try:
        events, rows = np.broadcast_arrays(events, rows)
    except ValueError:
        raise InvalidData(f"n_events has shape {events.shape}, n_rows has {rows.shape}") from None
    if not ((events >= 0) & (events <= rows)).all():
        raise InvalidData("counts must satisfy 0 <= n_events <= n_rows")
    return events, rows
