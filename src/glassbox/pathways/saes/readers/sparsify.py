"""Folders of EleutherAI's sparsify: ``cfg.json`` beside ``sae.safetensors``.

Source: eai-sparsify 1.3.3 ``sparsify/sparse_coder.py`` and ``fused_encoder.py``.
"""

import re
from pathlib import Path

import torch

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
from glassbox.pathways.saes.readers.tensor_files import SafetensorsFile
from glassbox.pathways.saes.sae import SaeSource

CONFIG_FILE = "cfg.json"
"""Name of the configuration; SAELens' has the same."""

WEIGHTS_FILE = "sae.safetensors"
"""Name of the tensors' file."""

_BLOCK = re.compile(r"(?:.*\.)?(?:layers|h)\.(\d+)")


def open_sparsify(folder: Path, *, layer: int | None = None) -> SaeReader:
    """Return an SAE that sparsify wrote; the folder's name is the module whose output it reads.

    Raises:
        CorruptArtifact: A file is missing or damaged, or its parts contradict one another.
        UnsupportedModel: The activation ``groupmax``.
        InvalidValue: ``layer`` contradicts the folder's name.
    """
    config = ConfigFile(folder / CONFIG_FILE)
    file = SafetensorsFile(folder / WEIGHTS_FILE)
    need_tensors(file, ("encoder.weight", "encoder.bias", "W_dec", "b_dec"))
    activation = config.text("activation", "topk")
    if activation != "topk":
        raise unsupported(config.path, f"the activation {activation!r} is not read here")
    if config.fields.get("signed"):
        raise unsupported(config.path, "signed TopK is not read here")
    transcodes = bool(config.fields.get("transcode", False))
    d_in = config.need("d_in", int)
    k = config.need("k", int)
    b_enc, b_dec = vector(file, "encoder.bias"), vector(file, "b_dec")
    recipe = Recipe(
        encoder=Matrix("encoder.weight", 0),
        decoder=Matrix("W_dec", 0),
        b_enc=b_enc,
        b_dec=b_dec,
        threshold=torch.zeros_like(b_enc),
        centre=None if transcodes else b_dec,
        k=k,
        w_skip=vector(file, "W_skip") if config.fields.get("skip_connection") else None,
    )
    stated = config.fields.get("num_latents") or d_in * config.need("expansion_factor", int)
    require_shapes(file, recipe, d_in=d_in, d_sae=int(stated))
    hook = _hook(folder.name)
    facts = SaeSource(
        format="sparsify",
        convention="file",
        path=str(folder),
        digest="",
        architecture="topk",
        hook=hook,
        hook_out="the module's output" if transcodes else "",
        dtype=file.dtype("encoder.weight"),
        expected_l0=float(k),
    )
    return SaeReader(
        file,
        recipe,
        facts,
        layer=settled_layer(folder, hook_layer(hook), layer),
        files=(config.path, file.path),
    )


def _hook(folder_name: str) -> str:
    """Return the place that a module's name means: a block's output, or the name itself."""
    block = _BLOCK.fullmatch(folder_name)
    if block:
        return f"blocks.{block[1]}.hook_resid_post"
    return folder_name if "." in folder_name or folder_name == "embed_tokens" else ""
