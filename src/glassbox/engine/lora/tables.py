"""Tables of stacked adapter weights, from which one batched product updates many adapters' rows.

For each updated layer A is ``[n_positions, rank, n_in]`` and B ``[n_positions, rank, n_out]``,
padded with zeros to the largest rank. An adapter keeps its position from batch to batch, so a
request that joins or leaves costs one adapter's copy and never a gathering of all. Knows weights
and positions; knows nothing of tokens. Used by one thread at a time.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.lora.weights import AdapterWeights

Table = tuple[Float[Tensor, "n_positions rank n_in"], Float[Tensor, "n_positions rank n_out"]]
"""The stacked factors of one layer."""


class Tables:
    """Stacked weights of the adapters that the last batches used."""

    def __init__(self) -> None:
        self._layers: dict[str, Table] = {}
        self._held: list[str | None] = []
        """Digest of the adapter at each position."""
        self._rank = 0

    @property
    def n_bytes(self) -> int:
        """Memory that the tables take."""
        return sum(a.nbytes + b.nbytes for a, b in self._layers.values())

    def layer(self, name: str) -> Table:
        """Return the stacked factors of a layer that some placed adapter updates."""
        return self._layers[name]

    def place(self, adapters: Sequence[AdapterWeights]) -> list[int]:
        """Return the position of each of some distinct adapters, all of them in the tables now.

        Positions of adapters that are not among them may be taken over. After an error the tables
        are empty.
        """
        try:
            return self._place(adapters)
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Give all memory back."""
        self._layers, self._held, self._rank = {}, [], 0

    def _place(self, adapters: Sequence[AdapterWeights]) -> list[int]:
        rank = max(adapter.rank for adapter in adapters)
        if len(adapters) > len(self._held) or rank > self._rank:
            n_positions = max(len(self._held), 1 << (len(adapters) - 1).bit_length())
            rank = max(rank, self._rank)
            # The old tables go first, so that old and new never need room at once.
            self.clear()
            self._held, self._rank = [None] * n_positions, rank
        wanted = {adapter.digest for adapter in adapters}
        held = {digest: place for place, digest in enumerate(self._held) if digest in wanted}
        free = (place for place, digest in enumerate(self._held) if digest not in wanted)
        positions = []
        for adapter in adapters:
            place = held.get(adapter.digest)
            if place is None:
                place = next(free)
                self._write(place, adapter)
            positions.append(place)
        return positions

    @torch.no_grad()
    def _write(self, place: int, adapter: AdapterWeights) -> None:
        self._held[place] = None
        for name, update in adapter.layers.items():
            if name not in self._layers:
                self._layers[name] = (
                    self._empty(update.a, update.a.shape[1]),
                    self._empty(update.b, update.b.shape[1]),
                )
        for name, table in self._layers.items():
            own = adapter.layers.get(name)
            for side, factor in zip(table, (own.a, own.b) if own else (None, None), strict=True):
                rank = 0 if factor is None else len(factor)
                if factor is not None:
                    side[place, :rank] = factor
                side[place, rank:] = 0
        self._held[place] = adapter.digest

    def _empty(self, like: Tensor, width: int) -> Tensor:
        return like.new_zeros(len(self._held), self._rank, width)
