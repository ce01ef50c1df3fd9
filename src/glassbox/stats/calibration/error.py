"""Calibration error, each figure with what it is worth.

Binned (ECE, MCE) and debiased errors, the interval of the ECE, and the level that a perfectly
calibrated model would show at the same number of rows. A small calibration error says nothing of
how well confidence separates right from wrong: see ``selective.ranking``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr, ndtri

from glassbox.stats.calibration.binning import (
    DEFAULT_BINS,
    bin_edges,
    bin_numbers,
    reliability_curve,
)
from glassbox.stats.calibration.simulation import bin_totals_under_calibration
from glassbox.stats.checking import (
    checked_confidence,
    checked_correct,
    checked_count,
    checked_fraction,
    checked_outcomes,
    seeded,
)
from glassbox.stats.intervals import Interval, clopper_pearson

CLEAR_GAP: Final = 2.5
"""Standard deviations from 0 at which the sign of a bin's gap counts as known. Simulated from 30 to
2,000 rows, a larger one widens intervals and a smaller one makes them miss."""


@dataclass(frozen=True)
class MaximumError:
    """The bin whose accuracy is furthest from its confidence."""

    value: float
    """Absolute gap, a fraction."""
    bin_low: float
    """Lower edge of the bin (not in it, unless 0)."""
    bin_high: float
    """Upper edge of the bin (in it)."""
    n_rows: int
    """Rows in the bin; a handful of rows makes the value noise."""


@dataclass(frozen=True)
class NullLevel:
    """ECE of a perfectly calibrated model with the same confidences and number of rows."""

    mean: float
    """Average over the simulated label sets, a fraction."""
    quantile_95: float
    """Exceeded by a perfectly calibrated model once in 20."""
    quantile_99: float
    """Exceeded by a perfectly calibrated model once in 100."""
    p_value: float | None
    """Share of simulated ECEs at least as large as the observed one, both counted in; None where
    no labels were given."""
    n_draws: int
    """Simulated label sets."""
    n_rows: int
    """Rows in each."""


@dataclass(frozen=True)
class SpiegelhalterTest:
    """Test of calibration by the Brier score, without bins."""

    z: float
    """Standard normal under calibration; positive: over-confident above one half."""
    p_value: float
    """Two-sided."""


def ece(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
) -> float:
    """Expected calibration error: mean absolute gap over equal-width right-closed bins, in [0, 1].

    Biased upwards at small n: read it beside ``null_level``.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Naeini et al. 2015; Guo et al. 2017, equation 3.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    bins = bin_numbers(confidence, bin_edges(confidence, n_bins=n_bins))
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / confidence.size)


def mce(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
) -> MaximumError:
    """Largest gap of any equal-width right-closed bin that holds a row, and that bin.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Guo et al. 2017, equation 5.
    """
    curve = reliability_curve(confidence, correct, n_bins=n_bins)
    gap = np.where(curve.counts > 0, np.abs(curve.accuracy - curve.mean_confidence), -1.0)
    worst = int(np.argmax(gap))
    return MaximumError(
        value=float(gap[worst]),
        bin_low=float(curve.edges[worst]),
        bin_high=float(curve.edges[worst + 1]),
        n_rows=int(curve.counts[worst]),
    )


def debiased_calibration_error(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
) -> float:
    """Calibration error over equal-mass bins, less the bias that label noise adds.

    What normal label noise would add to the plug-in error is subtracted from it, here by the mean
    of the folded normal instead of by simulation; the result may fall below 0 by noise. Near
    calibration that removes a part of the bias only.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: Fewer rows than bins.

    Source: the estimator of order 1 in the code that Kumar, Liang & Ma 2019 published; Roelofs et
        al. 2022 name the bias.
    """
    curve = reliability_curve(confidence, correct, n_bins=n_bins, binning="equal-mass")
    filled = curve.counts > 0
    counts, accuracy = curve.counts[filled], curve.accuracy[filled]
    gap = accuracy - curve.mean_confidence[filled]
    noisy = _folded_normal_mean(gap, np.sqrt(accuracy * (1 - accuracy) / counts))
    return float(counts / curve.n_rows @ (2 * np.abs(gap) - noisy))


