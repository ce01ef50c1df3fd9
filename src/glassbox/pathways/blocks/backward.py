"""A block's derivative, written out, applied to the cotangents of many targets at once.

The cotangents are the rows of a tiling. Everything that does not depend on the target (attention
probabilities, gates, norms) is on the tape and is broadcast over the targets of a tile; heads
that share keys are folded into one product. Two ways through a block: ``total`` is the true
derivative; ``frozen`` holds attention probabilities, the norms' scales and the feed-forward gate
at their values, which leaves a linear map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.pathways.blocks.forward import Rotary, inverse_rms
from glassbox.pathways.blocks.tape import BlockTape, ContextTape
from glassbox.pathways.blocks.tiles import Strip, Tile, Tiling
from glassbox.pathways.blocks.weights import Block, ModelBlocks
from glassbox.pathways.blocks.workspace import Workspace

Way = Literal["total", "frozen"]
"""What of a block is differentiated."""


@dataclass(frozen=True)
class Place:
    """Rows that stand at some positions, equally many at each."""

    rows: slice
    span: slice | Tensor
    """Their positions: a run of them, or one for each row."""
    n_targets: int
    """Rows of each position."""

    def of(self, flat: Float[Tensor, "rows n"]) -> Float[Tensor, "positions targets n"]:
        """Return these rows of an array, by position."""
        return flat[self.rows].view(-1, self.n_targets, flat.shape[1])


@dataclass(frozen=True, eq=False)
class NormSlope:
    """RMSNorm's derivative around some rows: ``dx = scale * dy - along * <dy, out>``."""

    out: Float[Tensor, "positions d"]
    scale: Float[Tensor, "positions d"]
    """Weight over root mean square."""
    along: Float[Tensor, "positions d"]
    """The input over its squared root mean square and over ``d``."""


