"""Fields of the JSON files that stand beside tensors, taken with their type or refused by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float

from glassbox.artifacts import read_json
from glassbox.errors import CorruptArtifact, InvalidValue, UnsupportedModel
from glassbox.pathways.saes.readers.recipe import Recipe
from glassbox.pathways.saes.readers.tensor_files import TensorFile

T = TypeVar("T")

_RESID_POST = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_RESID_PRE = re.compile(r"blocks\.(\d+)\.hook_resid_pre")


class ConfigFile:
    """One JSON object; every access checks the type.

    Raises:
        CorruptArtifact: The file is missing or no JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = read_json(path)
        if not isinstance(found, dict):
            raise CorruptArtifact(path, "expected a JSON object")
        self.fields: Mapping[str, Any] = found

    def need(self, name: str, kind: type[T] | tuple[type[T], ...]) -> T:
        """Return a field.

        Raises:
            CorruptArtifact: It is absent or of another type.
        """
        if name not in self.fields:
            raise CorruptArtifact(self.path, f"the field {name!r} is missing")
        value = self.fields[name]
        if isinstance(value, bool) and kind is not bool:
            raise CorruptArtifact(self.path, f"the field {name!r} is {value!r}")
        if not isinstance(value, kind):
            raise CorruptArtifact(self.path, f"the field {name!r} is {value!r}")
        return value

    def number(self, name: str) -> float:
        """Return a field that is a number; raises like ``need``."""
        return float(self.need(name, (int, float)))

    def text(self, name: str, default: str = "") -> str:
        """Return a field's text, or the default where it is absent or null."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default


def need_tensors(file: TensorFile, names: tuple[str, ...]) -> None:
    """Return if a file has all these tensors.

    Raises:
        CorruptArtifact: Some are missing; names them and those that are there.
    """
    missing = sorted(set(names) - file.names)
    if missing:
        raise CorruptArtifact(
            file.path,
            f"no tensor {', '.join(map(repr, missing))}; there are "
            f"{', '.join(map(repr, sorted(file.names)))}",
        )


def vector(file: TensorFile, name: str) -> Float[torch.Tensor, "..."]:
    """Return a small tensor in float32.

    Raises:
        CorruptArtifact: It is absent, or holds NaN or infinite values.
    """
    need_tensors(file, (name,))
    value = file.read(name).to(torch.float32)
    if not torch.isfinite(value).all():
        raise CorruptArtifact(file.path, f"{name!r} holds NaN or infinite values")
    return value


def require_no_fine_tuning(file: TensorFile) -> None:
    """Return if no factor for each latent stands beside the weights, or one of ones.

    SAELens before 6.0 wrote such a factor: ones for a while with every dictionary, under the first
    name; what fine-tuning had made of them under the second.

    Raises:
        UnsupportedModel: There is one that changes what the latents write.
        CorruptArtifact: It holds NaN or infinite values.
    """
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if name in file.names and not bool((vector(file, name) == 1).all()):
            raise unsupported(
                file.path,
                f"{name!r} beside the weights is a fine-tuning factor; fold it into W_dec first",
            )


def require_shapes(
    file: TensorFile, recipe: Recipe, *, d_in: int | None = None, d_sae: int | None = None
) -> None:
    """Return if all parts of a dictionary fit one another, and what the configuration says.

    Raises:
        CorruptArtifact: Two of them do not; says which, and how long each is.
    """
    shapes = {}
    for matrix in (recipe.encoder, recipe.decoder):
        shape = file.shape(matrix.name)
        if len(shape) != 2:
            raise CorruptArtifact(file.path, f"{matrix.name!r} has shape {list(shape)}, no matrix")
        shapes[matrix.name] = (shape[matrix.latent_axis], shape[1 - matrix.latent_axis])
    n_enc, in_enc = shapes[recipe.encoder.name]
    n_dec, out_dec = shapes[recipe.decoder.name]
    expected = [
        ("latents of the encoder", n_enc, "latents by the configuration", d_sae),
        ("width of the encoder", in_enc, "width by the configuration", d_in),
        ("latents of the encoder", n_enc, "latents of the decoder", n_dec),
        ("latents of the encoder", n_enc, "encoder biases", len(recipe.b_enc)),
        ("latents of the encoder", n_enc, "thresholds", len(recipe.threshold)),
        ("width of the decoder", out_dec, "decoder biases", len(recipe.b_dec)),
    ]
    if recipe.centre is not None:
        expected.append(("width of the encoder", in_enc, "numbers subtracted", len(recipe.centre)))
    if recipe.k is not None and not 1 <= recipe.k <= n_enc:
        raise CorruptArtifact(file.path, f"k is {recipe.k} of {n_enc} latents")
    for what, have, other, want in expected:
        if want is not None and have != want:
            raise CorruptArtifact(file.path, f"{what}: {have}; {other}: {want}")


def hook_layer(hook: str) -> int | None:
    """Return the block, 0-based, whose output a hook name means; none for any other place.

    ``blocks.{l}.hook_resid_pre`` is the output of block l − 1.
    """
    found = _RESID_POST.fullmatch(hook)
    if found:
        return int(found[1])
    found = _RESID_PRE.fullmatch(hook)
    return int(found[1]) - 1 if found and int(found[1]) > 0 else None


def settled_layer(path: Path, stated: int | None, given: int | None) -> int | None:
    """Return the layer, from the file or the caller.

    Raises:
        InvalidValue: They contradict each other.
    """
    if stated is not None and given is not None and stated != given:
        raise InvalidValue(
            f"layer of {path}", given, f"{stated}, which the file says", remedy="Leave it out."
        )
    return stated if given is None else given


def unsupported(path: Path, what: str) -> UnsupportedModel:
    """Return the error for a file that is whole but holds what is not read here."""
    return UnsupportedModel(f"{path}: {what}.")
