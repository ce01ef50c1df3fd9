"""The corpus as rings: the positions of one prompt or one response, and the token at each.

A ring holds the counted positions of one span in their order, each with the token that stands at
a fixed offset from it. Activations can be turned round a ring without leaving their text.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus


@dataclass(frozen=True, eq=False)
class Rings:
    """Counted positions in the order of the corpus, and where each ring begins."""

    offset: int
    """Position of the token relative to the activation: -1 is the token before it."""
    flat: Int[np.ndarray, " n"]
    """Index of each position among the corpus' tokens; ascending."""
    label: Int[np.ndarray, " n"]
    """Which of ``vocabulary`` stands at the offset; -1 for tokens too rare to be tested."""
    vocabulary: Int[np.ndarray, " n_labels"]
    """Token ids that are tested; ascending."""
    ring: Int[np.ndarray, " n"]
    """Ring of each position; ascending."""
    start: Int[np.ndarray, " n_rings"]
    """First position of each ring."""
    length: Int[np.ndarray, " n_rings"]
    """Positions of each ring."""

    def __len__(self) -> int:
        return len(self.flat)

    @cached_property
    def room(self) -> Int[np.ndarray, " n"]:
        """Positions of each position's ring."""
        room: Int[np.ndarray, " n"] = self.length[self.ring]
        return room

    @cached_property
    def end(self) -> Int[np.ndarray, " n"]:
        """First position behind each position's ring."""
        end: Int[np.ndarray, " n"] = (self.start + self.length)[self.ring]
        return end

    def at(self, keep: Bool[np.ndarray, " n_rings"]) -> "Rings":
        """Return some of the rings, numbered anew."""
        inside = keep[self.ring]
        length = self.length[keep]
        return Rings(
            offset=self.offset,
            flat=self.flat[inside],
            label=self.label[inside],
            vocabulary=self.vocabulary,
            ring=np.repeat(np.arange(len(length)), length),
            start=np.cumsum(length) - length,
            length=length,
        )

    def turned(self, by: Int[np.ndarray, " n_rings"]) -> Int[np.ndarray, " n"]:
        """Return where each position comes to stand when every ring is turned by some places."""
        moved: Int[np.ndarray, " n"] = np.arange(len(self)) + by[self.ring]
        # ``by`` is below the length, so that one subtraction is the remainder.
        np.subtract(moved, self.room, out=moved, where=moved >= self.end)
        return moved


@dataclass(frozen=True, eq=False)
class Firings:
    """Where latents fire, in places of some rings; sorted by latent, then place."""

    where: Int[np.ndarray, " m"]
    """Index of a position of the rings."""
    latent: Int[np.ndarray, " m"]
    """Column of the activations; ascending."""
    value: Float[np.ndarray, " m"]
    """The activation."""

    def at(self, keep: np.ndarray | slice) -> "Firings":
        """Return some of them: a mask, a slice or an ascending index."""
        return Firings(self.where[keep], self.latent[keep], self.value[keep])


def rings_of(corpus: Corpus, offset: int, *, min_count: int) -> Rings:
    """Return the rings of a corpus with the token at an offset as each position's label.

    Left out are positions whose token at the offset lies outside the document or is special, and
    tokens of responses as seen from their prompt, whose other responses go on otherwise.

    Args:
        corpus: The texts.
        offset: Position of the token relative to the activation.
        min_count: Fewest positions of a token that is tested.
    """
    n_tokens = len(corpus.tokens)
    other = np.arange(n_tokens) + offset
    in_text = (other >= 0) & (other < n_tokens)
    other = np.clip(other, 0, n_tokens - 1)
    in_prompt = corpus.position_of < np.repeat(corpus.n_prompt, corpus.lengths)
    in_text &= corpus.document_of[other] == corpus.document_of
    in_text &= ~corpus.is_special[other] & (~in_prompt | in_prompt[other])
    flat = np.flatnonzero(corpus.is_counted & in_text)
    spans = corpus.document_of[flat].astype(np.int64) * 2 + ~in_prompt[flat]
    _, start, ring, length = np.unique(
        spans, return_index=True, return_inverse=True, return_counts=True
    )
    tokens = corpus.tokens[other[flat]].astype(np.int64)
    known, place, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    is_common = counts >= min_count
    label = np.where(is_common, np.cumsum(is_common) - 1, -1)[place]
    return Rings(
        offset=offset,
        flat=flat,
        label=label.astype(np.int64),
        vocabulary=known[is_common],
        ring=ring.astype(np.int64),
        start=start.astype(np.int64),
        length=length.astype(np.int64),
    )


def firings_of(rings: Rings, activations: Activations, corpus: Corpus) -> Firings:
    """Return the activations that fall on some rings."""
    place = np.full(len(corpus.tokens), -1)
    place[rings.flat] = np.arange(len(rings))
    order, _ = activations.by_latent
    where = place[corpus.offsets[activations.document[order]] + activations.position[order]]
    (hit,) = np.nonzero(where >= 0)
    where, order = where[hit], order[hit]
    return Firings(
        where=where,
        latent=activations.latent[order].astype(np.int64),
        value=activations.value[order],
    )
