"""Folders of ``dictionary_learning``: ``config.json`` beside ``ae.pt``, read with weights only.

Source: dictionary_learning 0.1.0 ``dictionary.py`` and ``trainers/*.py``, and what its
``from_pretrained`` does to the weights: a plain autoencoder is brought to unit decoder norm.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from glassbox.errors import CorruptArtifact
from glassbox.pathways.saes.readers.config_file import (
    ConfigFile,
    hook_layer,
    need_tensors,
    require_shapes,
    settled_layer,
    unsupported,
    vector,
)
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.readers.recipe import Matrix, Recipe
from glassbox.pathways.saes.readers.tensor_files import HeldTensors, torch_file
from glassbox.pathways.saes.sae import SaeSource

CONFIG_FILE = "config.json"
"""Name of the configuration."""

WEIGHTS_FILE = "ae.pt"
"""Name of the tensors' file."""

_RESIDUAL = re.compile(r"resid_post_layer_(\d+)")
_LINEAR = (Matrix("encoder.weight", 0), Matrix("decoder.weight", 1))
_PARAMETERS = (Matrix("W_enc", 1), Matrix("W_dec", 0))


def open_dictionary_learning(folder: Path, *, layer: int | None = None) -> SaeReader:
    """Return an SAE that ``dictionary_learning`` wrote.

    Raises:
        CorruptArtifact: A file is missing or damaged, holds more than tensors, or its parts
            contradict one another.
        UnsupportedModel: A class of dictionaries that is not read here.
        InvalidValue: ``layer`` contradicts the file.
    """
    config = ConfigFile(folder / CONFIG_FILE)
    trainer = config.need("trainer", dict)
    kind = trainer.get("dict_class")
    make = _CLASSES.get(str(kind))
    if make is None:
        raise unsupported(
            config.path,
            f"the class {kind!r} is not read here; these are: {', '.join(_CLASSES)}",
        )
    file = torch_file(folder / WEIGHTS_FILE)
    recipe = make(file, trainer)
    require_shapes(
        file, recipe, d_in=_whole(trainer, "activation_dim"), d_sae=_whole(trainer, "dict_size")
    )
    hook = _hook(trainer)
    k = trainer.get("k")
    facts = SaeSource(
        format="dictionary_learning",
        convention="file",
        path=str(folder),
        digest="",
        architecture=str(kind),
        hook=hook,
        model=str(trainer.get("lm_name") or ""),
        dtype=file.dtype(recipe.encoder.name),
        expected_l0=float(k) if isinstance(k, int) else None,
    )
    return SaeReader(
        file,
        recipe,
        facts,
        layer=settled_layer(folder, hook_layer(hook), layer),
        files=(config.path, file.path),
    )


def _whole(trainer: dict[str, Any], name: str) -> int | None:
    value = trainer.get(name)
    return value if isinstance(value, int) else None


def _hook(trainer: dict[str, Any]) -> str:
    """Return the place that it reads; without a submodule's name, that is a block's output."""
    name, layer = trainer.get("submodule_name"), _whole(trainer, "layer")
    residual = _RESIDUAL.fullmatch(str(name))
    if residual:
        return f"blocks.{residual[1]}.hook_resid_post"
    if name is None:
        return "" if layer is None else f"blocks.{layer}.hook_resid_post"
    return str(name)


def _k(file: HeldTensors, trainer: dict[str, Any]) -> int:
    stated = trainer.get("k")
    held = int(file.read("k")) if "k" in file.names else stated
    if not isinstance(held, int) or (isinstance(stated, int) and stated != held):
        raise CorruptArtifact(file.path, f"k is {held} here and {stated} in the configuration")
    return held


def _plain(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    del trainer
    need_tensors(file, ("encoder.weight", "encoder.bias", "decoder.weight", "bias"))
    b_enc, bias = vector(file, "encoder.bias"), vector(file, "bias")
    return Recipe(
        *_LINEAR,
        b_enc=b_enc,
        b_dec=bias,
        threshold=torch.zeros_like(b_enc),
        centre=bias,
        fold_decoder_norm=True,
    )


def _april(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    del trainer
    need_tensors(file, ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"))
    b_enc = vector(file, "encoder.bias")
    return Recipe(
        *_LINEAR,
        b_enc=b_enc,
        b_dec=vector(file, "decoder.bias"),
        threshold=torch.zeros_like(b_enc),
    )


def _gated(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    del trainer
    need_tensors(file, ("encoder.weight", "decoder.weight", "decoder_bias"))
    gate, mag, r_mag = (vector(file, each) for each in ("gate_bias", "mag_bias", "r_mag"))
    bias = vector(file, "decoder_bias")
    factor = r_mag.exp()
    return Recipe(
        *_LINEAR,
        b_enc=mag,
        b_dec=bias,
        # Where the gate opens, in units of the magnitude's z: the two share their linear map.
        threshold=(mag - gate * factor).clamp(min=0),
        encoder_factor=factor,
        centre=bias,
    )


def _jumprelu(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    del trainer
    need_tensors(file, ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"))
    return Recipe(
        *_PARAMETERS,
        b_enc=vector(file, "b_enc"),
        b_dec=vector(file, "b_dec"),
        threshold=vector(file, "threshold").clamp(min=0),
    )


def _topk(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    need_tensors(file, ("encoder.weight", "encoder.bias", "decoder.weight", "b_dec"))
    b_enc, b_dec = vector(file, "encoder.bias"), vector(file, "b_dec")
    return Recipe(
        *_LINEAR,
        b_enc=b_enc,
        b_dec=b_dec,
        threshold=torch.zeros_like(b_enc),
        centre=b_dec,
        k=_k(file, trainer),
    )


def _batchtopk(file: HeldTensors, trainer: dict[str, Any]) -> Recipe:
    """Return a BatchTopK dictionary, which infers with the threshold that training kept."""
    _k(file, trainer)
    linear = "encoder.weight" in file.names
    b_enc = vector(file, "encoder.bias" if linear else "b_enc")
    b_dec = vector(file, "b_dec")
    threshold = float(vector(file, "threshold"))
    return Recipe(
        *(_LINEAR if linear else _PARAMETERS),
        b_enc=b_enc,
        b_dec=b_dec,
        # Below 0 it was never set, which leaves the relu alone.
        threshold=torch.full_like(b_enc, max(0.0, threshold)),
        centre=b_dec,
    )


_CLASSES: dict[str, Callable[[HeldTensors, dict[str, Any]], Recipe]] = {
    "AutoEncoder": _plain,
    "AutoEncoderNew": _april,
    "GatedAutoEncoder": _gated,
    "JumpReluAutoEncoder": _jumprelu,
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": _batchtopk,
    "MatryoshkaBatchTopKSAE": _batchtopk,
}