@dataclass(frozen=True, eq=False)
class Backward:
    """One block's derivative over one text."""

    model: ModelBlocks
    layer: int
    tape: BlockTape
    back: Rotary
    """Turns the cotangents of queries and keys back."""
    attention_norm: NormSlope
    mlp_norm: NormSlope
    workspace: Workspace
    way: Way = "total"
    most_attention_rows: int = 1024
    """Rows that go through attention together; more of them waste more beyond the cones."""

    @property
    def block(self) -> Block:
        """The block's weights."""
        return self.model.blocks[self.layer]

    def apply(self, cotangents: Float[Tensor, "rows d"], tiling: Tiling) -> None:
        """Turn cotangents of the block's output into cotangents of its input, in place."""
        heads = self.workspace.take("heads", len(cotangents), self.block.output.shape[1])
        for strip in tiling.strips:
            rows = cotangents[strip.rows]
            self.through_mlp(rows, places_of(strip))
            torch.mm(rows, self.block.output, out=heads[strip.rows])
        sums = self._sums(tiling)
        for group in _groups(tiling, self.most_attention_rows):
            self._attention(heads, group, sums)
        for strip in tiling.strips:
            normed = self.from_keys(strip, sums)
            if self.way == "total":
                normed.addmm_(heads[strip.rows], self.block.query)
            rows = cotangents[strip.rows]
            self.through_norm(rows, normed, self.attention_norm, places_of(strip))

    def through_mlp(self, rows: Float[Tensor, "rows d"], places: Sequence[Place]) -> None:
        """Add what comes back through the feed-forward part, to cotangents at some places."""
        block, tape = self.block, self.tape
        n_inner = block.down.shape[1]
        inner = self.workspace.take("inner", len(rows), n_inner)
        torch.mm(rows, block.down, out=inner)
        normed = self.workspace.take("normed", *rows.shape)
        if self.way == "total":
            gated = self.workspace.take("gated", len(rows), n_inner)
            for place in places:
                slope = tape.gate_slope[place.span, None]
                torch.mul(place.of(inner), slope, out=place.of(gated))
            torch.mm(gated, block.gate, out=normed)
        for place in places:
            place.of(inner).mul_(tape.gate[place.span, None])
        if self.way == "total":
            normed.addmm_(inner, block.up)
        else:
            torch.mm(inner, block.up, out=normed)
        self.through_norm(rows, normed, self.mlp_norm, places)

    def through_norm(
        self,
        rows: Float[Tensor, "rows d"],
        normed: Float[Tensor, "rows d"],
        slope: NormSlope,
        places: Sequence[Place],
    ) -> None:
        """Add the cotangents of a norm's input to rows, given those of its output."""
        for place in places:
            out, given = place.of(rows), place.of(normed)
            out.addcmul_(given, slope.scale[place.span, None])
            if self.way == "total":
                wide = given if given.dtype == torch.float32 else given.float()
                inner = wide @ slope.out[place.span].unsqueeze(-1)
                out.addcmul_(inner, slope.along[place.span, None], value=-1)

    def from_keys(self, strip: Strip, sums: tuple[Tensor, Tensor]) -> Float[Tensor, "rows d"]:
        """Return what comes back to the first norm's output through keys and values.

        Args:
            strip: Where.
            sums: Cotangents of turned keys and of values, ``[n_kv, position, target, head]``.
        """
        flat = self.workspace.take("flat", strip.n_rows, self.block.value.shape[0])
        normed = self.workspace.take("normed", strip.n_rows, self.model.d_model)
        for tile, at in strip.inside():
            part = _part_of(sums[1], tile)
            flat[at].view(part.shape).copy_(part)
        torch.mm(flat, self.block.value, out=normed)
        if self.way == "total":
            for tile, at in strip.inside():
                part = _part_of(sums[0], tile)
                table = self.table(slice(tile.start, tile.stop), 2)
                turn_into(part, flat[at].view(part.shape), table)
            normed.addmm_(flat, self.block.key)
        return normed

    def table(self, span: slice | Tensor, n_inner: int) -> Rotary:
        """Return the table that turns some positions back, ``n_inner`` dimensions before."""
        cos, sin = (part[span] for part in (self.back.cos, self.back.sin))
        shape = (len(cos), *(1,) * n_inner, -1)
        return Rotary(cos.view(shape), sin.view(shape))

    def _sums(self, tiling: Tiling) -> tuple[Tensor, Tensor]:
        """Return zeroed sums ``[n_kv, position, target, head]`` for keys and values."""
        n_kv, _, head = self.tape.key.shape
        shape = (n_kv, tiling.ends[0] + 1, len(tiling.ends), head)
        values = self.workspace.take("values", *shape).zero_()
        if self.way == "frozen":
            return values, values
        return self.workspace.take("keys", *shape).zero_(), values

    def _attention(
        self,
        heads: Float[Tensor, "rows n_query"],
        group: Sequence[Tile],
        sums: tuple[Tensor, Tensor],
    ) -> None:
        """Turn cotangents of heads' outputs into those of queries; add up keys' and values'."""
        tape, take = self.tape, self.workspace.take
        start, stop, n = group[-1].start, group[0].stop, group[-1].n_targets
        n_kv, n_group, _, head = tape.query.shape
        box = take("box", n_kv, n_group, stop - start, n, head)
        _spread(heads, group, box)
        probs = tape.probs(start, stop)
        flat = (n_kv, n_group * (stop - start))
        shares = take("shares", n_kv, stop, n * head)
        torch.bmm(probs.view(*flat, stop).transpose(1, 2), box.view(*flat, n * head), out=shares)
        sums[1][:, :stop, :n] += shares.view(n_kv, stop, n, head)
        if self.way == "frozen":
            return
        slopes = take("slopes", n_kv, flat[1] * n, stop)
        torch.bmm(box.view(n_kv, -1, head), tape.value[:, :stop].transpose(1, 2), out=slopes)
        mean = box @ tape.heads[:, :, start:stop, :, None]
        slopes.view(n_kv, n_group, stop - start, n, stop).sub_(mean).mul_(probs.unsqueeze(3))
        by_key = take("shares", n_kv, n * stop, head)
        queries = tape.query[:, :, start:stop].reshape(*flat, head)
        torch.bmm(slopes.view(*flat, n * stop).transpose(1, 2), queries, out=by_key)
        sums[0][:, :stop, :n] += by_key.view(n_kv, n, stop, head).transpose(1, 2)
        # Queries are scaled on the tape, keys are not.
        torch.bmm(slopes, tape.key[:, :stop] * head**-0.5, out=box.view(n_kv, -1, head))
        self._gather(heads, group, box)

    def _gather(
        self, heads: Float[Tensor, "rows n_query"], group: Sequence[Tile], box: Tensor
    ) -> None:
        """Copy a box back into rows, turned back by position."""
        for tile in group:
            rows, at = _in_box(heads, group, tile, box)
            turn_into(at.permute(2, 3, 0, 1, 4), rows, self.table(slice(tile.start, tile.stop), 3))


