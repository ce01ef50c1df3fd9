"""SAEs to disk, in SAELens' format, so that others can read what was made here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save

from glassbox.artifacts import write_bytes, write_json
from glassbox.errors import UnsupportedModel
from glassbox.pathways.saes.readers.saelens import CONFIG_FILE, WEIGHTS_FILE
from glassbox.pathways.saes.rows import InputNorm
from glassbox.pathways.saes.sae import Sae

_SAELENS_VERSION: Final = "6.0.0"
"""First version that reads this layout of the configuration."""

_INPUT_NORMS: Final[dict[InputNorm, str]] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm": "constant_norm_rescale",
}


def save_sae(
    sae: Sae,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write an SAE in SAELens' format and return the folder.

    The configuration is written last: a folder without one is not finished. Every number, the
    thresholds too, is rounded to ``dtype``.

    Args:
        sae: What to write.
        folder: Made if it is not there.
        dtype: Number format of the file; the encoder's own if none.
        metadata: More facts, beside those that the SAE's source knows.

    Raises:
        UnsupportedModel: SAELens' format has no word for it: TopK with thresholds, or a transcoder.
        NoDiskSpace: The device is full.
    """
    dtype = dtype or sae.w_enc.dtype
    architecture = _architecture(sae)
    tensors = {"W_enc": sae.w_enc.T, "b_enc": sae.b_enc, "W_dec": sae.w_dec, "b_dec": sae.b_dec}
    if architecture == "jumprelu":
        tensors["threshold"] = sae.threshold
    plain = {name: each.detach().to("cpu", dtype).contiguous() for name, each in tensors.items()}
    fields: dict[str, Any] = {
        "architecture": architecture,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": str(dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": _INPUT_NORMS[sae.input_norm],
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _SAELENS_VERSION,
            "sae_lens_training_version": None,
            "model_name": sae.source.model,
            "hook_name": sae.source.hook or f"blocks.{sae.layer}.hook_resid_post",
            **(metadata or {}),
        },
    }
    if architecture == "topk":
        fields |= {"k": sae.k, "rescale_acts_by_decoder_norm": False}
    elif sae.source.expected_l0 is not None:
        fields["metadata"]["expected_l0"] = sae.source.expected_l0
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS_FILE, save(plain))
    write_json(folder / CONFIG_FILE, fields)
    return folder


def _architecture(sae: Sae) -> str:
    jumps = bool((sae.threshold > 0).any())
    if sae.d_in != sae.d_out or sae.w_skip is not None:
        raise UnsupportedModel("a transcoder; only SAEs are written.")
    if sae.k is not None:
        if jumps:
            raise UnsupportedModel("TopK and thresholds at once; SAELens has no such architecture.")
        return "topk"
    return "jumprelu" if jumps else "standard"
