"""One SAE on disk: what it is, and its latents whole, by rows or in chunks.

Opening reads the configuration and the small vectors only. Knows nothing of formats; ``opening``
finds the format and says how to read it.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from mmap import mmap
from pathlib import Path

import torch
from jaxtyping import Float, Int

from glassbox.artifacts import digest_files
from glassbox.errors import InvalidValue
from glassbox.pathways.saes.readers.recipe import (
    Recipe,
    decoder_norms,
    fold_decoder,
    fold_encoder,
)
from glassbox.pathways.saes.readers.tensor_files import TensorFile
from glassbox.pathways.saes.rows import InputNorm, LatentRows
from glassbox.pathways.saes.sae import Encoder, Sae, SaeSource, require_indices

CHUNK = 2048
"""Latents folded at a time while a whole dictionary is read."""


class SaeReader:
    """One SAE on disk."""

    def __init__(
        self,
        file: TensorFile,
        recipe: Recipe,
        facts: SaeSource,
        *,
        layer: int | None,
        files: tuple[Path, ...],
    ) -> None:
        """Take what a format found out.

        Args:
            file: The tensors.
            recipe: How they are read.
            facts: Where they came from; the digest is computed when it is asked for.
            layer: Block whose output it reads, where that is known.
            files: All files that the reading depends on.
        """
        self._file, self._recipe, self._facts, self._files = file, recipe, facts, files
        self._layer = layer
        self._norms: torch.Tensor | None = None
        axis = recipe.encoder.latent_axis
        shape = file.shape(recipe.encoder.name)
        self.d_sae: int = shape[axis]
        """Number of latents."""
        self.d_in: int = shape[1 - axis]
        """Width of what it reads."""
        self.d_out: int = len(recipe.b_dec)
        """Width of what it writes."""

    @property
    def layer(self) -> int:
        """Block, 0-based, whose output it reads.

        Raises:
            InvalidValue: Neither the file nor the caller said.
        """
        if self._layer is None:
            said = f"reads {self._facts.hook}, no" if self._facts.hook else "does not say which"
            raise InvalidValue(
                f"layer of {self._facts.path}",
                None,
                "a block, 0-based",
                remedy=f"The file {said} block's output: give layer=, --layer, or in a study "
                "saes.files.",
            )
        return self._layer

    @property
    def knows_layer(self) -> bool:
        """Whether the file or the caller said which layer it reads."""
        return self._layer is not None

    @property
    def k(self) -> int | None:
        """Latents kept a token; none unless TopK."""
        return self._recipe.k

    @property
    def path(self) -> Path:
        """File of the tensors."""
        return self._file.path

    @property
    def facts(self) -> SaeSource:
        """Where it came from, as the configuration says; without the digest, so at no cost."""
        return self._facts

    @cached_property
    def source(self) -> SaeSource:
        """Where it came from, with the digest of its files (read once, about 1 GB a second)."""
        return replace(self._facts, digest=digest_files(self._files))

    @property
    def input_norm(self) -> InputNorm:
        """What is done to each token's vector before the encoder."""
        return self._recipe.input_norm

    @property
    def is_linear(self) -> bool:
        """Whether z is linear in x: nothing is done to each token's vector first."""
        return self._recipe.input_norm == "none"

    def decoder_norms(self) -> Float[torch.Tensor, "d_sae"]:
        """Return the norm of each decoder row as it is in the file, before any folding."""
        if self._norms is None:
            parts = [decoder_norms(self._file, self._recipe, part) for part in self._chunks()]
            # An encoder that is read without its decoder may need them, time and again.
            self._norms = torch.cat(parts)
        return self._norms

    def _chunks(self) -> Iterator[range]:
        """Yield all latents in order, as many as are folded at a time."""
        for start in range(0, self.d_sae, CHUNK):
            yield range(start, min(self.d_sae, start + CHUNK))

    def load(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Sae:
        """Return the whole dictionary; at most one chunk more than itself is in memory.

        Raises:
            CorruptArtifact: Values that are no numbers, or a decoder row of zeros to divide by.
            InvalidValue: The layer is unknown.
        """
        # In this order: the encoder may need the norms, and the decoder is read only once.
        w_dec = self.load_decoder(device, dtype)
        encoder = self.load_encoder(device, dtype)
        skip = self._recipe.w_skip
        return Sae(
            layer=encoder.layer,
            w_enc=encoder.w_enc,
            b_enc=encoder.b_enc,
            w_dec=w_dec,
            b_dec=self._recipe.b_dec.to(device, dtype),
            threshold=encoder.threshold,
            source=replace(self.source, decoder_norm_mean=float(self.decoder_norms().mean())),
            k=encoder.k,
            input_norm=encoder.input_norm,
            w_skip=None if skip is None else skip.to(device, dtype),
        )

    def load_encoder(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Encoder:
        """Return half of the dictionary: what its latents read; raises like ``load``."""
        layer = self.layer
        w_enc = _matrix(self.d_sae, self.d_in, torch.device(device), dtype)
        b_enc = torch.empty(self.d_sae, device=device, dtype=dtype)
        norms = self.decoder_norms() if self._recipe.fold_decoder_norm else None
        for part in self._chunks():
            at = slice(part.start, part.stop)
            rows = fold_encoder(
                self._file, self._recipe, part, None if norms is None else norms[at]
            )
            w_enc[at], b_enc[at] = rows.w_enc, rows.b_enc
            # Before the next ones are read, not after.
            del rows
        return Encoder(
            layer,
            w_enc,
            b_enc,
            self._recipe.threshold.to(device),
            self._recipe.k,
            self._recipe.input_norm,
        )

    def load_decoder(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Float[torch.Tensor, "d_sae d_out"]:
        """Return the other half: what its latents write; raises like ``load``."""
        w_dec = _matrix(self.d_sae, self.d_out, torch.device(device), dtype)
        norms = torch.empty(self.d_sae)
        for part in self._chunks():
            at = slice(part.start, part.stop)
            rows = fold_decoder(self._file, self._recipe, part)
            w_dec[at], norms[at] = rows.w_dec, rows.norms
            del rows
        self._norms = norms
        return w_dec

    def read_rows(self, indices: Int[torch.Tensor, "n"]) -> LatentRows:
        """Return some latents' rows, float32, reading only what they need.

        Raises:
            InvalidValue: An index that this dictionary does not have.
            CorruptArtifact: As for ``load``.
        """
        indices = indices.to(torch.int64).cpu()
        require_indices(indices, self.d_sae, self._layer)
        written = fold_decoder(self._file, self._recipe, indices)
        rows = fold_encoder(self._file, self._recipe, indices, written.norms)
        return LatentRows(
            self.layer,
            indices,
            rows.w_enc,
            rows.b_enc,
            written.w_dec,
            rows.threshold,
            self._recipe.k,
            self._recipe.input_norm,
        )


def _matrix(
    n_rows: int, n_columns: int, device: torch.device, dtype: torch.dtype
) -> Float[torch.Tensor, "n d"]:
    """Return a matrix whose memory goes back to the system with it, with anything in it.

    The C library keeps what was freed, and finds room for the next layer's elsewhere: dictionaries
    that come one after another would take up to twice what is in use.
    """
    if device.type != "cpu" or sys.platform == "win32":
        return torch.empty((n_rows, n_columns), device=device, dtype=dtype)
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE

    pages = mmap(-1, n_rows * n_columns * dtype.itemsize, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(n_rows, n_columns)
