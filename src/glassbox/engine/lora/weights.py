"""A LoRA adapter as it is applied: scaled factors of each layer, checked against the base model.

The low-rank update of a layer is ``x @ A.T @ B`` with the scale already in B. Whether the
configuration and the weights tell the same story is checked here, once, before anything is served.
Knows PEFT's configuration and the names of the model's layers; knows nothing of batches or memory.
PEFT itself is imported with the first adapter: whoever has none does not wait for it.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from glassbox.engine.lora.files import CONFIG_FILE, AdapterFolder, LoraPair
from glassbox.errors import AdapterMismatch, CorruptArtifact
from glassbox.importing import importing_libraries
from glassbox.wording import counted

if TYPE_CHECKING:
    from peft import LoraConfig

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the output head."""


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


@dataclass(frozen=True, eq=False)
class LayerUpdate:
    """The update of one linear layer."""

    a: Float[Tensor, "rank n_in"]
    """First factor."""
    b: Float[Tensor, "rank n_out"]
    """Second factor, transposed and multiplied by the adapter's scale."""

    @property
    def rank(self) -> int:
        """Rows of both factors."""
        return int(self.a.shape[0])


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """All updates of one adapter, in one place and number format."""

    digest: str
    """SHA-256 over the adapter's configuration and weights (hex)."""
    layers: Mapping[str, LayerUpdate]
    """Updates by the name of the layer."""

    @property
    def rank(self) -> int:
        """Largest rank among the layers."""
        return max(update.rank for update in self.layers.values())

    @property
    def n_bytes(self) -> int:
        """Memory that the factors take."""
        return sum(update.a.nbytes + update.b.nbytes for update in self.layers.values())

    def to(self, device: torch.device) -> "AdapterWeights":
        """Return the same adapter on a device; nothing is copied if it is there already."""
        return AdapterWeights(
            self.digest,
            {
                name: LayerUpdate(update.a.to(device), update.b.to(device))
                for name, update in self.layers.items()
            },
        )


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return the layers that an adapter may update, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def prepare(
    adapter: AdapterFolder, base: BaseModel, layers: Mapping[str, nn.Module]
) -> AdapterWeights:
    """Return an adapter's scaled factors on the host, in the base model's number format.

    Args:
        adapter: As it was read.
        base: The resident model.
        layers: Its linear layers by name.

    Raises:
        AdapterMismatch: Another base model's digest, an unknown layer or other sizes.
        CorruptArtifact: Configuration and weights disagree about layers or ranks.
    """
    check_fit(adapter, base, layers)
    config = config_of(adapter)
    try:
        _check_layers(adapter, config, base, layers)
        return AdapterWeights(adapter.digest, _updates(adapter, config, base))
    except (AttributeError, TypeError, ZeroDivisionError, re.error) as error:
        # PEFT takes fields of any kind and looks at them when it needs them.
        raise CorruptArtifact(
            adapter.folder / CONFIG_FILE, f"a field is not what PEFT writes there ({error})"
        ) from error


def _updates(
    adapter: AdapterFolder, config: "LoraConfig", base: BaseModel
) -> dict[str, LayerUpdate]:
    updates = {}
    for name, pair in adapter.pairs.items():
        rank = _from_pattern(config.rank_pattern, name, config.r)
        if rank != pair.a.shape[0]:
            raise CorruptArtifact(
                adapter.folder / CONFIG_FILE,
                f"it says rank {rank} for {name!r}, the weights have {pair.a.shape[0]}",
            )
        alpha = _from_pattern(config.alpha_pattern, name, config.lora_alpha)
        # Source: Kalajdzievski 2023, "A Rank Stabilization Scaling Factor", equation 4, for rslora.
        scale = alpha / math.sqrt(rank) if config.use_rslora else alpha / rank
        updates[name] = LayerUpdate(
            pair.a.to(base.model.dtype, copy=True).contiguous(),
            (pair.b.float() * scale).t().to(base.model.dtype).contiguous(),
        )
    return updates


def check_fit(adapter: AdapterFolder, base: BaseModel, layers: Mapping[str, nn.Module]) -> None:
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
    for name, pair in adapter.pairs.items():
        sizes = _sizes(layers.get(name))
        wanted = _sizes_of_pair(pair)
        if sizes != wanted:
            found = "no such layer" if sizes is None else f"{sizes[0]} inputs, {sizes[1]} outputs"
            raise AdapterMismatch(
                f"The adapter in {adapter.folder}, made for {adapter.base or 'another model'}, "
                f"does not fit {base.name}: layer {name!r} should have {wanted[0]} inputs and "
                f"{wanted[1]} outputs; the model has {found}."
            )


def config_of(adapter: AdapterFolder) -> "LoraConfig":
    """Return PEFT's configuration of an adapter.

    Raises:
        CorruptArtifact: PEFT does not take it.
    """
    with importing_libraries():
        from peft import LoraConfig

    try:
        config: LoraConfig = LoraConfig.from_peft_type(**adapter.config)
    except (TypeError, ValueError) as error:
        raise CorruptArtifact(
            adapter.folder / CONFIG_FILE, f"PEFT does not take this configuration ({error})"
        ) from error
    return config


def _check_layers(
    adapter: AdapterFolder, config: "LoraConfig", base: BaseModel, layers: Mapping[str, nn.Module]
) -> None:
    """Check that the weights are those of the layers that the configuration names."""
    from peft.tuners.tuners_utils import check_target_module_exists

    targets = config.target_modules
    if targets is None:
        # PEFT's own choice for the architecture; it writes the names down when it saves.
        return
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        head = base.model.get_output_embeddings()
        expected = {name for name, module in layers.items() if module is not head}
    else:
        expected = {name for name in layers if check_target_module_exists(config, name)}
    if expected != set(adapter.pairs):
        odd = sorted(expected.symmetric_difference(adapter.pairs))
        raise CorruptArtifact(
            adapter.folder / CONFIG_FILE,
            f"configuration and weights disagree on {counted(len(odd), 'layer')}, such as "
            f"{odd[0]!r}",
        )


def _from_pattern(pattern: Mapping[str, int] | None, layer: str, otherwise: int) -> int:
    from peft.utils.other import get_pattern_key

    pattern = pattern or {}
    return pattern.get(get_pattern_key(list(pattern), layer), otherwise)


def _sizes_of_pair(pair: LoraPair) -> tuple[int, int]:
    return (pair.a.shape[1], pair.b.shape[0])


def _sizes(module: nn.Module | None) -> tuple[int, int] | None:
    if isinstance(module, nn.Linear):
        return (module.in_features, module.out_features)
    if isinstance(module, Conv1D):
        return (int(module.nx), int(module.nf))
    return None
