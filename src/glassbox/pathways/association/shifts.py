"""What remains when firing and text are turned against each other inside each response.

Positions of one text hang together: a latent fires in runs, a word comes back, both have their
places. A turn of the whole ring keeps all that and breaks only what binds the two. Each ring is
turned on its own, at random, again and again; what is too rare to be met that way is bounded by
the distribution over all turns (``stats.effects.token_association.shift_bound``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from glassbox.pathways.association.counting import TABLE_CELLS
from glassbox.pathways.association.rings import Firings, Rings
from glassbox.stats.effects.token_association import shift_bound

ENOUGH_HITS = 10
"""Turns that reach the observed count after which a pair's p-value is settled.

Source: sequential Monte Carlo p-values, Besag & Clifford 1991, Biometrika 78(2).
"""

STAGE = 10
"""Turns between two looks at what is settled."""

PARTS = 1 << 21
"""Most (pair, ring) entries held at once while pairs are bounded."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Latents and tokens that are tested, sorted by latent."""

    latent: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    n_both: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.latent)

    def at(self, keep: np.ndarray | slice) -> "Pairs":
        """Return some of them: a mask, a slice or an ascending index."""
        return Pairs(self.latent[keep], self.label[keep], self.n_both[keep])


def shift_p(
    rings: Rings, firings: Firings, pairs: Pairs, *, n_permutations: int, seed: int
) -> Float[np.ndarray, " n"]:
    """Return the p-value of each pair under independent turns of all rings.

    A pair whose bound is below what random turns could show takes its bound; the others are
    counted: (1 + turns that reach the count) / (1 + turns), or ``ENOUGH_HITS`` over the number of
    turns it took to reach it that often.

    Args:
        rings: Positions and their tokens.
        firings: Of the family that is tested.
        pairs: What is tested.
        n_permutations: Random turns; 0 takes the bounds alone.
        seed: Of the turns.
    """
    bound = bounds(rings, firings, pairs)
    floor = 1 / (n_permutations + 1)
    is_open = bound >= floor
    p = bound.copy()
    if n_permutations:
        p[is_open] = permutation_p(
            rings, firings, pairs.at(is_open), n_permutations=n_permutations, seed=seed
        )
    return p


