"""Undoing what a guest did to the model: hooks, modes, gradients, attributes, weights.

A snapshot is taken before the model is lent and put back afterwards: every tensor gets its own
memory again, however it was moved or converted. Small models are copied and compared value by
value; large ones, watched by version counters and samples, cannot be put back once changed. Knows
modules; knows nothing of who borrows them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassbox.errors import ConflictError

COPY_BYTES = 2**30
"""Weights up to this size are copied before they are lent, so that changed ones can be put back."""

N_SAMPLED = 1024
"""Values of each tensor that are compared, evenly spaced."""


@dataclass(frozen=True, eq=False)
class _Weight:
    tensor: Tensor
    values: Tensor
    """The same memory in its own form: a guest may have given the tensor another."""
    version: int
    sample: Tensor
    copy: Tensor | None
    requires_grad: bool


class Snapshot:
    """What a model was like before it was lent.

    Args:
        model: In evaluation mode, without gradients.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._modules = [
            (module, dict(module.__dict__), _tables(module)) for module in model.modules()
        ]
        named = [*model.named_parameters(), *model.named_buffers()]
        affordable = sum(tensor.nbytes for _, tensor in named) <= COPY_BYTES
        self._weights = {
            name: _Weight(
                tensor,
                tensor.detach(),
                tensor._version,
                _sample(tensor),
                tensor.detach().clone() if affordable else None,
                tensor.requires_grad,
            )
            for name, tensor in named
        }
        self._config = model.config.to_dict()

    def restore(self) -> None:
        """Put everything back.

        Raises:
            ConflictError: Weights were changed that cannot be put back: the model must not answer
                any more.
        """
        for module, attributes, tables in self._modules:
            for name in set(module.__dict__) - set(attributes):
                del module.__dict__[name]
            module.__dict__.update(attributes)
            for name, entries in tables.items():
                table = getattr(module, name)
                table.clear()
                table.update(entries)
        for name, value in self._model.config.to_dict().items():
            before = self._config.get(name)
            if value != before and hasattr(self._model.config, name):
                setattr(self._model.config, name, before)
        lost = [name for name, weight in self._weights.items() if not self._put_back(weight)]
        if lost:
            raise ConflictError(
                f"The model was lent and came back with {len(lost)} changed weights, such as "
                f"{lost[0]!r}; there is no copy to put back. Load the model again."
            )

    def _put_back(self, weight: _Weight) -> bool:
        tensor = weight.tensor
        tensor.grad = None
        if _form(tensor) != _form(weight.values):
            tensor.data = weight.values
        if tensor.requires_grad != weight.requires_grad:
            tensor.requires_grad_(weight.requires_grad)
        if weight.copy is None:
            # The counter may move without a change of values, but a small change misses the sample.
            return tensor._version == weight.version and torch.equal(_sample(tensor), weight.sample)
        if not torch.equal(weight.values, weight.copy):
            with torch.no_grad():
                weight.values.copy_(weight.copy)
        return True


def _tables(module: nn.Module) -> dict[str, dict[Any, Any]]:
    """Return copies of a module's own dictionaries: parameters, children, hooks of every kind."""
    return {name: dict(value) for name, value in module.__dict__.items() if isinstance(value, dict)}


def _form(tensor: Tensor) -> tuple[Any, ...]:
    """Return where a tensor's values are and how they are read."""
    return tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach().flatten()
    step = max(1, flat.numel() // N_SAMPLED)
    return flat[::step].float().nan_to_num().clone()
