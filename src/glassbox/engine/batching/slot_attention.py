"""Attention of a running batch: every row's keys and values stay in a slot of one tensor.

Registered with transformers under ``NAME``. One step is a flat sequence ``[1, N]``: first one
token of each of some rows in neighbouring slots (they write), then spans of several tokens (they
read their prompts). New keys go into the slots first; then the writing rows attend together over
their slots, and each span over its own. What a step needs travels as the keyword ``step`` through
the model's forward. Knows queries, keys and values after their rotation, nothing of architectures.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface

from glassbox.engine.layout.attention import Form, PackingUnsupported, by_matmul, form_of

NAME = "glassbox_slots"


@dataclass(frozen=True)
class Span:
    """Several tokens of one row in the flat sequence."""

    start: int
    """Index of its first token in the flat sequence."""
    stop: int
    """Index after its last one."""
    slot: int
    """Where the row's keys are."""
    past: int
    """Places of the row that stand before the span."""


@dataclass
class StepCall:
    """What one forward pass of a running batch needs."""

    states: Float[Tensor, "layer 2 slot kv_heads place d_head"]
    """Keys and values of every row."""
    targets: Int[Tensor, " n_keys"]
    """Where the keys of all tokens go, head after head: ``(slot · heads + head) · places +
    place``."""
    first_slot: int
    """Slot of the first writing row; the others follow without a gap."""
    ends: Int[Tensor, " n_rows"]
    """Places of each writing row, the new token included."""
    longest: int
    """The largest of ``ends``; 0 where nobody writes."""
    spans: tuple[Span, ...]
    """The rest of the flat sequence."""
    windows: dict[int, int | None] = field(default_factory=dict)
    """The sliding window that each layer asked for."""
    masks: dict[tuple[int, int | None, bool], Tensor | None] = field(default_factory=dict)
    """Additive masks by span (-1 for the writing rows), window, and whether there is a soft cap."""


def slot_attention(
    module: nn.Module,
    query: Float[Tensor, "1 heads n_tokens d_head"],
    key: Float[Tensor, "1 kv_heads n_tokens d_head"],
    value: Float[Tensor, "1 kv_heads n_tokens d_value"],
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Float[Tensor, "1 n_tokens heads d_value"], None]:
    """Return the attention output of one step, in transformers' calling convention.

    Raises:
        PackingUnsupported: The model wants more than scaling, soft cap and window, or its values
            are shaped otherwise than its keys.
    """
    call = options.get("step")
    layer = getattr(module, "layer_idx", None)
    if not isinstance(call, StepCall) or layer is None:
        raise PackingUnsupported("the model does not pass the step on to its attention")
    form = form_of(query, key, attention_mask, options)
    call.windows[layer] = form.window
    if key.shape != value.shape or key.shape[1::2] != call.states.shape[3::2]:
        raise PackingUnsupported("keys and values are not of one size in all layers")
    keys, values = call.states[layer, 0], call.states[layer, 1]
    keys.flatten(0, 2).index_copy_(0, call.targets, key[0].flatten(0, 1))
    values.flatten(0, 2).index_copy_(0, call.targets, value[0].flatten(0, 1))
    n_writing = len(call.ends)
    outputs = []
    if n_writing:
        rows = slice(call.first_slot, call.first_slot + n_writing)
        asked = query[0, :, :n_writing].transpose(0, 1)
        key, value = (each[rows, :, : call.longest] for each in (keys, values))
        outputs.append(_attend(asked, key, value, _writing_mask(call, form, query), form))
    for index, span in enumerate(call.spans):
        asked = query[:, :, span.start : span.stop]
        end = span.past + span.stop - span.start
        key, value = (each[span.slot, :, :end] for each in (keys, values))
        mask = _span_mask(call, index, form, query)
        outputs.append(_attend_span(asked[0], key, value, mask, form))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs))[None], None


def _attend(
    query: Float[Tensor, "rows heads d_head"],
    key: Float[Tensor, "rows kv_heads keys d_head"],
    value: Float[Tensor, "rows kv_heads keys d_head"],
    mask: Float[Tensor, "rows 1 1 keys"] | None,
    form: Form,
) -> Float[Tensor, "rows heads d_head"]:
    """Return the output of the writing rows; query length carries the heads that share keys."""
    folded = query.reshape(len(query), key.shape[1], form.group, query.shape[-1])
    if form.softcap is None and not _likes_products(query):
        output = nn.functional.scaled_dot_product_attention(
            folded, key, value, attn_mask=mask, scale=form.scaling
        )
    else:
        assert mask is not None
        output = by_matmul(folded, key, value, mask, form)
    return output.reshape(query.shape)


def _likes_products(query: Tensor) -> bool:
    """Return whether two matrix products are faster for single tokens than the fused kernel.

    Source: 32 rows of 40 to 200 places, 4 key heads of 64, float32 on two AVX2 cores: 0.33 ms for
    0.49, 0.99 for 1.14. In bfloat16 the fused kernel adds up in float32, which products do not.
    """
    return query.device.type == "cpu" and query.dtype == torch.float32


def _attend_span(
    query: Float[Tensor, "heads n d_head"],
    key: Float[Tensor, "kv_heads keys d_head"],
    value: Float[Tensor, "kv_heads keys d_head"],
    mask: Float[Tensor, "n keys"] | None,
    form: Form,
) -> Float[Tensor, "n heads d_head"]:
    """Return the output of one span; without a mask each token sees those up to itself.

    Heads that share keys stand in a dimension of their own, over which keys and mask are expanded:
    none of them is repeated in memory.
    """
    heads, n, d_head = query.shape
    folded = query.reshape(key.shape[0], form.group, n, d_head)
    if form.softcap is None:
        output = nn.functional.scaled_dot_product_attention(
            folded,
            key[:, None].expand(-1, form.group, -1, -1),
            value[:, None].expand(-1, form.group, -1, -1),
            attn_mask=mask,
            is_causal=mask is None,
            scale=form.scaling,
        )
    else:
        assert mask is not None
        output = by_matmul(folded, key[:, None], value[:, None], mask, form)
    return output.reshape(heads, n, d_head).transpose(0, 1)


def _writing_mask(call: StepCall, form: Form, like: Tensor) -> Tensor | None:
    """Return what hides the places after each writing row's end, and before its window."""
    name = (-1, form.window, form.softcap is not None)
    if name not in call.masks:
        places = torch.arange(call.longest, device=like.device)
        hidden = places >= call.ends[:, None]
        if form.window is not None:
            hidden |= places < call.ends[:, None] - form.window
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        call.masks[name] = mask.masked_fill_(hidden, -math.inf)[:, None, None]
    return call.masks[name]


def _span_mask(call: StepCall, index: int, form: Form, like: Tensor) -> Tensor | None:
    """Return what hides what comes after each token of a span, and before its window.

    None is the plain triangle, which the library's kernel draws itself.
    """
    name = (index, form.window, form.softcap is not None)
    if name not in call.masks:
        span = call.spans[index]
        n = span.stop - span.start
        if not span.past and form.softcap is None and (form.window is None or form.window >= n):
            call.masks[name] = None
            return None
        last = torch.arange(span.past, span.past + n, device=like.device)[:, None]
        places = torch.arange(span.past + n, device=like.device)
        hidden = places > last
        if form.window is not None:
            hidden |= places <= last - form.window
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        call.masks[name] = mask.masked_fill_(hidden, -math.inf)
    return call.masks[name]


AttentionInterface.register(NAME, slot_attention)
