"""SAELens' folders: ``cfg.json`` beside ``sae_weights.safetensors``.

Read from version 3 to 6: before 6.0 the facts about the model stood at the top level under other
names, and TopK was a standard SAE with another activation.
Source: SAELens 6.54 ``loading/pretrained_sae_loaders.py`` and ``saes/*.py``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from glassbox.pathways.saes.readers.tensor_files import SafetensorsFile
from glassbox.pathways.saes.rows import InputNorm
from glassbox.pathways.saes.sae import SaeSource

CONFIG_FILE = "cfg.json"
"""Name of the configuration."""

WEIGHTS_FILE = "sae_weights.safetensors"
"""Name of the tensors' file."""

_INPUT_NORMS: dict[Any, InputNorm] = {
    None: "none",
    False: "none",
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}


def open_saelens(folder: Path, *, layer: int | None = None) -> SaeReader:
    """Return an SAE that SAELens wrote.

    Raises:
        CorruptArtifact: A file is missing or damaged, or its parts contradict one another.
        UnsupportedModel: An architecture or normalisation that is not read here; says which.
        InvalidValue: ``layer`` contradicts the file.
    """
    config = ConfigFile(folder / CONFIG_FILE)
    file = SafetensorsFile(folder / WEIGHTS_FILE)
    need_tensors(file, ("W_enc", "W_dec", "b_dec"))
    architecture = _architecture(config)
    recipe = _recipe(config, file, architecture)
    require_shapes(file, recipe, d_in=config.need("d_in", int), d_sae=config.need("d_sae", int))
    about = _metadata(config)
    hook = str(about.get("hook_name") or about.get("hook_point") or "")
    k = config.fields.get("k", about.get("expected_l0", recipe.k))
    facts = SaeSource(
        format="saelens",
        convention="file",
        path=str(folder),
        digest="",
        architecture=architecture,
        hook=hook,
        hook_out=str(about.get("hook_name_out") or "") if "transcoder" in architecture else "",
        model=str(about.get("model_name") or ""),
        dtype=file.dtype("W_enc"),
        expected_l0=float(k) if isinstance(k, int | float) else None,
    )
    return SaeReader(
        file,
        recipe,
        facts,
        layer=settled_layer(folder, hook_layer(hook), layer),
        files=(config.path, file.path),
    )


def _metadata(config: ConfigFile) -> dict[str, Any]:
    """Return facts about the model, wherever this version keeps them."""
    found = config.fields.get("metadata")
    return {**config.fields, **found} if isinstance(found, dict) else dict(config.fields)


def _architecture(config: ConfigFile) -> str:
    architecture = config.text("architecture", "standard")
    activation = config.text("activation_fn") or config.text("activation_fn_str") or "relu"
    if activation in ("topk", "relu"):
        if architecture == "standard" and activation == "topk":
            return "topk"
        if architecture in ("jumprelu", "gated") and activation == "topk":
            raise CorruptArtifact(
                config.path, f"the architecture is {architecture!r} and the activation is 'topk'"
            )
        return architecture
    raise unsupported(config.path, f"the activation {activation!r} is not read here")


def _recipe(config: ConfigFile, file: SafetensorsFile, architecture: str) -> Recipe:
    make = _ARCHITECTURES.get(architecture)
    if make is None:
        raise unsupported(
            config.path,
            f"the architecture {architecture!r} is not read here; these are: "
            + ", ".join(_ARCHITECTURES),
        )
    if config.text("reshape_activations", "none") != "none":
        raise unsupported(config.path, "activations reshaped from attention heads are not read")
    require_no_fine_tuning(file)
    return make(config, file)


def _input_norm(config: ConfigFile) -> InputNorm:
    stated = config.fields.get("normalize_activations")
    if not isinstance(stated, str | bool | None) or stated not in _INPUT_NORMS:
        raise unsupported(
            config.path,
            f"activations are normalised by {stated!r}, whose factor the file does not hold; "
            "fold it with SAELens before saving",
        )
    return _INPUT_NORMS[stated]


def _centre(config: ConfigFile, b_dec: Float[torch.Tensor, "d"]) -> Float[torch.Tensor, "d"] | None:
    # Absent only before 6.0, where it was always done.
    return b_dec if config.fields.get("apply_b_dec_to_input", True) else None


