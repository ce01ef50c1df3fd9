"""Attention over a packed sequence, supplied to the library's own modules.

Registered with transformers under ``NAME``; a model runs it while ``attending`` holds. What a call
needs travels as the keyword ``packed`` through the model's forward, so engines share nothing. No
mask function is registered under the name, hence the library builds no mask. Grouped-query heads
are folded into the query length: keys and values are never repeated.

Knows queries, keys and values after their rotation; knows nothing of architectures. What it cannot
honour (attention sinks, biases) raises ``PackingUnsupported`` and the engine takes the plain path.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from glassbox.engine.layout.packing import Block, Pack
from glassbox.engine.model.attending import Attending

NAME = "glassbox_packed"

KeyValue = tuple[Float[Tensor, "kv_heads _ _"], Float[Tensor, "kv_heads _ _"]]
"""Keys and values of some positions: heads, positions, width."""


class PackingUnsupported(Exception):
    """The model asks for something that packed attention does not do; never leaves the engine."""


class KeysTaken(Exception):
    """Ends the first visit to the last layer, whose keys and values are all it was for."""


@dataclass
class PackedCall:
    """What one forward pass over a pack needs and leaves behind."""

    pack: Pack
    prefix: dict[int, KeyValue] = field(default_factory=dict)
    """Keys and values of a prefix computed before, by layer."""
    keep: bool = False
    """Whether each layer's keys and values are to be kept in ``kept``."""
    stage: Literal["all", "keys", "reads"] = "all"
    """``keys``: only note the last layer's keys; ``reads``: only answer where something is read."""
    kept: dict[int, KeyValue] = field(default_factory=dict)
    """Keys and values by layer."""
    windows: dict[int, int | None] = field(default_factory=dict)
    """The sliding window that each layer asked for: the trace of the layers that came by."""
    masks: dict[tuple[int, int | None, int, bool], Tensor] = field(default_factory=dict)
    """Additive masks by block, window, heads to a key and stage; alike layers share them."""


def packed_attention(
    module: nn.Module,
    query: Float[Tensor, "1 heads n_queries d_head"],
    key: Float[Tensor, "1 kv_heads n_tokens d_head"],
    value: Float[Tensor, "1 kv_heads n_tokens d_value"],
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Float[Tensor, "1 n_queries heads d_value"], None]:
    """Return the attention output of a packed sequence, in transformers' calling convention.

    Raises:
        PackingUnsupported: The model wants more than scaling, soft cap, window and dropout.
    """
    call = options.get("packed")
    layer = getattr(module, "layer_idx", None)
    if not isinstance(call, PackedCall) or layer is None:
        raise PackingUnsupported("the model does not pass the packing on to its attention")
    form = form_of(query, key, attention_mask, options)
    call.windows[layer] = form.window
    if call.stage == "keys":
        call.kept[layer] = (key[0], value[0])
        raise KeysTaken
    if call.stage == "reads":
        keys, values = call.kept[layer]
    else:
        keys, values = key[0], value[0]
        if call.keep:
            call.kept[layer] = (keys.clone(), values.clone())
    return _attend_blocks(call, layer, query[0], keys, values, form)[None], None


@dataclass(frozen=True)
class Form:
    """How a layer wants its attention."""

    scaling: float
    dropout: float
    softcap: float | None
    window: int | None
    group: int
    """Query heads that share a key head."""


def form_of(
    query: Float[Tensor, "1 heads n_queries d_head"],
    key: Float[Tensor, "1 kv_heads n_tokens d_head"],
    attention_mask: Tensor | None,
    options: Mapping[str, Any],
) -> Form:
    """Return how a layer wants its attention, from what the library calls it with.

    Raises:
        PackingUnsupported: The model wants more than scaling, soft cap, window and dropout.
    """
    refused = [name for name in ("s_aux", "position_bias") if options.get(name) is not None]
    if refused or attention_mask is not None:
        raise PackingUnsupported(f"the attention uses {refused or 'a mask of its own'}")
    scaling = options.get("scaling")
    return Form(
        scaling=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        dropout=float(options.get("dropout") or 0.0),
        softcap=options.get("softcap"),
        window=options.get("sliding_window"),
        group=query.shape[1] // key.shape[1],
    )


