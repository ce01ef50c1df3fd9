"""Consistency bands: where the reliability curve of a perfectly calibrated model would lie.

Labels are drawn from the model's own confidences and the curve is drawn anew many times. A curve
inside the band is no evidence against calibration; the band is pointwise, so one point in ten
may leave a 90 % band by chance.

Source: Bröcker & Smith 2007, Weather and Forecasting 22(3).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glassbox.stats.calibration.binning import DEFAULT_BINS, Binning, bin_edges, bin_numbers
from glassbox.stats.calibration.simulation import bin_totals_under_calibration
from glassbox.stats.checking import checked_confidence, checked_count, checked_fraction


@dataclass(frozen=True, eq=False)
class ConsistencyBand:
    """Range of accuracies that a perfectly calibrated model shows at this number of rows."""

    confidence: Float[np.ndarray, " n_points"]
    """Where the band stands: each non-empty bin's mean confidence, ascending."""
    low: Float[np.ndarray, " n_points"]
    """Lower end, a fraction."""
    high: Float[np.ndarray, " n_points"]
    """Upper end, a fraction."""
    level: float
    """Pointwise coverage, in (0, 1)."""
    n_draws: int
    """Simulated label sets."""
    n_rows: int
    """Rows in each."""


def binned_band(
    confidence: Float[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
    binning: Binning = "equal-width",
    level: float = 0.9,
    n_draws: int = 1000,
    seed: int = 0,
) -> ConsistencyBand:
    """Consistency band of a binned reliability curve, one point per non-empty bin.

    Raises:
        InvalidData: NaN or out of range.
        NotEnoughData: No rows, or fewer rows than equal-mass bins.

    Source: Bröcker & Smith 2007, section 3.
    """
    confidence = checked_confidence(confidence)
    tails = _tails(level, n_draws)
    edges = bin_edges(confidence, n_bins=n_bins, binning=binning)
    bins = bin_numbers(confidence, edges)
    counts = np.bincount(bins, minlength=edges.size - 1)
    is_filled = counts > 0
    mean = np.bincount(bins, weights=confidence, minlength=edges.size - 1)[is_filled]
    totals = bin_totals_under_calibration(
        confidence, bins, edges.size - 1, n_draws=n_draws, seed=seed
    )
    accuracy = totals[:, is_filled] / counts[is_filled]
    low, high = np.quantile(accuracy, tails, axis=0)
    return ConsistencyBand(mean / counts[is_filled], low, high, level, n_draws, confidence.size)


def _tails(level: float, n_draws: int) -> tuple[float, float]:
    checked_count("n_draws", n_draws)
    tail = (1 - checked_fraction("level", level)) / 2
    return tail, 1 - tail
