"""LoRA adapters on one resident model: load several, select one for a call, fit another.

PEFT replaces each linear layer of attention and MLP by one that adds a low-rank update; the model
object itself stays the library's own and is called as before. With no adapter selected every layer
calls the base layer alone, so the base model's answer is the same bit for bit, and when the last
adapter goes the original layers return. Knows nothing of prompts, losses or how an update is found.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from glassbox.engine.adapter_files import CONFIG_FILE, AdapterFolder, LoraPair, read_adapter
from glassbox.engine.dropout import DropoutSource, SeededDropout
from glassbox.engine.protocol import AdapterRecipe
from glassbox.errors import (
    AdapterMismatch,
    ConflictError,
    CorruptArtifact,
    UnknownName,
    UnsupportedModel,
)

_PEFT_PREFIX = "base_model.model."
"""What PEFT's own wrapper puts before the names of the model's layers."""


@dataclass(frozen=True)
class BaseModel:
    """The resident model that adapters are made for."""

    model: PreTrainedModel
    """In evaluation mode."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    name: str
    """The name or folder it was loaded from."""
    digest: str
    """Digest of its files (hex)."""
    context: int
    """Most tokens of prompt and continuation together."""
    n_parameters: int
    """Parameters without any adapter."""


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


class Adapters:
    """The adapters of one resident model.

    Args:
        base: The resident model.
    """

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._tuner: LoraModel | None = None
        self._layers: dict[str, LoraLayer] = {}
        self._slots: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._n_made = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the loaded adapters, sorted."""
        return tuple(sorted(self._slots))

    def digest(self, name: str) -> str:
        """Return the digest (hex) of a loaded adapter.

        Raises:
            UnknownName: No adapter of that name is loaded.
        """
        self._slot(name)
        return self._digests[name]

    def load(self, folder: Path, *, name: str | None = None) -> str:
        """Return the name under which a LoRA adapter is now loaded (its digest by default).

        Loading the same adapter under the same name again does nothing.

        Raises:
            CorruptArtifact: The folder is no complete PEFT adapter.
            AdapterMismatch: It was made for another base model or does not fit its shapes.
            UnsupportedModel: It is not plain LoRA.
            ConflictError: Another adapter is loaded under that name.
        """
        adapter = read_adapter(folder)
        name = name or adapter.digest
        if name in self._slots:
            if self._digests[name] == adapter.digest:
                return name
            raise ConflictError(
                f"The name {name!r} belongs to adapter {self._digests[name][:12]}; {folder} holds "
                f"{adapter.digest[:12]}. Unload the first, or choose another name."
            )
        check_fit(adapter, self.base)
        slot = self._inject(_config_of(adapter))
        try:
            self._fill(slot, adapter)
        except CorruptArtifact:
            self._remove(slot)
            raise
        self._slots[name] = slot
        self._digests[name] = adapter.digest
        self._select(None)
        return name

    def unload(self, name: str) -> None:
        """Free an adapter's memory.

        Raises:
            UnknownName: No adapter of that name is loaded.
        """
        slot = self._slot(name)
        del self._slots[name], self._digests[name]
        self._remove(slot)

    @contextmanager
    def selected(self, name: str | None) -> Iterator[None]:
        """Answer with one adapter inside the block; None is the base model, bit for bit.

        Raises:
            UnknownName: No adapter of that name is loaded.
        """
        self._select(None if name is None else self._slot(name))
        try:
            yield
        finally:
            self._select(None)

    @contextmanager
    def trainee(self, recipe: AdapterRecipe) -> Iterator[Trainee]:
        """Lend an adapter to be fitted; it is selected inside the block and gone afterwards.

        The weights start as PEFT's do (A uniform, B zero) from the recipe's seed alone.

        Raises:
            UnsupportedModel: The model has no linear layers outside its output head.
        """
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules="all-linear",
            base_model_name_or_path=self.base.name,
        )
        slot = self._inject(config)
        try:
            self._select(slot, trainable=True)
            yield self._as_trainee(slot, config, recipe)
        finally:
            self._remove(slot)

    def _slot(self, name: str) -> str:
        try:
            return self._slots[name]
        except KeyError:
            raise UnknownName("adapter", name, self.names, remedy="Load it first.") from None

    def _inject(self, config: LoraConfig) -> str:
        slot = f"slot{self._n_made}"
        self._n_made += 1
        # PEFT draws initial weights from the global generator; they are replaced, and the
        # generator is given back as it was.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set")
            try:
                if self._tuner is None:
                    self._tuner = LoraModel(self.base.model, config, slot)
                else:
                    self._tuner.peft_config[slot] = config
                    self._tuner.inject_adapter(self.base.model, slot)
            except ValueError as error:
                self._forget(slot)
                raise UnsupportedModel(
                    f"{self.base.name}: PEFT finds no layers for this adapter ({error})."
                ) from error
        self._layers = {
            name: module
            for name, module in self.base.model.named_modules()
            if isinstance(module, LoraLayer)
        }
        for layer in self._layers.values():
            if slot in layer.lora_A:
                # Updates are small against the weights: half precision would round them away.
                layer.lora_A[slot].float()
                layer.lora_B[slot].float()
        self.base.model.eval()
        return slot

    def _forget(self, slot: str) -> None:
        if self._tuner is not None:
            self._tuner.peft_config.pop(slot, None)
        elif hasattr(self.base.model, "peft_config"):
            del self.base.model.peft_config

    def _remove(self, slot: str) -> None:
        self._select(None)
        tuner = self._tuner
        if tuner is None:
            return
        if len(tuner.peft_config) == 1:
            tuner.unload()
            self._tuner, self._layers = None, {}
            return
        others = [other for other in tuner.peft_config if other != slot]
        for layer in self._layers.values():
            layer.set_adapter(others[0], inference_mode=True)
        tuner.delete_adapter(slot)
        self._select(None)

    def _select(self, slot: str | None, *, trainable: bool = False) -> None:
        for layer in self._layers.values():
            layer.enable_adapters(slot is not None)
            if slot is not None:
                layer.set_adapter(slot, inference_mode=not trainable)

    def _weights(self, slot: str) -> dict[str, nn.Parameter]:
        weights: dict[str, nn.Parameter] = {}
        for name, layer in self._layers.items():
            for side, factors in (("A", layer.lora_A), ("B", layer.lora_B)):
                if slot in factors:
                    weights[f"{_PEFT_PREFIX}{name}.lora_{side}.weight"] = factors[
                        slot
                    ].get_parameter("weight")
        return dict(sorted(weights.items()))

    @torch.no_grad()
    def _fill(self, slot: str, adapter: AdapterFolder) -> None:
        path = adapter.folder / CONFIG_FILE
        expected = {name for name, layer in self._layers.items() if slot in layer.lora_A}
        if expected != set(adapter.pairs):
            odd = sorted(expected.symmetric_difference(adapter.pairs))
            raise CorruptArtifact(
                path, f"configuration and weights disagree on {len(odd)} layers, such as {odd[0]!r}"
            )
        for name, pair in adapter.pairs.items():
            layer = self._layers[name]
            a, b = (each[slot].get_parameter("weight") for each in (layer.lora_A, layer.lora_B))
            if a.shape != pair.a.shape:
                raise CorruptArtifact(
                    path,
                    f"it says rank {a.shape[0]} for {name!r}, the weights have {pair.a.shape[0]}",
                )
            a.copy_(pair.a)
            b.copy_(pair.b)

    def _as_trainee(self, slot: str, config: LoraConfig, recipe: AdapterRecipe) -> Trainee:
        parameters = self._weights(slot)
        draw = torch.Generator().manual_seed(recipe.seed)
        with torch.no_grad():
            for name, parameter in parameters.items():
                if ".lora_A." in name:
                    start = torch.empty(parameter.shape, dtype=torch.float32)
                    nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=draw)
                    parameter.copy_(start)
                else:
                    parameter.zero_()
        source = DropoutSource(recipe.dropout, self.base.model.device)
        dropouts = []
        for layer in self._layers.values():
            if slot in layer.lora_A:
                dropout = SeededDropout(source)
                layer.lora_dropout[slot] = dropout
                dropouts.append(dropout)
        return Trainee(parameters, _as_json(config), source, tuple(dropouts))


def check_fit(adapter: AdapterFolder, base: BaseModel) -> None:
    """Check that an adapter was made for a base model, before anything is changed.

    Raises:
        AdapterMismatch: Another base model's digest, an unknown layer or other sizes.
    """
    if adapter.base_digest and adapter.base_digest != base.digest:
        raise AdapterMismatch(
            f"The adapter in {adapter.folder} was made for {adapter.base or 'a model'} (digest "
            f"{adapter.base_digest[:12]}); the resident model is {base.name} (digest "
            f"{base.digest[:12]}). Load the model it was made for, or tune this one."
        )
    modules = dict(base.model.named_modules())
    for name, pair in adapter.pairs.items():
        sizes = _sizes(modules.get(name))
        if sizes != _sizes_of_pair(pair):
            found = "no such layer" if sizes is None else f"{sizes[0]} inputs, {sizes[1]} outputs"
            wanted = _sizes_of_pair(pair)
            raise AdapterMismatch(
                f"The adapter in {adapter.folder}, made for {adapter.base or 'another model'}, "
                f"does not fit {base.name}: layer {name!r} should have {wanted[0]} inputs and "
                f"{wanted[1]} outputs; the model has {found}."
            )


def _sizes_of_pair(pair: LoraPair) -> tuple[int, int]:
    return (pair.a.shape[1], pair.b.shape[0])


def _sizes(module: nn.Module | None) -> tuple[int, int] | None:
    if isinstance(module, LoraLayer | nn.Linear):
        return (int(module.in_features), int(module.out_features))
    if isinstance(module, Conv1D):
        return (int(module.nx), int(module.nf))
    return None


def _config_of(adapter: AdapterFolder) -> LoraConfig:
    try:
        config: LoraConfig = LoraConfig.from_peft_type(**adapter.config)
    except (TypeError, ValueError) as error:
        raise CorruptArtifact(
            adapter.folder / CONFIG_FILE, f"PEFT does not take this configuration ({error})"
        ) from error
    # The weights are at hand, so no initialisation is to look at or change the base layers.
    config.init_lora_weights = False
    config.inference_mode = True
    return config


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