def _standard(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    b_dec = vector(file, "b_dec")
    b_enc = vector(file, "b_enc")
    if "threshold" in file.names:
        raise CorruptArtifact(file.path, "a standard SAE has no 'threshold', and this file does")
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=b_enc,
        b_dec=b_dec,
        threshold=torch.zeros_like(b_enc),
        centre=_centre(config, b_dec),
        input_norm=_input_norm(config),
    )


def _jumprelu(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    b_dec = vector(file, "b_dec")
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=vector(file, "b_enc"),
        b_dec=b_dec,
        # A relu comes first, so that a negative threshold means none.
        threshold=vector(file, "threshold").clamp(min=0),
        centre=_centre(config, b_dec),
        input_norm=_input_norm(config),
    )


def _topk(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    b_dec = vector(file, "b_dec")
    b_enc = vector(file, "b_enc")
    kwargs = config.fields.get("activation_fn_kwargs")
    k = config.fields.get("k", kwargs.get("k") if isinstance(kwargs, dict) else None)
    if not isinstance(k, int) or isinstance(k, bool):
        raise CorruptArtifact(config.path, f"a TopK SAE needs a whole number 'k'; it is {k!r}")
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=b_enc,
        b_dec=b_dec,
        threshold=torch.zeros_like(b_enc),
        centre=_centre(config, b_dec),
        fold_decoder_norm=bool(config.fields.get("rescale_acts_by_decoder_norm", False)),
        k=k,
        input_norm=_input_norm(config),
    )


def _batchtopk(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    """Return a checkpoint of a training run: its running threshold stands for the batch's k."""
    b_dec = vector(file, "b_dec")
    b_enc = vector(file, "b_enc")
    threshold = vector(file, "topk_threshold")
    if threshold.numel() != 1:
        raise CorruptArtifact(
            file.path, f"'topk_threshold' holds {threshold.numel()} numbers, not 1"
        )
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=b_enc,
        b_dec=b_dec,
        threshold=torch.full_like(b_enc, max(0.0, float(threshold))),
        centre=_centre(config, b_dec),
        fold_decoder_norm=bool(config.fields.get("rescale_acts_by_decoder_norm", False)),
        input_norm=_input_norm(config),
    )


def _gated(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    b_dec = vector(file, "b_dec")
    b_gate, b_mag, r_mag = (vector(file, each) for each in ("b_gate", "b_mag", "r_mag"))
    if not b_gate.shape == b_mag.shape == r_mag.shape:
        lengths = ", ".join(str(list(each.shape)) for each in (b_gate, b_mag, r_mag))
        raise CorruptArtifact(
            file.path, f"'b_gate', 'b_mag' and 'r_mag' differ in shape: {lengths}"
        )
    factor = r_mag.exp()
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=b_mag,
        b_dec=b_dec,
        # The gate's linear map is the magnitude's without its factor, so it opens exactly where
        # the magnitude's z exceeds this.
        threshold=(b_mag - b_gate * factor).clamp(min=0),
        encoder_factor=factor,
        centre=_centre(config, b_dec),
        input_norm=_input_norm(config),
    )


def _transcoder(config: ConfigFile, file: SafetensorsFile) -> Recipe:
    if _input_norm(config) != "none":
        raise unsupported(config.path, "transcoders of normalised activations are not read here")
    b_enc = vector(file, "b_enc")
    jumps = "jumprelu" in config.text("architecture")
    skips = "skip" in config.text("architecture")
    return Recipe(
        encoder=Matrix("W_enc", 1),
        decoder=Matrix("W_dec", 0),
        b_enc=b_enc,
        b_dec=vector(file, "b_dec"),
        threshold=vector(file, "threshold").clamp(min=0) if jumps else torch.zeros_like(b_enc),
        w_skip=vector(file, "W_skip") if skips else None,
    )


_ARCHITECTURES: dict[str, Callable[[ConfigFile, SafetensorsFile], Recipe]] = {
    "standard": _standard,
    "jumprelu": _jumprelu,
    "topk": _topk,
    "batchtopk": _batchtopk,
    "matryoshka_batchtopk": _batchtopk,
    "gated": _gated,
    "transcoder": _transcoder,
    "skip_transcoder": _transcoder,
    "jumprelu_transcoder": _transcoder,
    "jumprelu_skip_transcoder": _transcoder,
}
