"""A LoRA adapter in the making: PEFT's layers around the model's own while it is fitted.

PEFT replaces each linear layer of attention and MLP by one that adds a low-rank update; when the
fit is over the original layers return. Serving finished adapters is ``lora.bank``'s work. Knows
nothing of prompts, losses or how an update is found.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
from torch import nn
from transformers import PreTrainedModel

from glassbox.engine.fitting.dropout import DropoutSource, SeededDropout
from glassbox.engine.lora.weights import ALL_LINEAR, BaseModel, linear_layers
from glassbox.engine.protocol import AdapterRecipe
from glassbox.errors import UnsupportedModel

_PEFT_PREFIX = "base_model.model."
"""What PEFT's own wrapper puts before the names of the model's layers."""

_NAME = "trainee"

_MAMBA = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})
"""Types of models that read the weights of some linear layers past the layer.

Source: PEFT 0.21, ``tuners_utils._check_lora_target_modules_mamba``.
"""

_READ_PAST = frozenset({"dt_proj", "out_proj"})
"""Those layers: PEFT refuses ``out_proj``, and an update of ``dt_proj`` would reach nothing."""


@dataclass(frozen=True)
class Trainee:
    """An adapter whose weights are being fitted."""

    parameters: dict[str, nn.Parameter]
    """Float32 master weights under PEFT's names, sorted."""
    config: dict[str, Any]
    """PEFT's configuration as JSON values."""
    source: DropoutSource
    """Randomness of the dropout; seed it before each batch."""
    dropouts: tuple[SeededDropout, ...]
    """One per layer."""

    @property
    def n_trainable(self) -> int:
        """Number of parameters being fitted."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def training(self, mode: bool) -> None:
        """Switch the adapter's dropout on or off; the base model stays in evaluation mode."""
        for dropout in self.dropouts:
            dropout.train(mode)
        self.source.release()


@contextmanager
def training_adapter(base: BaseModel, recipe: AdapterRecipe) -> Iterator[Trainee]:
    """Lend an adapter to be fitted; the model answers with it inside the block, without it after.

    The weights start as PEFT's do (A uniform, B zero) from the recipe's seed alone.

    Raises:
        UnsupportedModel: The model has no linear layers outside its output head.
    """
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=_targets(base.model),
        base_model_name_or_path=base.name,
    )
    tuner = _inject(base, config)
    try:
        yield _as_trainee(_lora_layers(base.model), base, config, recipe)
    finally:
        tuner.unload()


def _targets(model: PreTrainedModel) -> str | list[str]:
    """Return PEFT's word for every linear layer, or the names of those that it takes as layers.

    Of some mixtures of experts the word means the experts' stacked weights as well, which are no
    layers.
    """
    config = LoraConfig(target_modules=ALL_LINEAR)
    convert_peft_config_for_transformers(config, model=model, conversions=None)
    if not isinstance(config.target_modules, str):
        return sorted(config.target_modules or ())
    if model.config.get_text_config().model_type not in _MAMBA:
        return ALL_LINEAR
    head = model.get_output_embeddings()
    layers = linear_layers(model).items()
    names = {name.rpartition(".")[2] for name, layer in layers if layer is not head}
    return sorted(names - _READ_PAST)


def _inject(base: BaseModel, config: LoraConfig) -> LoraModel:
    # PEFT draws initial weights from the global generator; they are replaced, and the generator is
    # given back as it was.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set")
        try:
            tuner = LoraModel(base.model, config, _NAME)
        except ValueError as error:
            _take_out(base.model)
            raise UnsupportedModel(
                f"{base.name}: PEFT finds no layers for this adapter ({error})."
            ) from error
    for layer in _lora_layers(base.model).values():
        # Updates are small against the weights: half precision would round them away.
        layer.lora_A[_NAME].float()
        layer.lora_B[_NAME].float()
    base.model.eval()
    return tuner


def _take_out(model: PreTrainedModel) -> None:
    """Give a model back what PEFT had put in before it refused."""
    for name, layer in _lora_layers(model).items():
        model.set_submodule(name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def _lora_layers(model: PreTrainedModel) -> dict[str, LoraLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _as_trainee(
    layers: dict[str, LoraLayer], base: BaseModel, config: LoraConfig, recipe: AdapterRecipe
) -> Trainee:
    parameters: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        for side, factors in (("A", layer.lora_A), ("B", layer.lora_B)):
            weight = factors[_NAME].get_parameter("weight")
            weight.requires_grad_()
            parameters[f"{_PEFT_PREFIX}{name}.lora_{side}.weight"] = weight
    parameters = dict(sorted(parameters.items()))
    draw = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        for name, parameter in parameters.items():
            if ".lora_A." in name:
                start = torch.empty(parameter.shape, dtype=torch.float32)
                nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=draw)
                parameter.copy_(start)
            else:
                parameter.zero_()
    source = DropoutSource(recipe.dropout, base.model.device)
    dropouts = []
    for layer in layers.values():
        dropout = SeededDropout(source)
        layer.lora_dropout[_NAME] = dropout
        dropouts.append(dropout)
    return Trainee(parameters, _as_json(config), source, tuple(dropouts))


def _as_json(config: LoraConfig) -> dict[str, Any]:
    """Return PEFT's configuration as it is saved: sets as sorted lists, for inference."""
    values: dict[str, Any] = config.to_dict()
    for name, value in values.items():
        if isinstance(value, set):
            values[name] = sorted(value)
        elif hasattr(value, "value"):
            values[name] = value.value
    values["inference_mode"] = True
    return values