def _attend_blocks(
    call: PackedCall, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form
) -> Float[Tensor, "n_queries heads d_value"]:
    pack = call.pack
    reads_only = call.stage == "reads"
    n_prefix = pack.n_prefix
    shared: KeyValue | None = None
    outputs = []
    if n_prefix and pack.prefix_inside:
        shared = (key[:, :n_prefix], value[:, :n_prefix])
        if not reads_only:
            opening = Block(0, n_prefix, (n_prefix,))
            mask = _prefix_mask(call, form, query)
            outputs.append(_attend(opening, query[:, :n_prefix], shared, None, mask, form))
    elif n_prefix:
        shared = call.prefix[layer]
    n_reads = pack.reads.shape[1]
    first = 0
    for index, block in enumerate(pack.blocks):
        own = (key[:, block.start : block.stop], value[:, block.start : block.stop])
        if reads_only:
            asked = query[:, first * n_reads : (first + block.n_rows) * n_reads]
        else:
            asked = query[:, block.start : block.stop]
        first += block.n_rows
        mask = _block_mask(call, index, form, query)
        outputs.append(_attend(block, asked, own, shared, mask, form))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _attend(
    block: Block,
    query: Float[Tensor, "heads n_queries d_head"],
    own: KeyValue,
    shared: KeyValue | None,
    mask: Float[Tensor, "rows 1 n_folded keys"],
    form: Form,
) -> Float[Tensor, "n_queries heads d_value"]:
    """Return the output of one block; query length carries the heads that share keys."""
    rows = block.n_rows
    heads, n_queries, d_head = query.shape
    kv_heads = own[0].shape[0]
    group, length = form.group, n_queries // rows
    # Splitting a dimension is always a view, whatever the strides.
    folded = query.view(kv_heads, group, rows, length, d_head)
    folded = folded.permute(2, 0, 3, 1, 4).reshape(rows, kv_heads, length * group, d_head)
    key, value = (_with_prefix(rows, mine, shared and shared[i]) for i, mine in enumerate(own))
    if form.softcap is None and not torch.is_grad_enabled():
        output = nn.functional.scaled_dot_product_attention(
            folded, key, value, attn_mask=mask, dropout_p=form.dropout, scale=form.scaling
        )
    else:
        output = by_matmul(folded, key, value, mask, form)
    output = output.view(rows, kv_heads, length, group, -1).permute(0, 2, 1, 3, 4)
    return output.reshape(n_queries, heads, value.shape[-1])


def _with_prefix(
    rows: int, own: Float[Tensor, "kv_heads n d"], shared: Tensor | None
) -> Float[Tensor, "rows kv_heads keys d"]:
    kv_heads, n_keys, d_head = own.shape
    mine = own.view(kv_heads, rows, n_keys // rows, d_head).transpose(0, 1)
    if shared is None:
        return mine
    return torch.cat([shared.expand(rows, -1, -1, -1), mine], dim=2)


def by_matmul(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, form: Form) -> Tensor:
    """Return attention as two matrix products.

    The fused kernel's backward pass on a CPU is slower than this (1.5 times over a whole step),
    and it has no soft cap.
    """
    weights = (query * form.scaling) @ key.transpose(2, 3)
    if form.softcap is not None:
        weights = torch.tanh(weights / form.softcap) * form.softcap
    weights = (weights + mask).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    if form.dropout:
        weights = nn.functional.dropout(weights, p=form.dropout)
    return weights @ value


def _block_mask(call: PackedCall, index: int, form: Form, query: Tensor) -> Tensor:
    reads_only = call.stage == "reads"
    name = (index, form.window, form.group, reads_only)
    if name not in call.masks:
        block = call.pack.blocks[index]
        seen = call.pack.block_mask(block, form.window, reads_only=reads_only)
        call.masks[name] = _additive(seen, form.group, query)
    return call.masks[name]


def _prefix_mask(call: PackedCall, form: Form, query: Tensor) -> Tensor:
    name = (-1, form.window, form.group, False)
    if name not in call.masks:
        places = np.arange(call.pack.n_prefix)
        back = places[:, None] - places[None, :]
        seen = (back >= 0) & (back < (form.window or len(places)))
        call.masks[name] = _additive(seen[None], form.group, query)
    return call.masks[name]


def _additive(seen: np.ndarray, group: int, like: Tensor) -> Float[Tensor, "rows 1 n_folded keys"]:
    mask = torch.zeros(seen.shape, dtype=like.dtype)
    mask.masked_fill_(~torch.from_numpy(seen), -math.inf)
    # Each query position stands once for each head that shares its keys.
    return mask.repeat_interleave(group, dim=1).unsqueeze(1).to(like.device)


AttentionInterface.register(NAME, packed_attention)


@contextmanager
def attending(model: PreTrainedModel) -> Iterator[None]:
    """Let a model's own modules attend through ``packed_attention`` for a while."""
    with Attending(model, NAME)():
        yield
