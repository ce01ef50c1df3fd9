"""Weights laid out once for small batches, where a product would lay them out at every call.

On a CPU a product with few rows spends much of its time rearranging the weights. The library's
linear layers get copies that are arranged already, used while a step of the running batch holds
them; outside, and in larger passes, the layers are as they were. Knows linear layers alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

MAX_TOKENS = 128
"""Tokens of a pass up to which arranged weights pay.

Source: the 40M benchmark model in float32 on two AVX2 cores: 1.2 to 1.6 times faster a layer at 32
tokens, equal at 64 to 128, slower at 288.
"""

MIN_WEIGHTS = 2**18
"""Weights of a layer from which it pays; smaller ones were equal or slower.

Source: float32 on two AVX2 cores, 32 rows: 211 us for 251 at 512 by 512, 122 for 122 at 512 by 256.
"""

MAX_BYTES = 2 * 2**30
"""Most memory for copies; a larger model is left as it is."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest difference from the ordinary product relative to its largest value."""


class PackedLinears:
    """The large linear layers of a model on a CPU, with their weights arranged on first use.

    Args:
        model: In evaluation mode; its weights do not change.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._forwards: list[tuple[nn.Linear, Callable[[Tensor], Tensor]]] | None = None

    @contextmanager
    def __call__(self, n_tokens: int) -> Iterator[None]:
        """Let the layers use the arranged weights inside the block, if that pays.

        Args:
            n_tokens: Tokens of the pass.
        """
        if n_tokens > MAX_TOKENS:
            yield
            return
        if self._forwards is None:
            self._forwards = _arranged(self._model)
        for layer, forward in self._forwards:
            layer.__dict__["forward"] = forward
        try:
            yield
        finally:
            for layer, _ in self._forwards:
                layer.__dict__.pop("forward", None)


def _arranged(model: nn.Module) -> list[tuple[nn.Linear, Callable[[Tensor], Tensor]]]:
    layers = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype in TOLERANCE
        and module.weight.numel() >= MIN_WEIGHTS
        and "forward" not in module.__dict__
    ]
    if sum(layer.weight.nbytes for layer in layers) > MAX_BYTES:
        return []
    forwards = ((layer, _forward(layer)) for layer in layers)
    return [(layer, forward) for layer, forward in forwards if forward is not None]


def _forward(layer: nn.Linear) -> Callable[[Tensor], Tensor] | None:
    """Return the layer's product over arranged weights, if this build of torch has it."""
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    try:
        ops = torch.ops.mkldnn
        packed = ops._reorder_linear_weight(weight, 32)

        def forward(inputs: Tensor) -> Tensor:
            output: Tensor = ops._linear_pointwise(inputs, packed, bias, "none", [], "")
            return output

        trial = torch.linspace(-1, 1, 2 * layer.in_features).view(1, 2, -1).to(weight.dtype)
        expected, found = nn.functional.linear(trial, weight, bias), forward(trial)
    except (AttributeError, RuntimeError):
        return None
    gap, scale = (found - expected).abs().max(), expected.abs().max().clamp_min(1e-6)
    return forward if bool(gap <= TOLERANCE[weight.dtype] * scale) else None
