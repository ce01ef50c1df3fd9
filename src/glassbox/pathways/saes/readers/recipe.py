"""How a file's tensors become the canonical form, a few rows at a time.

Every format says the same few things: which matrices, which way round, what to multiply and add.
``fold_encoder`` and ``fold_decoder`` are the one place where that is done, so that whole
dictionaries, halves, single rows and streams agree. Knows nothing of formats.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int

from glassbox.errors import CorruptArtifact
from glassbox.pathways.saes.readers.tensor_files import TensorFile
from glassbox.pathways.saes.rows import InputNorm
from glassbox.wording import counted

_BLOCK_BYTES = 32 << 20
"""Of a matrix, in memory while single columns are picked."""

_TURNED = 32
"""Rows of a matrix turned at a time."""


@dataclass(frozen=True)
class Matrix:
    """A matrix in a file, and which of its axes counts latents."""

    name: str
    latent_axis: Literal[0, 1]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What to do with a file's tensors; all small vectors are here already, in float32.

    Nothing says yet that their lengths fit one another: ``require_shapes`` does.
    """

    encoder: Matrix
    decoder: Matrix
    b_enc: Float[torch.Tensor, "_"]
    b_dec: Float[torch.Tensor, "_"]
    """Already in raw units."""
    threshold: Float[torch.Tensor, "_"]
    """What the folded z has to exceed."""
    encoder_factor: Float[torch.Tensor, "_"] | float = 1.0
    """Multiplies each latent's encoder row."""
    decoder_factor: float = 1.0
    """Multiplies the decoder."""
    centre: Float[torch.Tensor, "_"] | None = None
    """Subtracted from x before the encoder."""
    fold_decoder_norm: bool = False
    """Whether z is measured in units of what a latent writes: encoder row and bias are multiplied
    by the norm of the decoder row, the decoder row is divided by it."""
    k: int | None = None
    input_norm: InputNorm = "none"
    w_skip: Float[torch.Tensor, "_ _"] | None = None


@dataclass(frozen=True, eq=False)
class FoldedEncoder:
    """What some latents read, in canonical form, float32."""

    w_enc: Float[torch.Tensor, "n d_in"]
    b_enc: Float[torch.Tensor, "n"]
    threshold: Float[torch.Tensor, "n"]


@dataclass(frozen=True, eq=False)
class FoldedDecoder:
    """What some latents write, in canonical form, float32."""

    w_dec: Float[torch.Tensor, "n d_out"]
    norms: Float[torch.Tensor, "n"]
    """Of the file's decoder, before anything was done to it."""


def fold_encoder(
    file: TensorFile,
    recipe: Recipe,
    which: Int[torch.Tensor, "n"] | range,
    norms: Float[torch.Tensor, "n"] | None,
) -> FoldedEncoder:
    """Return what some latents read; of the matrices only the encoder's rows are read.

    Args:
        file: The tensors.
        recipe: How they are read.
        which: The latents.
        norms: Of their decoder rows in the file; looked at only where the recipe folds them in.

    Raises:
        CorruptArtifact: A value is NaN or infinite, or a decoder row to divide by is zero.
    """
    at = slice(which.start, which.stop) if isinstance(which, range) else which
    w_enc = _numbers(file, recipe.encoder, which)
    factor = recipe.encoder_factor
    if isinstance(factor, torch.Tensor):
        w_enc *= factor[at, None]
    elif factor != 1.0:
        w_enc *= factor
    b_enc = recipe.b_enc[at].clone()
    if recipe.centre is not None:
        # In double, so that a row gives the same bits in whatever company it is read.
        b_enc -= (w_enc.double() @ recipe.centre.double()).float()
    if recipe.fold_decoder_norm:
        assert norms is not None
        n = _written(file, recipe, norms)
        w_enc *= n[:, None]
        b_enc *= n
    return FoldedEncoder(w_enc, b_enc, recipe.threshold[at].clone())


