"""Smooth calibration error: no bins, no edges, a bandwidth that chooses itself.

The gaps between correctness and confidence are smoothed by a Gaussian kernel reflected at 0 and 1
and the mean absolute value of the result is taken. The kernel here conserves mass at the
boundary: a model that is over-confident everywhere has exactly its mean gap as smooth error, also
when most confidences are 1. Published code that mirrors a grid without this overstates the error
of saturated confidences.

Source: Błasiok & Nakkiran 2023, "Smooth ECE", definitions 2 and 3 (reflected kernel, bandwidth).
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.fft import dct, idct
from scipy.optimize import brentq

from glassbox.stats.checking import checked_outcomes

N_CELLS: Final = 8192
"""Grid cells on [0, 1]; halving or doubling them moves the golden values by less than 1e-6."""


def smooth_ece(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Smooth expected calibration error at the bandwidth that equals it, in [0, 1].

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows.

    Source: Błasiok & Nakkiran 2023, definition 3: the unique bandwidth s with smECE_s = s.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    spectrum = dct(_gap_on_grid(confidence, correct - confidence), type=2, norm="ortho")

    def excess(bandwidth: float) -> float:
        return _smoothed_error(spectrum, bandwidth) - bandwidth

    # The error falls with the bandwidth, so the two cross once, between 0 and 1.
    if excess(0.0) <= 0:
        return 0.0
    if excess(1.0) >= 0:
        return min(1.0, _smoothed_error(spectrum, 1.0))
    bandwidth = brentq(excess, 0.0, 1.0, xtol=1e-9)
    return _smoothed_error(spectrum, bandwidth)


def _gap_on_grid(
    confidence: Float[np.ndarray, " n"], gap: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n_cells"]:
    """Each row's gap shared between the two nearest cell centres, divided by the rows."""
    position = np.clip(confidence * N_CELLS - 0.5, 0, N_CELLS - 1)
    left = np.minimum(position.astype(np.intp), N_CELLS - 2)
    share = position - left
    grid = np.bincount(left, weights=gap * (1 - share), minlength=N_CELLS)
    grid += np.bincount(left + 1, weights=gap * share, minlength=N_CELLS)
    return np.asarray(grid / gap.size)


def _smoothed_error(spectrum: Float[np.ndarray, " n_cells"], bandwidth: float) -> float:
    """Sum of absolute gaps after diffusion; cosines are the reflecting kernel's own waves."""
    frequency = np.pi * np.arange(spectrum.size)
    damped = spectrum * np.exp(-0.5 * (frequency * bandwidth) ** 2)
    return float(np.abs(idct(damped, type=2, norm="ortho")).sum())
