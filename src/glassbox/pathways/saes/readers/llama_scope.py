"""Llama Scope and its successors: the files of OpenMOSS, in the authors' reading or in SAELens'.

Two layouts: ``hyperparams.json`` with one threshold for all latents (Llama Scope), and
``config.json`` with a threshold each (Llama Scope R1-Distill, and Llamascopium's own files, whose
matrices have other names and lie the other way round). Both may hold decoders that are not of unit
norm. The authors compare ``z · ‖decoder row‖`` with the threshold, SAELens compares ``z``; on a
decoder of other norms the two fire differently, so that the reading is part of every result.

Source: OpenMOSS/Language-Model-SAEs at f731517, ``src/lm_saes/sae.py`` (standardisation, unit
decoder norm, encode), and ``src/llamascopium/models/sae.py``; SAELens 6.54,
``llama_scope_sae_huggingface_loader`` and ``fold_activation_norm_scaling_factor``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float

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
from glassbox.pathways.saes.readers.tensor_files import SafetensorsFile
from glassbox.pathways.saes.sae import SaeSource
from glassbox.types import is_number

Reading = Literal["openmoss", "saelens"]
"""How the files are read: as their authors do, or as SAELens does."""

HYPERPARAMETERS_FILE = "hyperparams.json"
"""Configuration of Llama Scope."""

CONFIG_FILE = "config.json"
"""Configuration of its successors."""

WEIGHTS_FILES = (
    "sae_weights.safetensors",
    "checkpoints/pruned.safetensors",
    "checkpoints/final.safetensors",
)
"""Where the tensors may be, in the order in which the authors look."""


@dataclass(frozen=True)
class _Names:
    """What the tensors are called, and which way round they lie."""

    encoder: Matrix
    b_enc: str
    decoder: Matrix
    b_dec: str
    log_threshold: str


_LINEAR = _Names(
    Matrix("encoder.weight", 0),
    "encoder.bias",
    Matrix("decoder.weight", 1),
    "decoder.bias",
    "log_jumprelu_threshold",
)
_OWN = _Names(
    Matrix("W_E", 1), "b_E", Matrix("W_D", 0), "b_D", "activation_function.log_jumprelu_threshold"
)


def open_llama_scope(
    folder: Path, *, layer: int | None = None, convention: Reading = "openmoss"
) -> SaeReader:
    """Return an SAE of Llama Scope: ``hyperparams.json`` and one threshold.

    Raises:
        CorruptArtifact: A file is missing or damaged, its parts contradict one another, or a norm
            to divide by is 0.
        UnsupportedModel: Something that is not read here; says what.
        InvalidValue: ``layer`` contradicts the file.
    """
    config = ConfigFile(folder / HYPERPARAMETERS_FILE)
    activation = config.need("act_fn", str).lower()
    if activation not in ("jumprelu", "relu"):
        raise CorruptArtifact(
            config.path,
            f"'act_fn' is {activation!r}: a file of one threshold is read with 'jumprelu'",
            remedy="Files from before the threshold was fitted are not read; take the final ones.",
        )
    threshold = 0.0 if activation == "relu" else config.number("jump_relu_threshold")
    if not 0 <= threshold < float("inf"):
        raise CorruptArtifact(config.path, f"'jump_relu_threshold' is {threshold}")
    file = _weights(folder)
    names = _names(file)
    return _opened(
        config,
        file,
        layer=layer,
        convention=convention,
        threshold=torch.full_like(vector(file, names.b_enc), threshold),
        k=None,
        d_sae=config.need("d_sae", int),
    )


def open_llamascopium(
    folder: Path, *, layer: int | None = None, convention: Reading = "openmoss"
) -> SaeReader:
    """Return an SAE of Llama Scope's successors: ``config.json`` and a threshold a latent.

    Raises:
        CorruptArtifact, UnsupportedModel, InvalidValue: As for ``open_llama_scope``.
    """
    config = ConfigFile(folder / CONFIG_FILE)
    file = _weights(folder)
    if config.text("sae_type", "sae") not in ("sae", "transcoder"):
        raise unsupported(config.path, f"the kind {config.text('sae_type')!r} is not read here")
    activation = config.need("act_fn", str).lower()
    names = _names(file)
    d_sae = int(config.need("d_model", int) * config.number("expansion_factor"))
    has_thresholds = names.log_threshold in file.names
    threshold, k = torch.zeros_like(vector(file, names.b_enc)), None
    if activation == "jumprelu":
        threshold = vector(file, names.log_threshold).exp()
    elif has_thresholds:
        raise CorruptArtifact(
            file.path, f"has thresholds, and the configuration says 'act_fn' {activation!r}"
        )
    elif activation == "topk":
        k = config.need("top_k", int)
    elif activation != "relu":
        raise unsupported(config.path, f"the activation {activation!r} is not read here")
    return _opened(
        config, file, layer=layer, convention=convention, threshold=threshold, k=k, d_sae=d_sae
    )


def _weights(folder: Path) -> SafetensorsFile:
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return SafetensorsFile(folder / name)
    raise CorruptArtifact(folder, f"holds none of {', '.join(WEIGHTS_FILES)}")


def _names(file: SafetensorsFile) -> _Names:
    names = _OWN if "W_E" in file.names else _LINEAR
    need_tensors(file, (names.encoder.name, names.decoder.name, names.b_enc))
    return names


def _opened(
    config: ConfigFile,
    file: SafetensorsFile,
    *,
    layer: int | None,
    convention: Reading,
    threshold: Float[torch.Tensor, "_"],
    k: int | None,
    d_sae: int,
) -> SaeReader:
    names = _names(file)
    for absent in ("use_glu_encoder", "apply_decoder_bias_to_pre_encoder"):
        if config.fields.get(absent):
            raise unsupported(config.path, f"{absent!r} is true, which is not read here")
    hook_in, hook_out = config.need("hook_point_in", str), config.need("hook_point_out", str)
    scales = _scales(config, file, hook_in, hook_out)
    recipe = _recipe(config, file, names, scales, convention, threshold, k)
    require_shapes(file, recipe, d_in=config.need("d_model", int), d_sae=d_sae)
    folder = config.path.parent
    top_k = config.fields.get("top_k")
    facts = SaeSource(
        format="llama_scope" if config.path.name == HYPERPARAMETERS_FILE else "llamascopium",
        convention=convention,
        path=str(folder),
        digest="",
        architecture=config.text("act_fn").lower(),
        hook=hook_in,
        hook_out="" if hook_out == hook_in else hook_out,
        model=config.text("model_name"),
        dtype=file.dtype(names.encoder.name),
        expected_l0=float(top_k) if isinstance(top_k, int) else None,
    )
    return SaeReader(
        file,
        recipe,
        facts,
        layer=settled_layer(folder, hook_layer(hook_in), layer),
        files=(config.path, file.path),
    )


def _recipe(
    config: ConfigFile,
    file: SafetensorsFile,
    names: _Names,
    scales: tuple[float, float],
    convention: Reading,
    threshold: Float[torch.Tensor, "_"],
    k: int | None,
) -> Recipe:
    s_in, s_out = scales
    b_dec = torch.zeros(config.need("d_model", int))
    if config.fields.get("use_decoder_bias", True):
        b_dec = vector(file, names.b_dec)
    b_enc = vector(file, names.b_enc)
    if convention == "openmoss":
        return Recipe(
            encoder=names.encoder,
            decoder=names.decoder,
            b_enc=b_enc / s_in,
            b_dec=b_dec / s_out,
            # It was fitted after both folds, so that it is in the raw units of the stream.
            threshold=threshold,
            decoder_factor=s_in / s_out,
            fold_decoder_norm=bool(config.fields.get("sparsity_include_decoder_norm", True)),
            k=k,
        )
    return Recipe(
        encoder=names.encoder,
        decoder=names.decoder,
        b_enc=b_enc,
        # One factor for both sides, as there; for transcoders it is the wrong one.
        b_dec=b_dec / s_in,
        threshold=threshold * s_in,
        encoder_factor=s_in,
        decoder_factor=1 / s_in,
        k=k,
    )


def _scales(
    config: ConfigFile, file: SafetensorsFile, hook_in: str, hook_out: str
) -> tuple[float, float]:
    """Return what activations were multiplied by before training, on the way in and out.

    Raises:
        CorruptArtifact: The average norms are missing or not positive.
        UnsupportedModel: Another normalisation than one factor for the whole data set.
    """
    how = config.need("norm_activation", str)
    if how == "inference":
        return 1.0, 1.0
    if how != "dataset-wise":
        raise unsupported(
            config.path, f"activations normalised {how!r} are not read here: no single factor"
        )
    norms = config.fields.get("dataset_average_activation_norm")
    found = []
    for side, hook in (("in", hook_in), ("out", hook_out)):
        stored = f"dataset_average_activation_norm.{hook}"
        if isinstance(norms, dict) and (side in norms or hook in norms):
            norm = norms.get(side, norms.get(hook))
        elif stored in file.names:
            norm = float(file.read(stored))
        else:
            raise CorruptArtifact(
                config.path, f"'dataset_average_activation_norm' says nothing of {side!r}"
            )
        if not is_number(norm) or not norm > 0:
            raise CorruptArtifact(
                config.path,
                f"the average activation norm {side!r} is {norm!r}; it has to be positive",
            )
        found.append(config.need("d_model", int) ** 0.5 / norm)
    return found[0], found[1]
