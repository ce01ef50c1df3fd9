"""A model held linear at the values of one text, to intervene in: what frozen gradients must equal.

Attention probabilities, the norms' scales and the feed-forward gates stay as the text had them, so
that a gradient is what a change of any size does.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from glassbox.pathways.blocks.forward import inverse_rms
from glassbox.pathways.blocks.tape import ContextTape
from glassbox.pathways.blocks.weights import ModelBlocks


def held_forward(
    model: ModelBlocks,
    taped: ContextTape,
    changes: Mapping[int, Float[Tensor, "positions d"]],
    layer: int,
) -> Float[Tensor, "positions d"]:
    """Return what a block writes in the held model, with something added to the stream.

    Args:
        model: The blocks.
        taped: The text at whose values the model is held.
        changes: By layer, what is added to that block's output.
        layer: Block whose output is asked for, before its own change.
    """
    x = taped.inputs[0]
    for at in range(layer + 1):
        x = _held_block(model, taped, at, x)
        if at in changes and at < layer:
            x = x + changes[at]
    return x


def _held_block(
    model: ModelBlocks, taped: ContextTape, layer: int, x: Float[Tensor, "positions d"]
) -> Float[Tensor, "positions d"]:
    block, tape = model.blocks[layer], taped.tapes[layer]
    normed = x * inverse_rms(tape.x, model.epsilon) * block.attention_norm
    value = functional.linear(normed, block.value, block.value_bias)
    value = value.unflatten(-1, (model.n_kv_heads, 1, -1)).movedim(0, 2)
    heads = tape.probs(0, len(x)) @ value
    x = x + functional.linear(heads.movedim(2, 0).flatten(1), block.output)
    normed = x * inverse_rms(tape.middle, model.epsilon) * block.mlp_norm
    return x + functional.linear(tape.gate * functional.linear(normed, block.up), block.down)
