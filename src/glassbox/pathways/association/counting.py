"""How often each latent fires on each token: one pass over the firings, no loop over latents."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.pathways.association.rings import Firings, Rings

TABLE_CELLS = 1 << 22
"""Most cells of a dense table of latents and tokens; latents are taken in blocks that fit."""


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Latents and tokens that meet, in one family of positions."""

    n_positions: int
    """Positions of the family."""
    n_fires: Int[np.ndarray, " n_latents"]
    """Of these, where each latent fires."""
    n_token: Int[np.ndarray, " n_labels"]
    """Of these, where each token stands at the offset."""
    latent: Int[np.ndarray, " n_pairs"]
    """Latent of each pair that meets at least once; ascending."""
    label: Int[np.ndarray, " n_pairs"]
    """Its token, as an index into the rings' vocabulary."""
    n_both: Int[np.ndarray, " n_pairs"]
    """Where both are."""
    value_sum: Float[np.ndarray, " n_pairs"]
    """Sum of the activations there."""


def count_pairs(
    rings: Rings, firings: Firings, inside: Bool[np.ndarray, " n"], n_latents: int
) -> PairCounts:
    """Return the counts of one family.

    Args:
        rings: Positions and their tokens.
        firings: In places of the rings, of the family only.
        inside: Which positions belong to the family.
        n_latents: Number of latents, silent ones included.
    """
    n_labels = len(rings.vocabulary)
    tested = inside & (rings.label >= 0)
    parts = list(_pairs(rings, firings, n_latents)) or [
        (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    ]
    key, n_both, value_sum = (np.concatenate([part[which] for part in parts]) for which in range(3))
    return PairCounts(
        n_positions=int(inside.sum()),
        n_fires=np.bincount(firings.latent, minlength=n_latents),
        n_token=np.bincount(rings.label[tested], minlength=n_labels),
        latent=key // max(1, n_labels),
        label=key % max(1, n_labels),
        n_both=n_both,
        value_sum=value_sum,
    )


def _pairs(
    rings: Rings, firings: Firings, n_latents: int
) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
    """Yield keys, counts and sums of the pairs that meet, a block of latents at a time."""
    n_labels = len(rings.vocabulary)
    if not n_labels:
        return
    label = rings.label[firings.where]
    keep = np.flatnonzero(label >= 0)
    label, latent, value = label[keep], firings.latent[keep], firings.value[keep]
    block = max(1, TABLE_CELLS // n_labels)
    for first in range(0, n_latents, block):
        last = min(first + block, n_latents)
        here = slice(*np.searchsorted(latent, [first, last]).tolist())
        cell = (latent[here] - first) * n_labels + label[here]
        counts = np.bincount(cell, minlength=(last - first) * n_labels)
        (met,) = np.nonzero(counts)
        # Without a single firing the library's sums are whole numbers.
        sums = np.bincount(cell, value[here], minlength=len(counts)).astype(np.float64, copy=False)
        yield met + first * n_labels, counts[met], sums[met]
