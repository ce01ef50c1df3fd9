"""Which tokens of a flat batch are updated together: pure bookkeeping, no weights.

Adapters with about as many tokens each form one group, which becomes one batched matrix product;
an adapter alone in its class, or with many tokens, is updated by itself. Rows of the base model
appear nowhere, so nothing touches them. Knows slots and token positions; knows nothing of layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Rows = Sequence[tuple[int, int]]
"""The rows of a flat batch in order: (slot, number of tokens); slot 0 is the base model."""

BASE_SLOT = 0
"""Slot of rows that no adapter updates."""

ALONE_TOKENS = 256
"""An adapter with so many tokens keeps a matrix product busy by itself."""

MIN_CLASS_TOKENS = 4
"""Adapters with at most so many tokens share a class: padding costs less than another group."""

MIN_DENSITY = 0.5
"""Least share of a range of table positions that must be in use to take the range as it lies.

Unused positions are computed for nothing; gathering the used ones copies their weights.
"""


@dataclass(frozen=True, eq=False)
class Share:
    """One adapter's tokens in a batch."""

    slot: int
    """The adapter's slot."""
    tokens: Int[np.ndarray, " n_tokens"]
    """Their places in the flat batch, ascending."""

    @property
    def is_run(self) -> bool:
        """Whether the tokens lie in one piece."""
        return int(self.tokens[-1] - self.tokens[0]) == len(self.tokens) - 1


@dataclass(frozen=True, eq=False)
class Grouped:
    """How a group's tokens meet the tables: ``n_places`` adapters with ``width`` tokens each."""

    first: int
    """First table position of the range."""
    stop: int
    """Position after the last."""
    chosen: Int[np.ndarray, " n_places"] | None
    """The positions, to be gathered; None takes the range as it lies."""
    width: int
    """Tokens of each position, padding included."""
    tokens: Int[np.ndarray, " n_places_x_width"]
    """Places in the flat batch; padding reads the group's first token."""
    real: Int[np.ndarray, " n_real"] | None
    """Which of these are no padding; None: all."""


def shares_of(rows: Rows, reads: Int[np.ndarray, " n_reads"] | None = None) -> tuple[Share, ...]:
    """Return each adapter's tokens in a flat batch, by ascending slot.

    Args:
        rows: The rows in order.
        reads: Places to which the batch was cut down (ascending); None is the whole batch.
    """
    slots = np.repeat([slot for slot, _ in rows], [n for _, n in rows]).astype(np.int64)
    if reads is not None:
        slots = slots[reads]
    order = np.argsort(slots, kind="stable")
    found, starts = np.unique(slots[order], return_index=True)
    pieces = np.split(order, starts[1:]) if len(found) else []
    return tuple(
        Share(int(slot), tokens)
        for slot, tokens in zip(found, pieces, strict=True)
        if slot != BASE_SLOT
    )


def classes_of(shares: Sequence[Share]) -> tuple[tuple[Share, ...], ...]:
    """Return the shares in classes of about equal size; each larger class is one group.

    Within a class the largest share has at most twice as many tokens as the smallest, or all have
    at most ``MIN_CLASS_TOKENS``. Shares of ``ALONE_TOKENS`` and more stand alone.
    """
    classes: dict[int, list[Share]] = {}
    alone: list[tuple[Share, ...]] = []
    for share in shares:
        n = len(share.tokens)
        if n >= ALONE_TOKENS:
            alone.append((share,))
        else:
            classes.setdefault(max(MIN_CLASS_TOKENS, 1 << (n - 1).bit_length()), []).append(share)
    return (*alone, *(tuple(classes[size]) for size in sorted(classes)))


def arrange(shares: Sequence[Share], positions: Mapping[int, int]) -> Grouped:
    """Return how one group's tokens meet the tables.

    Args:
        shares: The group.
        positions: Table position of each slot; distinct.
    """
    by_position = {positions[share.slot]: share.tokens for share in shares}
    first, stop = min(by_position), max(by_position) + 1
    is_dense = len(by_position) >= MIN_DENSITY * (stop - first)
    places = list(range(first, stop)) if is_dense else sorted(by_position)
    width = max(len(share.tokens) for share in shares)
    padding = shares[0].tokens[0]
    tokens = np.full((len(places), width), padding, dtype=np.int64)
    is_real: Bool[np.ndarray, "n_places width"] = np.zeros(tokens.shape, dtype=bool)
    for row, place in enumerate(places):
        own = by_position.get(place, tokens[:0, 0])
        tokens[row, : len(own)] = own
        is_real[row, : len(own)] = True
    return Grouped(
        first=first,
        stop=stop,
        chosen=None if is_dense else np.array(places, dtype=np.int64),
        width=width,
        tokens=tokens.ravel(),
        real=None if is_real.all() else np.flatnonzero(is_real),
    )
