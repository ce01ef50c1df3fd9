"""One block on runs of unequal length, packed one after the other.

The linear parts see the packed positions as one matrix. Attention takes the runs in groups of like
length: each sees the clean text's keys and values before its start, which all share and nobody
copies, and its own behind. Only the positions whose output is needed ask.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from glassbox.pathways.blocks.forward import (
    KeyValues,
    Rotary,
    feed_forward,
    norm,
    shared_matmul,
    turn,
)
from glassbox.pathways.blocks.weights import Block, ModelBlocks
from glassbox.pathways.replay.runs import Places


@dataclass(frozen=True, eq=False)
class Packed:
    """What goes into a block."""

    x: Float[Tensor, "n d"]
    """Rows of the residual stream."""
    places: Places
    """Whose they are."""
    asks: Bool[np.ndarray, " n"]
    """Rows whose output is needed."""
    starts: Int[np.ndarray, " runs"]
    """First position of each run of the batch; those before come from the clean text."""


def packed_block(
    model: ModelBlocks, layer: int, given: Packed, clean: KeyValues, table: Rotary
) -> Float[Tensor, "m d"]:
    """Return the block's output for the rows that are asked for.

    Args:
        model: The blocks.
        layer: Which one.
        given: Its input.
        clean: Keys and values of the whole clean text in this layer.
        table: Rotary table of the whole text, ``[positions, head]``.
    """
    block = model.blocks[layer]
    device = given.x.device
    ask = np.flatnonzero(given.asks)
    asked = torch.from_numpy(ask).to(device)
    everyone = len(ask) == len(given.places)
    normed = norm(given.x, block.attention_norm, model.epsilon)
    position = torch.from_numpy(given.places.position).to(device)
    turned = Rotary(table.cos[position].unsqueeze(1), table.sin[position].unsqueeze(1))
    split = (-1, model.head_dim)
    key = functional.linear(normed, block.key, block.key_bias).unflatten(-1, split)
    value = functional.linear(normed, block.value, block.value_bias).unflatten(-1, split)
    key = turn(key, turned)
    if not everyone:
        normed = normed[asked]
        turned = Rotary(turned.cos[asked], turned.sin[asked])
    query = functional.linear(normed, block.query, block.query_bias).unflatten(-1, split)
    query = turn(query, turned)
    heads = _attend(model, block, given, ask, (query, key, value), clean)
    x = (given.x if everyone else given.x[asked]) + functional.linear(heads, block.output)
    return x + feed_forward(model, block, x)


def _attend(
    model: ModelBlocks,
    block: Block,
    given: Packed,
    ask: Int[np.ndarray, " m"],
    parts: tuple[Tensor, Tensor, Tensor],
    clean: KeyValues,
) -> Float[Tensor, "m n_query"]:
    """Return the heads' outputs of the rows that ask, runs of like length together."""
    places = given.places
    n_runs = len(given.starts)
    lengths = np.bincount(places.run, minlength=n_runs)
    # A group's longest run is less than twice its shortest, so that padding stays below half.
    group_of = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    out = parts[0].new_empty(len(ask), model.n_heads * model.head_dim)
    asking = places.take(ask)
    for group in np.unique(group_of[lengths > 0]):
        inside = np.flatnonzero(group_of[places.run] == group)
        wanted = np.flatnonzero(group_of[asking.run] == group)
        if len(wanted):
            ask_at, in_at = _at(wanted, out), _at(inside, out)
            out[ask_at] = _attend_group(
                model,
                block,
                (places.take(inside), asking.take(wanted)),
                given.starts,
                (parts[0][ask_at], parts[1][in_at], parts[2][in_at]),
                clean,
            )
    return out


def _attend_group(
    model: ModelBlocks,
    block: Block,
    places: tuple[Places, Places],
    starts: Int[np.ndarray, " runs"],
    parts: tuple[Tensor, Tensor, Tensor],
    clean: KeyValues,
) -> Float[Tensor, "m n_query"]:
    """Return the heads' outputs of some runs, laid out as a rectangle of runs and slots."""
    inside, asking = places
    query, key, value = parts
    runs, key_run = np.unique(inside.run, return_inverse=True)
    query_run = np.searchsorted(runs, asking.run)
    start = starts[runs]
    key_slot = inside.position - start[key_run]
    counts = np.bincount(query_run, minlength=len(runs))
    query_slot = np.arange(len(asking)) - (np.cumsum(counts) - counts)[query_run]
    n_slots, n_asks = int(key_slot.max()) + 1, int(counts.max())
    asked_at = np.zeros((len(runs), n_asks), dtype=np.int64)
    asked_at[query_run, query_slot] = asking.position
    key_at, query_at = (_at(key_run, query), _at(key_slot, query)), (
        _at(query_run, query),
        _at(query_slot, query),
    )  # fmt: skip
    own_key, own_value = (
        _laid_out(part, key_at, (len(runs), n_slots)).transpose(1, 2) for part in (key, value)
    )
    laid = _laid_out(query, query_at, (len(runs), n_asks)).transpose(1, 2)
    before = clean.upto(int(start.max()))
    seen = torch.from_numpy(
        _seen(asked_at, start, before.n_positions, n_slots, block.window)
    ).to(query.device)  # fmt: skip
    grouped = laid.unflatten(1, (model.n_kv_heads, -1)).flatten(2, 3)
    logits = torch.cat(
        [shared_matmul(grouped, keys.transpose(-1, -2)) for keys in (before.keys, own_key)], -1
    ).unflatten(2, (-1, n_asks))
    logits = logits.float() * model.head_dim**-0.5
    logits = logits.masked_fill_(~seen[:, None, None], torch.finfo(torch.float32).min)
    probs = logits.softmax(-1).to(query.dtype).flatten(2, 3)
    early, late = probs.split([before.n_positions, n_slots], -1)
    mixed = shared_matmul(early, before.values) + shared_matmul(late, own_value)
    # [runs, n_kv, group * asks, head] to [runs, asks, heads side by side].
    mixed = mixed.unflatten(2, (-1, n_asks)).flatten(1, 2).transpose(1, 2).flatten(2)
    found: Float[Tensor, "m n_query"] = mixed[query_at]
    return found


def _seen(
    asked_at: Int[np.ndarray, "runs asks"],
    start: Int[np.ndarray, " runs"],
    n_before: int,
    n_slots: int,
    window: int | None,
) -> Bool[np.ndarray, "runs asks keys"]:
    """Return which keys each query may see: the clean ones before its run's start, then its own."""
    early = np.broadcast_to(np.arange(n_before), (len(start), n_before))
    late = start[:, None] + np.arange(n_slots)
    at = np.concatenate([early, late], axis=1)
    exists = np.concatenate([early < start[:, None], np.ones_like(late, dtype=bool)], axis=1)
    distance = asked_at[:, :, None] - at[:, None, :]
    seen: Bool[np.ndarray, "runs asks keys"] = (distance >= 0) & exists[:, None, :]
    return seen if window is None else seen & (distance < window)


def _laid_out(
    part: Float[Tensor, "n heads head"], at: tuple[Tensor, Tensor], shape: tuple[int, int]
) -> Float[Tensor, "runs slots heads head"]:
    """Return packed rows as a rectangle; slots that nobody fills hold zeros."""
    if part.shape[0] == shape[0] * shape[1]:
        return part.view(*shape, *part.shape[1:])
    return part.new_zeros(*shape, *part.shape[1:]).index_put_(at, part)


def _at(index: np.ndarray, like: Tensor) -> Int[Tensor, " n"]:
    return torch.from_numpy(index).to(like.device)