def backward_of(
    model: ModelBlocks, layer: int, taped: ContextTape, workspace: Workspace, way: Way = "total"
) -> Backward:
    """Return the derivative of one block over a taped text."""
    block, tape = model.blocks[layer], taped.tapes[layer]
    return Backward(
        model,
        layer,
        tape,
        taped.back,
        _slope_of_norm(tape.x, block.attention_norm, model.epsilon),
        _slope_of_norm(tape.middle, block.mlp_norm, model.epsilon),
        workspace,
        way,
    )


def _slope_of_norm(
    x: Float[Tensor, "positions d"], weight: Float[Tensor, " d"], epsilon: float
) -> NormSlope:
    """Return RMSNorm's derivative, in float32.

    Source: own derivative of Zhang and Sennrich 2019, equation 4.
    """
    wide, inverse = x.float(), inverse_rms(x, epsilon)
    scale = weight.float() * inverse
    return NormSlope(wide * scale, scale, wide * inverse.square() / x.shape[-1])


def turn_into(given: Tensor, out: Tensor, table: Rotary) -> None:
    """Write turned heads into another layout, half by half and without a copy in between."""
    half = given.shape[-1] // 2
    halves = (slice(None, half), slice(half, None))
    for own, other in (halves, halves[::-1]):
        part = out[..., own]
        torch.mul(given[..., own], table.cos[..., own], out=part)
        part.addcmul_(given[..., other], table.sin[..., own])


def places_of(strip: Strip) -> list[Place]:
    """Return the tiles of a strip as places of its rows."""
    return [Place(at, slice(tile.start, tile.stop), tile.n_targets) for tile, at in strip.inside()]


def _part_of(sums: Tensor, tile: Tile) -> Tensor:
    """Return a tile's part of sums by head, ``[position, target, n_kv, head]``."""
    return sums[:, tile.start : tile.stop, : tile.n_targets].permute(1, 2, 0, 3)


def _groups(tiling: Tiling, most_rows: int) -> Iterator[Sequence[Tile]]:
    """Yield runs of tiles whose queries go through attention together."""
    group: list[Tile] = []
    for tile in tiling.tiles:
        n_rows = (group[0].stop - tile.start) * tile.n_targets if group else 0
        if n_rows > most_rows:
            yield group
            group = []
        group.append(tile)
    yield group


def _spread(heads: Float[Tensor, "rows n_query"], group: Sequence[Tile], box: Tensor) -> None:
    """Copy a group's rows into a box ``[n_kv, group, query, target, head]``."""
    for tile in group:
        rows, part = _in_box(heads, group, tile, box)
        part.copy_(rows.permute(2, 3, 0, 1, 4))
        first = tile.start - group[-1].start
        box[:, :, first : first + tile.n_positions, tile.n_targets :] = 0


def _in_box(
    heads: Float[Tensor, "rows n_query"], group: Sequence[Tile], tile: Tile, box: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a tile's rows ``[position, target, n_kv, group, head]`` and its part of a box."""
    n_kv, n_group, _, _, head = box.shape
    at = slice(tile.start - group[-1].start, tile.stop - group[-1].start)
    rows = heads[tile.rows].view(tile.n_positions, tile.n_targets, n_kv, n_group, head)
    return rows, box[:, :, at, : tile.n_targets]
