"""Reliability curves in bins: mean confidence, accuracy and count of each.

Bins are right-closed and the first holds 0 as well, so no confidence falls between two bins or
beyond the last. A curve does not know how much of its gap is noise: see ``bands``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import NotEnoughData, UnknownName
from glassbox.stats.checking import checked_confidence, checked_count, checked_outcomes
from glassbox.stats.intervals import clopper_pearson

Binning = Literal["equal-width", "equal-mass"]
"""How the bins divide [0, 1]: into equal lengths, or into equal numbers of rows."""

DEFAULT_BINS: Final = 15
"""Bins of every ECE here. Source: Guo et al. 2017, section 4."""


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Accuracy against mean confidence, bin by bin."""

    binning: Binning
    """How the bins were laid."""
    edges: Float[np.ndarray, " n_edges"]
    """n_bins + 1 ascending edges; bin i holds edges[i] < confidence <= edges[i + 1]."""
    mean_confidence: Float[np.ndarray, " n_bins"]
    """Fraction; NaN where the bin is empty."""
    accuracy: Float[np.ndarray, " n_bins"]
    """Fraction; NaN where the bin is empty."""
    accuracy_low: Float[np.ndarray, " n_bins"]
    """Lower end of the Clopper-Pearson interval; NaN where the bin is empty."""
    accuracy_high: Float[np.ndarray, " n_bins"]
    """Upper end; NaN where the bin is empty."""
    counts: Int[np.ndarray, " n_bins"]
    """Rows in the bin."""
    level: float
    """Coverage of each bin's interval, in (0, 1)."""
    n_rows: int
    """Rows in all."""


def reliability_curve(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    n_bins: int = DEFAULT_BINS,
    binning: Binning = "equal-width",
    level: float = 0.95,
) -> ReliabilityCurve:
    """Accuracy against mean confidence in right-closed bins, with an exact interval for each.

    Args:
        confidence: Probability given to the predicted label, in [0, 1].
        correct: Whether the predicted label was right.
        n_bins: Number of bins; equal-mass may return fewer, because rows of one confidence stay
            together.
        binning: Equal lengths or equal numbers of rows.
        level: Coverage of each interval, in (0, 1).

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows, or fewer rows than equal-mass bins.

    Source: Guo et al. 2017, equation 2; Clopper & Pearson 1934 for the intervals.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    edges = bin_edges(confidence, n_bins=n_bins, binning=binning)
    bins = bin_numbers(confidence, edges)
    size = edges.size - 1
    counts = np.bincount(bins, minlength=size)
    n_correct = np.bincount(bins, weights=correct, minlength=size)
    low, high = clopper_pearson(n_correct, counts, level=level)
    is_empty = counts == 0
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bins, weights=confidence, minlength=size) / counts
        accuracy = n_correct / counts
    return ReliabilityCurve(
        binning=binning,
        edges=edges,
        mean_confidence=mean_confidence,
        accuracy=accuracy,
        accuracy_low=np.where(is_empty, np.nan, low),
        accuracy_high=np.where(is_empty, np.nan, high),
        counts=counts,
        level=level,
        n_rows=confidence.size,
    )


def bin_edges(
    confidence: Float[np.ndarray, " n"], *, n_bins: int, binning: Binning = "equal-width"
) -> Float[np.ndarray, " n_edges"]:
    """Edges from 0 to 1; between equal-mass bins, half-way between neighbouring confidences.

    Raises:
        NotEnoughData: Fewer rows than equal-mass bins.
        UnknownName: A binning that does not exist.
        InvalidValue: Fewer than one bin.

    Source: Kumar, Liang & Ma 2019 (equal mass), whose code places the edges the same way.
    """
    checked_count("n_bins", n_bins)
    if binning == "equal-width":
        return np.arange(n_bins + 1) / n_bins
    if binning != "equal-mass":
        raise UnknownName("binning", binning, ("equal-width", "equal-mass"))
    values = np.sort(checked_confidence(confidence))
    if values.size < n_bins:
        raise NotEnoughData(f"A curve of {n_bins} equal-mass bins", values.size, n_bins)
    parts = np.array_split(values, n_bins)
    inner = [(low[-1] + high[0]) / 2 for low, high in pairwise(parts)]
    # Ties may repeat an edge or put it on an end, where it would close off an empty bin.
    inner = [edge for edge in inner if 0 < edge < values[-1]]
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def bin_numbers(
    confidence: Float[np.ndarray, " n"], edges: Float[np.ndarray, " n_edges"]
) -> Int[np.ndarray, " n"]:
    """The 0-based bin of each row, right-closed, 0 in the first and 1 in the last."""
    return np.searchsorted(edges[1:-1], confidence, side="left")