def ece_interval(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
    level: float = 0.95,
    n_draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """ECE with an interval for that of all texts like these: its lower end is 0 if it may be 0.

    A percentile bootstrap adds ECE's upward bias a second time and so leaves the truth of a nearly
    calibrated model out. Here a bin whose gap may have either sign pushes upwards only, as its
    noise does. Each end misses the truth at most (1 - level) / 2 often, near calibration less.

    Args:
        confidence: Probability given to the predicted label, in [0, 1].
        correct: Whether the predicted label was right.
        n_bins: Equal-width bins; the interval is for the error in these.
        level: Nominal coverage, in (0, 1).
        n_draws: Draws of the bins' noise.
        seed: Fixes the draws.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        InvalidValue: A level outside (0, 1), or no draws.
        NotEnoughData: No rows.

    Source: Fang & Santos 2019, Review of Economic Studies 86(1), section 3.3 (bootstrap of a
        directional derivative; here of a sum of absolute values, with normal noise); Clopper &
        Pearson 1934 for the upper end where errors are few.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    checked_count("n_draws", n_draws)
    tail = (1 - checked_fraction("level", level)) / 2
    n_rows = confidence.size
    bins = bin_numbers(confidence, bin_edges(confidence, n_bins=n_bins))

    def share_in_bins(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n_bins"]:
        return np.bincount(bins, weights=values, minlength=n_bins) / n_rows

    gaps = share_in_bins(correct - confidence)
    found = float(np.abs(gaps).sum())
    # A bin without an error shows hardly any noise; under calibration it would have this much.
    squares = np.maximum(
        share_in_bins((correct - confidence) ** 2), share_in_bins(confidence * (1 - confidence))
    )
    deviation = np.sqrt(np.maximum(squares - gaps**2, 0) / n_rows)
    is_open = np.abs(gaps) < CLEAR_GAP * deviation

    def spread(bins_taken: Bool[np.ndarray, " n_bins"]) -> float:
        """Standard deviation of the bins' absolute gaps together, their signs known."""
        variance = squares[bins_taken].sum() - np.abs(gaps[bins_taken]).sum() ** 2
        return float(np.sqrt(max(variance, 0.0) / n_rows))

    normal = seeded(seed).standard_normal((n_draws, n_bins + 1))
    upwards = np.abs(normal[:, 1:][:, is_open]) @ deviation[is_open] + normal[:, 0] * spread(
        ~is_open
    )
    low = found - float(np.quantile(upwards, 1 - tail))
    high = found + float(ndtri(1 - tail)) * spread(np.ones(n_bins, dtype=np.bool_))
    # No less than the gap of all rows may be: where errors are few, their exact interval is wider.
    least, most = clopper_pearson(int(correct.sum()), n_rows, level=level)
    mean = float(confidence.mean())
    high = max(high, mean - float(least), float(most) - mean)
    return Interval(found, max(0.0, low), min(1.0, high), level)


def null_level(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"] | None = None,
    *,
    n_bins: int = DEFAULT_BINS,
    n_draws: int = 1000,
    seed: int = 0,
) -> NullLevel:
    """The ECE that a perfectly calibrated model with these confidences would show.

    Labels are drawn from the confidences. With ``correct`` given, the observed ECE is placed among
    the simulated ones (consistency resampling).

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Bröcker & Smith 2007; Vaicenavicius et al. 2019, section 6 (consistency resampling).
    """
    confidence = checked_confidence(confidence)
    bins = bin_numbers(confidence, bin_edges(confidence, n_bins=n_bins))
    expected = np.bincount(bins, weights=confidence, minlength=n_bins)
    totals = bin_totals_under_calibration(confidence, bins, n_bins, n_draws=n_draws, seed=seed)
    errors = np.abs(totals - expected).sum(axis=1) / confidence.size
    p_value = None
    if correct is not None:
        observed = ece(confidence, checked_correct(correct, confidence.size), n_bins=n_bins)
        # The tolerance keeps an observed set that equals a simulated one from losing by rounding.
        n_as_large = int((errors >= observed - 1e-12).sum())
        p_value = (1 + n_as_large) / (1 + n_draws)
    quantile_95, quantile_99 = np.quantile(errors, (0.95, 0.99))
    return NullLevel(
        mean=float(errors.mean()),
        quantile_95=float(quantile_95),
        quantile_99=float(quantile_99),
        p_value=p_value,
        n_draws=n_draws,
        n_rows=confidence.size,
    )


def spiegelhalter(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> SpiegelhalterTest:
    """Spiegelhalter's z: the Brier score against its mean and variance under calibration.

    Blind to errors that cancel around a confidence of one half. Where every confidence is 0, one
    half or 1 the variance is 0: z is then 0, or infinite if the impossible has happened.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Spiegelhalter 1986, Statistics in Medicine 5(5).
    """
    confidence, correct = checked_outcomes(confidence, correct)
    slope = 1 - 2 * confidence
    surplus = float((correct - confidence) @ slope)
    variance = float(slope**2 @ (confidence * (1 - confidence)))
    if variance == 0:
        z = 0.0 if surplus == 0 else float(np.copysign(np.inf, surplus))
    else:
        z = surplus / float(np.sqrt(variance))
    return SpiegelhalterTest(z, float(2 * ndtr(-abs(z))))


def _folded_normal_mean(
    mean: Float[np.ndarray, " n_bins"], deviation: Float[np.ndarray, " n_bins"]
) -> Float[np.ndarray, " n_bins"]:
    """E|X| of a normal X. Source: Leone, Nelson & Nottingham 1961, Technometrics 3(4)."""
    scale = np.maximum(deviation, np.finfo(np.float64).tiny)
    ratio = np.clip(mean / scale, -40, 40)
    folded = scale * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2)
    return np.asarray(folded + mean * (1 - 2 * ndtr(-ratio)))
