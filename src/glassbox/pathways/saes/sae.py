"""One sparse autoencoder in canonical form: two matrices, their biases, and one rule of firing.

Whatever the format, everything that a format does before or after the two matrices is folded into
them once, so that ``z = w_enc x + b_enc``, ``f = z`` where ``z > threshold`` (and among the k
largest, for TopK) else 0, ``x_hat = f w_dec + b_dec``, all in the raw units of the residual
stream. Knows nothing of files or of the model.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.saes.rows import InputNorm, LatentRows, kept, normalised

Convention = Literal["openmoss", "saelens", "file"]
"""How the numbers of a file were read: Llama Scope as its authors do or as SAELens does; ``file``
for formats that have one reading only."""


@dataclass(frozen=True)
class SaeSource:
    """Where an SAE came from and how its file was read."""

    format: str
    """``llama_scope``, ``llamascopium``, ``saelens``, ``sparsify``, ``dictionary_learning``,
    ``gemma_scope`` or ``memory`` for one that was made here."""
    convention: Convention
    path: str
    """Folder or file; empty for one that was made here."""
    digest: str
    """SHA-256 (hex) of the files' contents; empty for one that was made here."""
    architecture: str
    """What the file says: ``standard``, ``jumprelu``, ``topk``, ``batchtopk``, ``gated``, …"""
    hook: str
    """Where it reads, ``blocks.13.hook_resid_post``; empty where the file does not say."""
    hook_out: str = ""
    """Where a transcoder's output belongs; empty where that is where it reads."""
    model: str = ""
    """Model it was trained on, by the file's own word."""
    dtype: str = "float32"
    """Number format of the file's encoder."""
    expected_l0: float | None = None
    """Latents a token that the file's makers aimed at, where it says."""
    decoder_norm_mean: float | None = None
    """Mean norm of the decoder's rows in the file, before any folding; none before a load."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Half of a dictionary: what its latents read. Fields as those of ``Sae``."""

    layer: int
    w_enc: Float[torch.Tensor, "d_sae d_in"]
    b_enc: Float[torch.Tensor, "d_sae"]
    threshold: Float[torch.Tensor, "d_sae"]
    k: int | None
    input_norm: InputNorm


@dataclass(frozen=True, eq=False)
class Sae:
    """One sparse autoencoder, folded into the raw units of the residual stream."""

    layer: int
    """Block, 0-based, whose output it reads."""
    w_enc: Float[torch.Tensor, "d_sae d_in"]
    b_enc: Float[torch.Tensor, "d_sae"]
    w_dec: Float[torch.Tensor, "d_sae d_out"]
    b_dec: Float[torch.Tensor, "d_out"]
    threshold: Float[torch.Tensor, "d_sae"]
    """Float32 always, at least 0; 0 for plain ReLU."""
    source: SaeSource
    k: int | None = None
    """Latents kept a token, of all those above their threshold; none for no such limit."""
    input_norm: InputNorm = "none"
    """What is done to each token's vector before the encoder, and undone after the decoder."""
    w_skip: Float[torch.Tensor, "d_out d_in"] | None = None
    """Linear way past the latents, which some transcoders have."""

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.w_enc.shape[0]

    @property
    def d_in(self) -> int:
        """Width of what it reads."""
        return self.w_enc.shape[1]

    @property
    def d_out(self) -> int:
        """Width of what it writes; another one than ``d_in`` for some transcoders only."""
        return self.w_dec.shape[1]

    def preactivations(self, x: Float[torch.Tensor, "*n d_in"]) -> Float[torch.Tensor, "*n d_sae"]:
        """Return z, before any gate, for vectors of the residual stream."""
        x, _, _ = normalised(x.to(self.w_enc.dtype), self.input_norm)
        return torch.nn.functional.linear(x, self.w_enc, self.b_enc)

    def kth(self, x: Float[torch.Tensor, "*n d_in"]) -> Float[torch.Tensor, "*n"] | None:
        """Return the k-th largest value above its threshold of each token; none unless TopK.

        It is what a few chosen rows of a TopK dictionary need to know of the others; 0 where
        fewer than k latents are above theirs.
        """
        return None if self.k is None else self.kth_of(self.preactivations(x))

    def kth_of(self, z: Float[torch.Tensor, "*n d_sae"]) -> Float[torch.Tensor, "*n"]:
        """Return ``kth`` from pre-activations that are there already.

        Raises:
            InvalidValue: This is no TopK dictionary.
        """
        if self.k is None:
            raise InvalidValue("k", None, "a number; only TopK dictionaries have a k-th largest")
        gated = z * (z > self.threshold)
        return gated.topk(self.k, dim=-1, sorted=False).values.amin(-1)

    def gate(self, z: Float[torch.Tensor, "*n d_sae"]) -> Float[torch.Tensor, "*n d_sae"]:
        """Return activations f from pre-activations z."""
        return kept(z, self.threshold, None if self.k is None else self.kth_of(z))

    def encode(self, x: Float[torch.Tensor, "*n d_in"]) -> Float[torch.Tensor, "*n d_sae"]:
        """Return activations f: 0 where a latent does not fire."""
        return self.gate(self.preactivations(x))

    def decode(
        self,
        f: Float[torch.Tensor, "*n d_sae"],
        *,
        x: Float[torch.Tensor, "*n d_in"] | None = None,
    ) -> Float[torch.Tensor, "*n d_out"]:
        """Return what the latents say that the residual stream was.

        Args:
            f: Activations.
            x: The vectors they came from; needed where each token's own scale is put back, and
                for a way past the latents.

        Raises:
            InvalidValue: ``x`` is needed and was not given.
        """
        out = f.to(self.w_dec.dtype) @ self.w_dec + self.b_dec
        if self.input_norm == "none" and self.w_skip is None:
            return out
        if x is None:
            raise InvalidValue(
                "x", None, "the vectors that were encoded; this dictionary's output depends on them"
            )
        scaled, scale, shift = normalised(x.to(self.w_enc.dtype), self.input_norm)
        if self.w_skip is not None:
            out = out + scaled @ self.w_skip.T
        return out * scale + shift

    def error(self, x: Float[torch.Tensor, "*n d_in"]) -> Float[torch.Tensor, "*n d_out"]:
        """Return what the reconstruction misses: ``x - decode(encode(x))``."""
        return x.to(self.w_dec.dtype) - self.decode(self.encode(x), x=x)

    def rows(self, indices: Int[torch.Tensor, "n"]) -> LatentRows:
        """Return a copy of some latents' rows.

        Raises:
            InvalidValue: An index that this dictionary does not have.
        """
        indices = indices.to(torch.int64)
        require_indices(indices, self.d_sae, self.layer)
        at = indices.to(self.w_enc.device)
        return LatentRows(
            self.layer,
            indices.cpu(),
            self.w_enc[at],
            self.b_enc[at],
            self.w_dec[at],
            self.threshold[at],
            self.k,
            self.input_norm,
        )


def require_indices(indices: Int[torch.Tensor, "n"], d_sae: int, layer: int | None) -> None:
    """Return if all of them are latents of a dictionary.

    Raises:
        InvalidValue: One is not.
    """
    bad = indices[(indices < 0) | (indices >= d_sae)]
    if len(bad):
        where = "" if layer is None else f" of layer {layer}"
        raise InvalidValue(f"latent{where}", int(bad[0]), f"0 to {d_sae - 1}")