def fold_decoder(
    file: TensorFile, recipe: Recipe, which: Int[torch.Tensor, "n"] | range
) -> FoldedDecoder:
    """Return what some latents write; raises like ``fold_encoder``, the encoder is not read."""
    w_dec = _numbers(file, recipe.decoder, which)
    norms = w_dec.norm(dim=1)
    if recipe.decoder_factor != 1.0:
        w_dec *= recipe.decoder_factor
    if recipe.fold_decoder_norm:
        w_dec /= _written(file, recipe, norms)[:, None]
    return FoldedDecoder(w_dec, norms)


def _written(
    file: TensorFile, recipe: Recipe, norms: Float[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n"]:
    """Return how much each latent writes, from the norms in the file.

    Raises:
        CorruptArtifact: One writes nothing.
    """
    n = norms * abs(recipe.decoder_factor)
    n_zero = int((n == 0).sum())
    if n_zero:
        raise CorruptArtifact(
            file.path,
            f"{counted(n_zero, 'latent has', 'latents have')} a decoder row of zeros; this "
            "format divides by its norm",
            remedy="A file that was cut off and padded looks like this: fetch it again.",
        )
    return n


def decoder_norms(file: TensorFile, recipe: Recipe, part: range) -> Float[torch.Tensor, "n"]:
    """Return the norms of some decoder rows as they are in the file; the encoder is not read."""
    norms: torch.Tensor = _latents(file, recipe.decoder, part).norm(dim=1)
    return norms


def _numbers(
    file: TensorFile, matrix: Matrix, which: Int[torch.Tensor, "n"] | range
) -> Float[torch.Tensor, "n d"]:
    """Return some latents' vectors as ``_latents`` does.

    Raises:
        CorruptArtifact: A value is NaN or infinite.
    """
    rows = _latents(file, matrix, which)
    if not torch.isfinite(rows.sum()):
        raise CorruptArtifact(file.path, f"{matrix.name!r} holds NaN or infinite values")
    return rows


def _latents(
    file: TensorFile, matrix: Matrix, which: Int[torch.Tensor, "n"] | range
) -> Float[torch.Tensor, "n d"]:
    """Return some latents' vectors as rows: a copy, float32."""
    if not isinstance(which, range):
        gather = _gathered_rows if matrix.latent_axis == 0 else _gathered_columns
        return gather(file, matrix.name, which).to(torch.float32, copy=True)
    if matrix.latent_axis == 0:
        return file.rows(matrix.name, which.start, which.stop).to(torch.float32, copy=True)
    columns = file.columns(matrix.name, which.start, which.stop)
    turned = torch.empty((len(which), len(columns)))
    for start in range(0, len(columns), _TURNED):
        # A narrow strip at a time stays in the cache: four times as fast as turning it whole.
        turned[:, start : start + _TURNED] = columns[start : start + _TURNED].T
    return turned


def _gathered_rows(
    file: TensorFile, name: str, which: Int[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n d"]:
    if len(which) == 0:
        return file.rows(name, 0, 0)
    ordered, back = torch.unique(which, return_inverse=True)
    # Neighbouring rows are read together.
    breaks = torch.nonzero(ordered.diff() != 1).flatten().tolist()
    starts = [0, *(each + 1 for each in breaks)]
    stops = [*(each + 1 for each in breaks), len(ordered)]
    parts = [
        file.rows(name, int(ordered[a]), int(ordered[b - 1]) + 1)
        for a, b in zip(starts, stops, strict=True)
    ]
    return torch.cat(parts)[back]


def _gathered_columns(
    file: TensorFile, name: str, which: Int[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n d"]:
    """Columns lie scattered over the whole file, so it is gone through in blocks of whole rows."""
    d, d_sae = file.shape(name)
    step = max(1, _BLOCK_BYTES // (4 * d_sae))
    parts = [file.rows(name, a, min(d, a + step))[:, which].T for a in range(0, d, step)]
    return torch.cat(parts, dim=1)
