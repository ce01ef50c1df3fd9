"""A block's forward pass on any rows, with keys and values kept or given.

Rows may begin anywhere in a text: positions are arguments, and keys and values of the positions
before them can be handed in, one set shared by all rows. Norms, softmax and rotary tables are
computed in float32 whatever the weights are. The pieces are public: a caller that packs rows of
unequal length puts them together in its own way.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from glassbox.pathways.blocks.weights import Block, ModelBlocks


@dataclass(frozen=True, eq=False)
class Rotary:
    """Cosines and sines of rotary positions; the sine's first half is negated already."""

    cos: Float[Tensor, "*positions head"]
    sin: Float[Tensor, "*positions head"]


@dataclass(frozen=True, eq=False)
class KeyValues:
    """Keys, turned by their positions, and values of consecutive positions."""

    keys: Float[Tensor, "*rows n_kv positions head"]
    values: Float[Tensor, "*rows n_kv positions head"]

    @property
    def n_positions(self) -> int:
        """How many positions there are."""
        return self.keys.shape[-2]

    def upto(self, n: int) -> "KeyValues":
        """Return those of the first positions, as views."""
        return KeyValues(self.keys[..., :n, :], self.values[..., :n, :])


@dataclass(frozen=True, eq=False)
class ContextRun:
    """What one pass over one text left behind."""

    inputs: tuple[Float[Tensor, "positions d"], ...]
    """By layer: what the block read. The last entry is what the last block that ran wrote."""
    caches: tuple[KeyValues, ...]
    """By layer: keys and values, ``[n_kv, positions, head]``."""

    def output(self, layer: int) -> Float[Tensor, "positions d"]:
        """Return what a block wrote: ``blocks.{layer}.hook_resid_post``."""
        return self.inputs[layer + 1]


def rotary(model: ModelBlocks, positions: Int[Tensor, "*positions"]) -> Rotary:
    """Return the rotary table of some positions, in the weights' number format.

    Source: Su et al. 2021, RoFormer, equation 34, with the halves of a head paired as the Hugging
    Face library does.
    """
    angles = positions[..., None].float() * model.inverse_frequencies
    cos, sin = angles.cos() * model.rotary_scale, angles.sin() * model.rotary_scale
    return Rotary(
        torch.cat((cos, cos), -1).to(model.dtype), torch.cat((-sin, sin), -1).to(model.dtype)
    )


