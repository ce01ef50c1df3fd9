"""How a model's own modules attend: by another function for a while, openly where that is asked.

The library's fused attention has no weights to show: with it ``output_attentions=True`` gives none.
Knows the library's models; knows nothing of who calls them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

OPEN = "eager"
"""The library's name for attention step by step, as each architecture writes it."""


class Attending:
    """Lets a model's own modules attend through another function for a while.

    Args:
        model: The library's model.
        name: Of the function, as transformers knows it.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        found = (getattr(module, "config", None) for module in model.modules())
        configs = {id(config): config for config in found if isinstance(config, PretrainedConfig)}
        self._configs = tuple(configs.values())
        self._name = name

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold inside the block."""
        before = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = self._name
            yield
        finally:
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation = name


class OpenOnRequest:
    """Lets a model attend in the open in each pass that asks for attention weights, from now on.

    Args:
        model: The library's model. The hooks are on its body, through which each pass goes.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._open = ExitStack()
        body = model.base_model
        body.register_forward_pre_hook(self._begin, with_kwargs=True)
        body.register_forward_hook(self._end, always_call=True)

    def close(self) -> None:
        """Attend as before, where a pass was interrupted; idempotent."""
        self._open.close()

    def _begin(self, body: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not named.get("output_attentions", body.config.output_attentions):
            return None
        self._open.enter_context(Attending(body, OPEN)())
        if "attention_mask" in named:
            named = {**named, "attention_mask": _additive(named["attention_mask"], body.dtype)}
        return tuple(_additive(value, body.dtype) for value in args), named

    def _end(self, *_: Any) -> None:
        self._open.close()


def _additive(value: Any, dtype: torch.dtype) -> Any:
    """Return a mask that was made for the fused attention as one to be added; others as they are.

    Such masks come from a guest, and from ``generate`` with a static cache. Where there is one for
    each kind of layer and one is left out, nothing is padded: the model makes all of them anew.
    """
    if isinstance(value, dict):
        masks = {kind: _additive(mask, dtype) for kind, mask in value.items()}
        return None if any(mask is None for mask in masks.values()) else masks
    if isinstance(value, Tensor) and value.dtype == torch.bool and value.dim() == 4:
        return torch.zeros_like(value, dtype=dtype).masked_fill_(~value, torch.finfo(dtype).min)
    return value
