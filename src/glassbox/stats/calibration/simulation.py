"""Outcomes drawn from the model's own confidences: what perfect calibration would look like.

If confidence is the true probability of being right, correctness of each row is an independent
coin of that probability. Nothing here looks at a label.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.stats.checking import checked_count, seeded
from glassbox.stats.intervals import CHUNK_CELLS


def outcomes_under_calibration(
    confidence: Float[np.ndarray, " n"], *, n_draws: int, seed: int
) -> Iterator[Bool[np.ndarray, "draws n"]]:
    """Simulated correctness, in chunks of draws that fit in memory.

    A confidence of 1 is always right and one of 0 never, because draws lie in [0, 1).
    """
    checked_count("n_draws", n_draws)
    rng = seeded(seed)
    chunk = max(1, CHUNK_CELLS // confidence.size)
    # Draws of 24 bits suffice: the error they make is far below the noise of any number of draws.
    limit = confidence.astype(np.float32)
    for start in range(0, n_draws, chunk):
        size = (min(chunk, n_draws - start), confidence.size)
        yield rng.random(size, dtype=np.float32) < limit


def bin_totals_under_calibration(
    confidence: Float[np.ndarray, " n"],
    bins: Int[np.ndarray, " n"],
    n_bins: int,
    *,
    n_draws: int,
    seed: int,
) -> Float[np.ndarray, "draws n_bins"]:
    """Number of right answers in each bin, for each simulated set of labels."""
    order = np.argsort(bins, kind="stable")
    filled, starts = np.unique(bins[order], return_index=True)
    totals = np.zeros((n_draws, n_bins))
    row = 0
    for correct in outcomes_under_calibration(confidence[order], n_draws=n_draws, seed=seed):
        sums = np.add.reduceat(correct, starts, axis=1, dtype=np.int32)
        totals[row : row + len(sums), filled] = sums
        row += len(sums)
    return totals
