"""Gemma Scope and Gemma Scope 2.

The first is ``params.npz`` alone in a folder whose path says the rest; the second is
``params.safetensors``, beside ``config.json`` where there is one.

Source: SAELens 6.54 ``gemma_2_sae_huggingface_loader`` and ``gemma_3_sae_huggingface_loader``.
"""

import re
from pathlib import Path

import torch
from jaxtyping import Float

from glassbox.errors import CorruptArtifact
from glassbox.pathways.saes.readers.config_file import (
    ConfigFile,
    hook_layer,
    need_tensors,
    require_no_fine_tuning,
    require_shapes,
    settled_layer,
    unsupported,
    vector,
)
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.readers.recipe import Matrix, Recipe
from glassbox.pathways.saes.readers.tensor_files import SafetensorsFile, TensorFile, numpy_file
from glassbox.pathways.saes.sae import SaeSource

ARRAYS_FILE = "params.npz"
"""Arrays of Gemma Scope."""

TENSORS_FILE = "params.safetensors"
"""Tensors of Gemma Scope 2."""

CONFIG_FILE = "config.json"
"""Configuration of Gemma Scope 2."""

_LAYER = re.compile(r"layer_(\d+)")
_MODULE = re.compile(r"model\.layers\.(\d+)\.output")
_PLACES = {"-res": "hook_resid_post", "-mlp": "hook_mlp_out", "-att": "attn.hook_z"}
"""What the name of a release says of where its SAEs read."""


def open_gemma_scope(folder: Path, *, layer: int | None = None) -> SaeReader:
    """Return an SAE of Gemma Scope or Gemma Scope 2.

    Raises:
        CorruptArtifact: A file is missing or damaged, or its parts contradict one another.
        UnsupportedModel: An embedding's SAE, or another architecture than ``jump_relu``.
        InvalidValue: ``layer`` contradicts the path.
    """
    first = (folder / ARRAYS_FILE).is_file()
    file: TensorFile = (
        numpy_file(folder / ARRAYS_FILE) if first else SafetensorsFile(folder / TENSORS_FILE)
    )
    has_config = (folder / CONFIG_FILE).is_file()
    config = ConfigFile(folder / CONFIG_FILE) if has_config else None
    w_enc, w_dec = ("W_enc", "W_dec") if first else ("w_enc", "w_dec")
    need_tensors(file, (w_enc, w_dec, "b_enc", "b_dec", "threshold"))
    require_no_fine_tuning(file)
    if config is not None and config.text("architecture", "jump_relu") != "jump_relu":
        raise unsupported(
            config.path, f"the architecture {config.text('architecture')!r} is not read here"
        )
    recipe = Recipe(
        encoder=Matrix(w_enc, 1),
        decoder=Matrix(w_dec, 0),
        b_enc=vector(file, "b_enc"),
        b_dec=vector(file, "b_dec"),
        threshold=vector(file, "threshold").clamp(min=0),
        w_skip=_skip(file),
    )
    require_shapes(file, recipe)
    hook = _hook(folder) if config is None else _stated_hook(config, folder)
    if hook == "hook_embed":
        raise unsupported(folder, "an SAE of the embedding, which is no block's output")
    facts = SaeSource(
        format="gemma_scope",
        convention="file",
        path=str(folder),
        digest="",
        architecture="jumprelu",
        hook=hook,
        hook_out="" if config is None else config.text("hf_hook_point_out"),
        model="" if config is None else config.text("model_name"),
        dtype=file.dtype(w_enc),
    )
    files = (file.path,) if config is None else (config.path, file.path)
    stated = hook_layer(hook)
    return SaeReader(
        file,
        recipe,
        facts,
        layer=settled_layer(folder, _path_layer(folder) if not hook else stated, layer),
        files=files,
    )


def _skip(file: TensorFile) -> Float[torch.Tensor, "d_out d_in"] | None:
    name = "affine_skip_connection"
    if name not in file.names:
        return None
    matrix = vector(file, name)
    if matrix.ndim != 2:
        raise CorruptArtifact(file.path, f"{name!r} has shape {list(matrix.shape)}, no matrix")
    return matrix.T.contiguous()


def _path_layer(folder: Path) -> int | None:
    for part in reversed(folder.parts):
        found = _LAYER.search(part)
        if found:
            return int(found[1])
    return None


def _hook(folder: Path) -> str:
    """Return the place that a path like ``gemma-scope-2b-pt-res/layer_20/…`` means, if it does."""
    if any("embedding" in part for part in folder.parts):
        return "hook_embed"
    layer = _path_layer(folder)
    if layer is None:
        return ""
    for part in reversed(folder.parts):
        for ending, place in _PLACES.items():
            if part.startswith("gemma-scope") and ending in part:
                return f"blocks.{layer}.{place}"
    return ""


def _stated_hook(config: ConfigFile, folder: Path) -> str:
    stated = config.text("hf_hook_point_in")
    module = _MODULE.fullmatch(stated)
    if module:
        return f"blocks.{module[1]}.hook_resid_post"
    return stated or _hook(folder)
