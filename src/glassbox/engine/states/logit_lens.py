"""Runs the logit lens: one forward pass for the states, then the model's own end on each layer.

The end of a model is whatever it does after its last block. It is not rebuilt here from a norm and
a matrix: the model itself runs with every block replaced by the states to be read, so biases, soft
caps and scalings are its own, and no architecture needs code. Knows nothing of queues or locks.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassbox.engine.lens import LensRequest, LogitLens
from glassbox.engine.model.blocks import blocks_of
from glassbox.engine.model.distributions import entropy, largest_gap, require_finite
from glassbox.engine.model.memory import running_out_named
from glassbox.errors import UnsupportedModel
from glassbox.types import TokenIds

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""Largest difference, nats, between the last row and the model's own log-probabilities.

Both come from the same weights and the same state: only the size of the matrix product differs,
and with it the order of its sums. A forgotten norm or scaling shows as whole nats.
"""

_TOO_LONG = (
    "This text does not fit into memory beside the model, layer by layer. Shorten it, or ask for "
    "fewer positions."
)


def logit_lens(
    model: PreTrainedModel, tokens: TokenIds, positions: Sequence[int], *, top_k: int
) -> LogitLens:
    """Return what each layer would have said next at some positions of a text.

    Args:
        model: In evaluation mode; nobody else may call it meanwhile.
        tokens: The whole text.
        positions: Positions to read.
        top_k: Tokens to name at each place.

    Raises:
        UnsupportedModel: The blocks are not to be found, or the model's output needs more than
            what leaves its last block.
        NonFiniteOutput: A layer's logits are NaN or infinite.
    """
    blocks = blocks_of(model)
    if blocks is None:
        raise UnsupportedModel(
            f"The blocks of {type(model).__name__} are not to be found, so it has no logit lens."
        )
    with torch.inference_mode():
        read = torch.tensor([*positions, len(tokens) - 1], device=model.device)
        outputs, own = _forward(model, blocks, tokens, read)
        last = torch.log_softmax(_end(model, blocks, outputs[-1]), dim=-1)
        # One position more than was asked for: there the model's own logits are at hand.
        _require_the_models_own(last[-1], torch.log_softmax(own, dim=-1), model)
        final = last[:-1].argmax(dim=-1, keepdim=True)
        # One layer's logits at a time: all of them can be larger than the model.
        layers = [_layer(last[:-1], final, top_k)]
        del last
        for output in reversed(outputs[:-1]):
            logits = _end(model, blocks, output)[:-1]
            layers.append(_layer(torch.log_softmax(logits, dim=-1), final, top_k))
        return _lens(tuple(positions), layers[::-1])


def read_lens(model: PreTrainedModel, request: LensRequest) -> LogitLens:
    """Return the answer to a request that has been checked.

    Raises:
        UnsupportedModel: As ``logit_lens``.
        NonFiniteOutput: As ``logit_lens``.
        OutOfMemory: It does not fit.
    """
    with running_out_named(lambda: _TOO_LONG):
        return logit_lens(model, request.tokens, request.positions, top_k=request.top_k)


def _forward(
    model: PreTrainedModel, blocks: nn.ModuleList, tokens: TokenIds, read: Tensor
) -> tuple[list[Any], Float[Tensor, " d_vocab"]]:
    """Return each block's output at the read positions, and the model's logits at the last.

    An output keeps its form: a state [1, n_read, d_model], or a tuple that begins with it.
    """
    outputs: dict[int, Any] = {}

    def keep(index: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, tuple | list):
                outputs[index] = (output[0].index_select(1, read), *output[1:])
            else:
                outputs[index] = output.index_select(1, read)

        return hook

    handles = [block.register_forward_hook(keep(index)) for index, block in enumerate(blocks)]
    # Logits of a whole text can be larger than the model; most models can be asked for the last.
    spare = "logits_to_keep" in inspect.signature(model.forward).parameters
    few = {"logits_to_keep": 1} if spare else {}
    try:
        output = model(
            input_ids=torch.tensor([tokens], device=model.device), use_cache=False, **few
        )
    finally:
        for handle in handles:
            handle.remove()
    return [outputs[index] for index in range(len(blocks))], output.logits[0, -1].float()


def _end(
    model: PreTrainedModel, blocks: nn.ModuleList, output: Any
) -> Float[Tensor, "n_read d_vocab"]:
    """Return the logits (float32) that the model makes of a block's output after its last block."""
    state = output[0] if isinstance(output, tuple) else output
    places = torch.zeros(1, state.shape[1], dtype=torch.long, device=model.device)
    with _answering(blocks, output):
        logits: Tensor = model(input_ids=places, use_cache=False).logits
    return logits[0].float()


@contextmanager
def _answering(blocks: nn.ModuleList, output: Any) -> Iterator[None]:
    """Let every block give one output instead of working, as long as this is open."""
    before = [block.__dict__.get("forward") for block in blocks]

    def answer(*_args: Any, **_kwargs: Any) -> Any:
        return output

    try:
        for block in blocks:
            block.forward = answer
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is None:
                block.__dict__.pop("forward", None)
            else:
                block.forward = own


def _require_the_models_own(
    last_row: Float[Tensor, " d_vocab"], own: Float[Tensor, " d_vocab"], model: PreTrainedModel
) -> None:
    """Compare log-probabilities from a block's output with those of the whole model."""
    require_finite(entropy(own))
    gap = largest_gap(last_row, own)
    if not gap <= TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]):
        raise UnsupportedModel(
            f"{type(model).__name__} has no logit lens: its answer is not made from its last "
            f"block's output alone (log-probabilities differ by {gap:.2g} nats)."
        )


@dataclass(frozen=True, eq=False)
class _Layer:
    """What one layer says, on the host."""

    top_ids: Int[np.ndarray, "n_positions top_k"]
    top_logprobs: Float[np.ndarray, "n_positions top_k"]
    entropies: Float[np.ndarray, " n_positions"]
    final_logprobs: Float[np.ndarray, " n_positions"]


def _layer(
    logprobs: Float[Tensor, "n_positions d_vocab"], final: Int[Tensor, "n_positions 1"], top_k: int
) -> _Layer:
    top = torch.topk(logprobs, top_k, dim=-1)
    layer = _Layer(
        top_ids=top.indices.cpu().numpy(),
        top_logprobs=top.values.cpu().numpy(),
        entropies=entropy(logprobs).cpu().numpy(),
        final_logprobs=logprobs.gather(1, final)[:, 0].cpu().numpy(),
    )
    require_finite(layer.entropies, layer.top_logprobs, layer.final_logprobs)
    return layer


def _lens(positions: tuple[int, ...], layers: list[_Layer]) -> LogitLens:
    return LogitLens(
        positions=positions,
        top_ids=np.stack([layer.top_ids for layer in layers]),
        top_logprobs=np.stack([layer.top_logprobs for layer in layers]),
        entropies=np.stack([layer.entropies for layer in layers]),
        final_logprobs=np.stack([layer.final_logprobs for layer in layers]),
    )
