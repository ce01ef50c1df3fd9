"""The part of a forward pass above one layer, done again with that layer's output changed.

A whole pass goes first and keeps what each block above was called with besides the stream (mask,
positions); the library's own modules then run on changed streams. Knows nothing of latents.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from glassbox.engine.states.taps import Taps
from glassbox.types import HookPoint


@dataclass(frozen=True, eq=False)
class UpperBlocks:
    """The blocks above a layer, ready for other streams of the batch that ran."""

    x: Float[Tensor, "b t d"]
    """What the layer wrote."""
    clean: Float[Tensor, "b t d"]
    """The states behind the final norm with nothing changed."""
    _calls: tuple[tuple[nn.Module, tuple[Any, ...], dict[str, Any]], ...]
    _final_norm: nn.Module

    def run(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Return the states behind the final norm with ``x`` as what the layer wrote."""
        for block, args, kwargs in self._calls:
            out = block(x, *args, **kwargs)
            x = out[0] if isinstance(out, tuple) else out
        states: Tensor = self._final_norm(x)
        return states


def run_whole(model: Any, taps: Taps, layer: int, tokens: Int[Tensor, "b t"]) -> UpperBlocks:
    """Return the blocks above a layer, after a whole pass over a batch.

    Args:
        model: The lent causal language model, in evaluation mode.
        taps: Its taps.
        layer: Block, 0-based, whose output will be changed.
        tokens: The batch; padding stands behind, so that no mask is needed.
    """
    written: list[Tensor] = []
    calls = []

    def keep(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rest = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        calls.append((block, args[1:], rest))

    with ExitStack() as stack:
        point = taps.whole(HookPoint(layer))
        stack.enter_context(taps.hooked(taps.module(point), False, written.append))
        for above in range(layer + 1, taps.n_layers):
            block = taps.module(taps.whole(HookPoint(above)))
            stack.callback(block.register_forward_pre_hook(keep, with_kwargs=True).remove)
        clean = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    return UpperBlocks(written[0], clean, tuple(calls), taps.final_norm)
