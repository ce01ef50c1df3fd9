"""A block's forward pass that keeps what its derivative needs, for one text.

One tape serves any number of cotangents: everything on it is without their dimension.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from glassbox.pathways.blocks.forward import (
    Rotary,
    causal,
    heads_of,
    mix,
    norm,
    pattern,
    rotary,
)
from glassbox.pathways.blocks.weights import ModelBlocks


@dataclass(frozen=True, eq=False)
class BlockTape:
    """What one block did to one text."""

    x: Float[Tensor, "positions d"]
    """What it read."""
    query: Float[Tensor, "n_kv group positions head"]
    """Turned by position and divided by the root of the head's width."""
    key: Float[Tensor, "n_kv positions head"]
    """Turned by position."""
    value: Float[Tensor, "n_kv positions head"]
    heads: Float[Tensor, "n_kv group positions head"]
    """What attention mixed."""
    middle: Float[Tensor, "positions d"]
    """The stream between attention and the feed-forward part."""
    gate: Float[Tensor, "positions ff"]
    """SiLU of the gate: the derivative by ``up``."""
    gate_slope: Float[Tensor, "positions ff"]
    """``up`` times SiLU's slope: the derivative by the gate's input."""
    window: int | None

    def probs(self, start: int, stop: int) -> Float[Tensor, "n_kv group queries stop"]:
        """Return attention probabilities of some queries over all keys before ``stop``."""
        queries = torch.arange(start, stop, device=self.key.device)
        seen = causal(queries, torch.arange(stop, device=self.key.device), self.window)
        keys = self.key[:, None, :stop].transpose(-1, -2)
        logits = (self.query[:, :, start:stop] @ keys).float()
        return logits.masked_fill(~seen, -torch.inf).softmax(-1).to(self.key.dtype)


@dataclass(frozen=True, eq=False)
class ContextTape:
    """What the first blocks did to one text."""

    tapes: tuple[BlockTape, ...]
    inputs: tuple[Float[Tensor, "positions d"], ...]
    """By layer what the block read; the last entry is what the last taped block wrote."""
    back: Rotary
    """Turns the cotangents of queries and keys back."""

    def output(self, layer: int) -> Float[Tensor, "positions d"]:
        """Return what a block wrote."""
        return self.inputs[layer + 1]


def tape_context(model: ModelBlocks, tokens: Tensor, n_layers: int) -> ContextTape:
    """Return the tapes of the first blocks over one text.

    Args:
        model: The blocks.
        tokens: Ids up to the last position that matters.
        n_layers: How many blocks to run.
    """
    positions = torch.arange(len(tokens), device=model.device)
    table = rotary(model, positions)
    x = model.embedding[tokens.to(model.device)]
    inputs, tapes = [x], []
    for layer in range(n_layers):
        x, tape = tape_block(model, layer, x, table)
        inputs.append(x)
        tapes.append(tape)
    return ContextTape(tuple(tapes), tuple(inputs), Rotary(table.cos, -table.sin))


def tape_block(
    model: ModelBlocks, layer: int, x: Float[Tensor, "positions d"], table: Rotary
) -> tuple[Float[Tensor, "positions d"], BlockTape]:
    """Return a block's output over a whole text, and its tape."""
    block = model.blocks[layer]
    normed = norm(x, block.attention_norm, model.epsilon)
    query, key, value = (
        part.transpose(0, 1).contiguous() for part in heads_of(model, block, normed, table)
    )
    positions = torch.arange(len(x), device=x.device)
    probs = pattern(model, query, key, causal(positions, positions, block.window))
    heads = probs @ value[:, None]
    middle = x + functional.linear(mix(probs, value), block.output)
    normed = norm(middle, block.mlp_norm, model.epsilon)
    gate_in = functional.linear(normed, block.gate)
    up = functional.linear(normed, block.up)
    gate = functional.silu(gate_in)
    sigmoid = torch.sigmoid(gate_in)
    slope = torch.addcmul(sigmoid, gate, 1 - sigmoid)
    out = middle + functional.linear(gate * up, block.down)
    query = query.unflatten(0, (model.n_kv_heads, -1)) * model.head_dim**-0.5
    slope = up.mul_(slope)
    return out, BlockTape(x, query, key, value, heads, middle, gate, slope, block.window)