def turn(x: Float[Tensor, "*any head"], table: Rotary) -> Float[Tensor, "*any head"]:
    """Return queries or keys turned by their positions; the table's shape broadcasts."""
    return torch.addcmul(x * table.cos, x.roll(x.shape[-1] // 2, -1), table.sin)


def norm(
    x: Float[Tensor, "*any d"], weight: Float[Tensor, " d"], epsilon: float
) -> Float[Tensor, "*any d"]:
    """Return RMSNorm, computed in float32.

    Source: Zhang and Sennrich 2019, Root mean square layer normalization, equation 4.
    """
    wide = x.float()
    return weight * (wide * inverse_rms(wide, epsilon)).to(x.dtype)


def inverse_rms(x: Float[Tensor, "*any d"], epsilon: float) -> Float[Tensor, "*any 1"]:
    """Return one over the root mean square, in float32."""
    return torch.rsqrt(x.float().square().mean(-1, keepdim=True) + epsilon)


def heads_of(
    model: ModelBlocks, block: Block, normed: Float[Tensor, "*any d"], table: Rotary
) -> tuple[
    Float[Tensor, "*any n_heads head"],
    Float[Tensor, "*any n_kv head"],
    Float[Tensor, "*any n_kv head"],
]:
    """Return queries, keys (both turned) and values of normed rows.

    Args:
        model: Sizes.
        block: Weights.
        normed: Rows behind the block's first norm.
        table: Rotary table with one entry a row, ``[*any, head]``.
    """
    per_head = Rotary(table.cos.unsqueeze(-2), table.sin.unsqueeze(-2))
    split = (-1, model.head_dim)
    query = functional.linear(normed, block.query, block.query_bias).unflatten(-1, split)
    key = functional.linear(normed, block.key, block.key_bias).unflatten(-1, split)
    value = functional.linear(normed, block.value, block.value_bias).unflatten(-1, split)
    return turn(query, per_head), turn(key, per_head), value


def causal(
    queries: Int[Tensor, " q"], keys: Int[Tensor, " k"], window: int | None
) -> Bool[Tensor, "q k"]:
    """Return which key positions each query position may see."""
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def pattern(
    model: ModelBlocks,
    query: Float[Tensor, "*rows n_heads q head"],
    key: Float[Tensor, "*fewer n_kv k head"],
    seen: Bool[Tensor, "q k"],
) -> Float[Tensor, "*rows n_kv group q k"]:
    """Return attention probabilities, the heads that share keys side by side.

    Source: Vaswani et al. 2017, equation 1; Ainslie et al. 2023 for shared keys.
    """
    grouped = query.unflatten(-3, (model.n_kv_heads, -1))
    n_group, n_query = grouped.shape[-3:-1]
    logits = shared_matmul(grouped.flatten(-3, -2), key.transpose(-1, -2))
    logits = logits.unflatten(-2, (n_group, n_query)).float() * model.head_dim**-0.5
    probs: Tensor = logits.masked_fill(~seen, -torch.inf).softmax(-1).to(query.dtype)
    return probs


def mix(
    probs: Float[Tensor, "*rows n_kv group q k"], value: Float[Tensor, "*fewer n_kv k head"]
) -> Float[Tensor, "*rows q n_query"]:
    """Return the heads' outputs, one head beside the other."""
    n_group, n_query = probs.shape[-3:-1]
    mixed: Tensor = shared_matmul(probs.flatten(-3, -2), value).unflatten(-2, (n_group, n_query))
    return mixed.flatten(-4, -3).transpose(-3, -2).flatten(-2)


def shared_matmul(
    left: Float[Tensor, "*rows n_kv m a"], right: Float[Tensor, "*fewer n_kv a b"]
) -> Float[Tensor, "*rows n_kv m b"]:
    """Return a product by head; a right side without row dimensions serves all rows, uncopied."""
    folded: Tensor
    if left.dim() == right.dim():
        folded = left @ right
        return folded
    rows, m = left.shape[:-3], left.shape[-2]
    folded = left.movedim(-3, 0).flatten(1, -2) @ right
    back: Tensor = folded.unflatten(1, (*rows, m)).movedim(0, -3)
    return back


def feed_forward(
    model: ModelBlocks, block: Block, x: Float[Tensor, "*any d"]
) -> Float[Tensor, "*any d"]:
    """Return what the feed-forward part adds to rows of the stream.

    Source: Shazeer 2020, GLU variants improve Transformer, equation 6.
    """
    normed = norm(x, block.mlp_norm, model.epsilon)
    gate = functional.silu(functional.linear(normed, block.gate))
    return functional.linear(gate.mul_(functional.linear(normed, block.up)), block.down)


def block_forward(
    model: ModelBlocks,
    layer: int,
    x: Float[Tensor, "*rows n d"],
    *,
    start: int = 0,
    before: KeyValues | None = None,
) -> tuple[Float[Tensor, "*rows n d"], KeyValues]:
    """Return a block's output, and keys and values of the rows' own positions.

    Args:
        model: The blocks.
        layer: Which one, 0-based.
        x: Rows of the stream at positions ``start``, ``start + 1``, …
        start: Position of the first column.
        before: Keys and values of the positions before; without a row dimension they are shared
            by all rows and never copied.
    """
    block = model.blocks[layer]
    n = x.shape[-2]
    positions = torch.arange(start, start + n, device=x.device)
    normed = norm(x, block.attention_norm, model.epsilon)
    query, key, value = (
        part.transpose(-3, -2) for part in heads_of(model, block, normed, rotary(model, positions))
    )
    own = KeyValues(key, value)
    if before is None or not before.n_positions:
        seen = causal(positions, positions, block.window)
        heads = mix(pattern(model, query, key, seen), value)
    else:
        heads = _attend_both(model, query, own, before, start, block.window)
    x = x + functional.linear(heads, block.output)
    return x + feed_forward(model, block, x), own


def _attend_both(
    model: ModelBlocks,
    query: Float[Tensor, "*rows n_heads q head"],
    own: KeyValues,
    before: KeyValues,
    start: int,
    window: int | None,
) -> Float[Tensor, "*rows q n_query"]:
    """Return the heads' outputs over shared positions before and the rows' own.

    The logits of both parts lie side by side for one softmax; keys and values do not have to.
    """
    n, first = query.shape[-2], start - before.n_positions
    device = query.device
    queries = torch.arange(start, start + n, device=device)
    seen = causal(queries, torch.arange(first, start + n, device=device), window)
    grouped = query.unflatten(-3, (model.n_kv_heads, -1)).flatten(-3, -2)
    logits = torch.cat(
        [shared_matmul(grouped, part.keys.transpose(-1, -2)) for part in (before, own)], -1
    ).unflatten(-2, (-1, n))
    logits = logits.float() * model.head_dim**-0.5
    probs = logits.masked_fill(~seen, -torch.inf).softmax(-1).to(query.dtype)
    early, late = probs.split([before.n_positions, n], -1)
    return mix(early, before.values) + mix(late, own.values)


def run_context(
    model: ModelBlocks, tokens: Int[Tensor, " positions"], n_layers: int | None = None
) -> ContextRun:
    """Return the inputs, keys and values of the first blocks over one text.

    Args:
        model: The blocks.
        tokens: Ids, special ones included.
        n_layers: How many blocks to run; None is all.
    """
    x = model.embedding[tokens.to(model.device)]
    inputs, caches = [x], []
    for layer in range(model.n_layers if n_layers is None else n_layers):
        x, cache = block_forward(model, layer, x)
        inputs.append(x)
        caches.append(cache)
    return ContextRun(tuple(inputs), tuple(caches))
