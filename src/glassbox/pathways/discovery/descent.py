"""One text's targets on their way down through the blocks.

Holds the cotangents of all targets that have been entered so far, in a tiling of their cones, and
knows the layer they stand behind. Which latents are read on the way is told from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.pathways.blocks.backward import Backward, Way, backward_of
from glassbox.pathways.blocks.entry import enter
from glassbox.pathways.blocks.tape import ContextTape
from glassbox.pathways.blocks.tiles import Tile, Tiling, plan_tiles
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.blocks.workspace import Workspace
from glassbox.pathways.discovery.firing import Firing


@dataclass(frozen=True)
class Entrant:
    """One target on its way."""

    row: int
    """Row of the result it belongs to."""
    layer: int
    position: int
    vector: Tensor
    """The target's encoder row, in the blocks' number format."""


@dataclass(frozen=True, eq=False)
class ReadRows:
    """The rows of one layer's latents that gradients are read with, and may go on through."""

    firing: Firing
    starts: tuple[int, ...]
    """By position, the first of its firings; one more entry behind the last."""
    decoder: Float[Tensor, "n d"]
    encoder: Float[Tensor, "n d"] | None
    """If given, cotangents go on through the latents' encoder rows alone."""


class Descent:
    """The cotangents of one text's targets.

    Args:
        model: The blocks.
        taped: Their tapes over the text.
        entrants: The targets.
        space: Buffers, shared with other descents; the cotangents themselves are this one's own.
        way: What of a block is differentiated.
        first: First position that matters.
        most_rows: Rows of a tile.
    """

    def __init__(
        self,
        model: ModelBlocks,
        taped: ContextTape,
        entrants: Sequence[Entrant],
        space: Workspace,
        *,
        way: Way,
        first: int,
        most_rows: int,
    ) -> None:
        self._model, self._taped, self._space = model, taped, space
        self._way, self._first, self._most_rows = way, first, most_rows
        self._waiting = sorted(entrants, key=lambda each: (-each.layer, -each.position, each.row))
        self._inside: list[Entrant] = []
        self._tiling: Tiling | None = None
        self._cotangents = torch.empty(
            self._most_capacity(), model.d_model, device=model.device, dtype=model.dtype
        )

    @property
    def rows(self) -> list[int]:
        """Rows of the result that the targets inside belong to, in the descent's own order."""
        return [each.row for each in self._inside]

    def down(self, layer: int) -> None:
        """Take all targets from behind a block to before it; those of its layer enter."""
        own = [each for each in self._waiting if each.layer == layer]
        if self._tiling is not None:
            self._backward(layer).apply(self._held, self._tiling)
        if own:
            self._waiting = [each for each in self._waiting if each.layer != layer]
            self._merge(layer, own)

    def read(self, rows: ReadRows, out: Float[Tensor, "targets sources"]) -> None:
        """Write the derivative by each firing of a layer; go on through its latents if asked to.

        Args:
            rows: The layer's firings and rows.
            out: One row for each target inside, in the order of ``rows``; zeros.
        """
        if self._tiling is None:
            return
        for tile in self._tiling.tiles:
            self._read_tile(rows, tile, tile.start, tile.stop, out)

    def _read_tile(self, rows: ReadRows, tile: Tile, start: int, stop: int, out: Tensor) -> None:
        """Read some positions of a tile, all padded to the one with most firings."""
        low, high = rows.starts[start], rows.starts[stop]
        counts = [rows.starts[at + 1] - rows.starts[at] for at in range(start, stop)]
        most = max(counts)
        if stop - start > 1 and most * (stop - start) > 1.5 * (high - low) + 64:
            middle = (start + stop) // 2
            self._read_tile(rows, tile, start, middle, out)
            self._read_tile(rows, tile, middle, stop, out)
            return
        shape = (tile.n_positions, tile.n_targets, -1)
        given = self._held[tile.rows].view(shape)[start - tile.start : stop - tile.start]
        if not most:
            if rows.encoder is not None:
                given.zero_()
            return
        is_real = torch.arange(most) < torch.tensor(counts)[:, None]
        is_real = is_real.to(given.device)
        places = torch.zeros(is_real.shape, dtype=torch.int64, device=given.device)
        places[is_real] = rows.firing.places[low:high]
        decoder = self._gather(rows.decoder, places)
        values = torch.bmm(given, decoder.transpose(1, 2))
        out[: tile.n_targets, low:high] = values.transpose(0, 1)[:, is_real].float()
        if rows.encoder is not None:
            values.mul_(is_real[:, None])
            torch.bmm(values, self._gather(rows.encoder, places), out=given)

    def _gather(self, matrix: Float[Tensor, "n d"], places: Tensor) -> Tensor:
        """Return rows of a matrix in a buffer that the next call takes again."""
        out = self._space.take("gathered", places.numel(), matrix.shape[1])
        torch.index_select(matrix, 0, places.view(-1), out=out)
        return out.view(*places.shape, -1)

    @property
    def _held(self) -> Float[Tensor, "rows d"]:
        assert self._tiling is not None
        return self._cotangents[: self._tiling.n_rows]

    def _backward(self, layer: int) -> Backward:
        return backward_of(self._model, layer, self._taped, self._space, self._way)

    def _plan(self, entrants: Sequence[Entrant]) -> Tiling:
        ends = [each.position for each in entrants]
        return plan_tiles(ends, first=self._first, most_rows=self._most_rows)

    def _most_capacity(self) -> int:
        """Return the rows of the largest tiling that will ever be held."""
        most = 0
        for layer in sorted({each.layer for each in self._waiting}):
            inside = [each for each in self._waiting if each.layer >= layer]
            most = max(most, self._plan(sorted(inside, key=_by_end)).n_rows)
        return most

    def _merge(self, layer: int, own: Sequence[Entrant]) -> None:
        """Let targets enter through a block, and lay all targets out anew."""
        entering = self._plan(own)
        fresh = self._space.take("fresh", entering.n_rows, self._model.d_model)
        vectors = torch.stack([each.vector for each in own])
        enter(self._backward(layer), vectors, entering, fresh)
        parts = [(list(own), entering, fresh)]
        if self._tiling is not None:
            kept = self._space.take("kept", *self._held.shape)
            parts.append((self._inside, self._tiling, kept.copy_(self._held)))
        self._inside = sorted([*self._inside, *own], key=_by_end)
        self._tiling = self._plan(self._inside)
        place = {id(each): at for at, each in enumerate(self._inside)}
        held = self._held.zero_()
        for entrants, tiling, given in parts:
            targets, positions = tiling.cones()
            at = np.asarray([place[id(each)] for each in entrants])
            rows = tiling.row_of(targets, positions), self._tiling.row_of(at[targets], positions)
            source, goal = (torch.as_tensor(each, device=held.device) for each in rows)
            held[goal] = given[source]


def _by_end(entrant: Entrant) -> tuple[int, int]:
    return -entrant.position, entrant.row