def permutation_p(
    rings: Rings, firings: Firings, pairs: Pairs, *, n_permutations: int, seed: int
) -> Float[np.ndarray, " n"]:
    """Return the p-values by random turns alone: one scatter-add over the firings for each turn.

    The turns depend on the seed, the offset and their number only, so that latents can be tested
    together or apart.
    """
    p = np.ones(len(pairs))
    labels = np.unique(pairs.label)
    for here in _blocks(pairs.latent, max(1, TABLE_CELLS // (len(labels) + 1))):
        p[here] = _turned(rings, firings, pairs.at(here), n_permutations, seed)
    return p


def bounds(rings: Rings, firings: Firings, pairs: Pairs) -> Float[np.ndarray, " n"]:
    """Return a bound on each pair's p-value over all turns of all rings."""
    n_rings = len(rings.start)
    fires = _counts(firings.latent, rings.ring[firings.where], n_rings)
    tested = rings.label >= 0
    # Rings outside the family hold no firing of it, and drop out by that.
    token = _counts(rings.label[tested], rings.ring[tested], n_rings)
    result = np.ones(len(pairs))
    n_entries = np.diff(fires.indptr)[pairs.latent] + np.diff(token.indptr)[pairs.label]
    for here in _chunks(n_entries, PARTS):
        some = pairs.at(here)
        rows, columns = fires[some.latent], token[some.label]
        in_ring = rows.multiply(columns.astype(bool)).tocsr()
        of_token = rows.astype(bool).multiply(columns).tocsr()
        in_ring.sort_indices()
        of_token.sort_indices()
        result[here] = shift_bound(
            some.n_both,
            np.repeat(np.arange(len(some)), np.diff(in_ring.indptr)),
            in_ring.data.astype(np.int64),
            of_token.data.astype(np.int64),
            rings.length[in_ring.indices],
        )
    return result


def _turned(
    rings: Rings, firings: Firings, pairs: Pairs, n_permutations: int, seed: int
) -> Float[np.ndarray, " n"]:
    p, hits = np.ones(len(pairs)), np.zeros(len(pairs), dtype=np.int64)
    # Where nothing fires, as outside the family, nothing need be turned.
    touched = np.zeros(len(rings.length), dtype=bool)
    touched[rings.ring[firings.where]] = True
    place = np.cumsum(touched[rings.ring]) - 1
    rings, firings = rings.at(touched), replace(firings, where=place[firings.where])
    live = np.arange(len(pairs))
    for first in range(0, n_permutations, STAGE):
        if not len(live):
            break
        table = _Table.of(rings, firings, pairs.at(live))
        for number in range(first, min(first + STAGE, n_permutations)):
            draw = np.random.default_rng([seed, abs(rings.offset), rings.offset < 0, number])
            by = (draw.random(len(touched))[touched] * rings.length).astype(np.int64)
            settled = hits[live] >= ENOUGH_HITS
            hits[live] += table.reached(rings.turned(by)) & ~settled
            p[live] = np.where(
                ~settled & (hits[live] >= ENOUGH_HITS), ENOUGH_HITS / (number + 1), p[live]
            )
        live = live[hits[live] < ENOUGH_HITS]
    p[live] = (hits[live] + 1) / (n_permutations + 1)
    return p


@dataclass(frozen=True, eq=False)
class _Table:
    """A dense table of the latents and tokens that are still open, ready to be added up."""

    label: Int[np.ndarray, " n"]
    where: Int[np.ndarray, " m"]
    base: Int[np.ndarray, " m"]
    cell: Int[np.ndarray, " n_pairs"]
    n_both: Int[np.ndarray, " n_pairs"]
    n_cells: int

    @classmethod
    def of(cls, rings: Rings, firings: Firings, pairs: Pairs) -> "_Table":
        """Return the table of some pairs; tokens of no pair share a last column."""
        labels, column = np.unique(pairs.label, return_inverse=True)
        latents, row = np.unique(pairs.latent, return_inverse=True)
        width = len(labels) + 1
        # One more for the label -1, which indexes the end.
        short = np.full(len(rings.vocabulary) + 1, len(labels), dtype=np.int64)
        short[labels] = np.arange(len(labels))
        place = np.full(int(firings.latent.max(initial=-1)) + 1, -1)
        place[latents] = np.arange(len(latents))
        first = place[firings.latent]
        (mine,) = np.nonzero(first >= 0)
        return cls(
            label=short[rings.label],
            where=firings.where[mine],
            base=first[mine] * width,
            cell=row * width + column,
            n_both=pairs.n_both,
            n_cells=len(latents) * width,
        )

    def reached(self, turned: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n_pairs"]:
        """Return which pairs meet as often as observed when firings are moved."""
        cells = self.label[turned][self.where]
        cells += self.base
        counts = np.bincount(cells, minlength=self.n_cells)[self.cell]
        reached: Bool[np.ndarray, " n_pairs"] = counts >= self.n_both
        return reached


def _counts(
    row: Int[np.ndarray, " n"], ring: Int[np.ndarray, " n"], n_rings: int
) -> sparse.csr_array:
    """Return how often each row's thing occurs in each ring."""
    n_rows = int(row.max(initial=-1)) + 1
    shape = (max(1, n_rows), max(1, n_rings))
    counted = sparse.coo_array((np.ones(len(row), dtype=np.int64), (row, ring)), shape=shape)
    return counted.tocsr()


def _blocks(latent: Int[np.ndarray, " n"], size: int) -> Iterator[slice]:
    """Yield slices of pairs, each of at most ``size`` latents."""
    starts = np.flatnonzero(np.diff(latent, prepend=-1))
    edges = [*starts[::size].tolist(), len(latent)]
    for first, last in pairwise(edges):
        yield slice(first, last)


def _chunks(sizes: Int[np.ndarray, " n"], most: int) -> Iterator[slice]:
    """Yield slices whose sizes add up to at most ``most``, or one that is larger alone."""
    group = np.cumsum(sizes) // most
    edges = [*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(sizes)]
    for first, last in pairwise(edges):
        yield slice(first, last)
