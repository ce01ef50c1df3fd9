"""The rows of a few chosen latents: all that sweeping, replaying and counting need of an SAE.

Knows nothing of where the rows came from; TopK rows ask to be told the k-th largest value of the
full dictionary, because a few rows cannot know it.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue

InputNorm = Literal["none", "layer_norm", "constant_norm"]
"""What is done to each token's vector first: nothing; mean 0 and standard deviation 1; or the
length ``sqrt(d_in)``."""

_TIE = 1e-4
"""Relative. A few rows multiplied alone round otherwise than among all rows, so that the k-th
latent itself could come out below the k-th value; whatever is this close to it is kept."""

_LAYER_NORM_EPSILON = 1e-5
"""Source: SAELens ``run_time_activation_norm_fn_in``."""


@dataclass(frozen=True, eq=False)
class LatentRows:
    """Encoder and decoder rows of chosen latents of one layer."""

    layer: int
    """Block, 0-based."""
    indices: Int[torch.Tensor, "n"]
    """Which latents, int64 on the processor, in the order of the rows."""
    w_enc: Float[torch.Tensor, "n d_in"]
    b_enc: Float[torch.Tensor, "n"]
    w_dec: Float[torch.Tensor, "n d_out"]
    threshold: Float[torch.Tensor, "n"]
    """Float32."""
    k: int | None = None
    """The dictionary's k, where it is TopK."""
    input_norm: InputNorm = "none"
    """As in the dictionary; unless ``none``, z is not linear in x."""

    def __len__(self) -> int:
        """Number of latents."""
        return len(self.indices)

    def preactivations(self, x: Float[torch.Tensor, "*b d_in"]) -> Float[torch.Tensor, "*b n"]:
        """Return z of these latents for vectors of the residual stream."""
        x, _, _ = normalised(x.to(self.w_enc.dtype), self.input_norm)
        return torch.nn.functional.linear(x, self.w_enc, self.b_enc)

    def activations(
        self,
        x: Float[torch.Tensor, "*b d_in"],
        kth: Float[torch.Tensor, "*b"] | None = None,
    ) -> Float[torch.Tensor, "*b n"]:
        """Return f of these latents.

        Args:
            x: Vectors of the residual stream.
            kth: ``Sae.kth(x)`` of the full dictionary; needed for TopK.

        Raises:
            InvalidValue: ``kth`` is missing for a TopK dictionary.
        """
        return self.gate(self.preactivations(x), kth)

    def gate(
        self, z: Float[torch.Tensor, "*b n"], kth: Float[torch.Tensor, "*b"] | None = None
    ) -> Float[torch.Tensor, "*b n"]:
        """Return f from z; ``kth`` as in ``activations``."""
        if self.k is None:
            return kept(z, self.threshold, None)
        if kth is None:
            raise InvalidValue(
                "kth", None, f"the {self.k}-th largest of the full dictionary, from Sae.kth(x)"
            )
        slack = max(_TIE, 2 * torch.finfo(z.dtype).eps)
        return kept(z, self.threshold, kth * (1 - slack))

    def select(self, places: Int[torch.Tensor, "m"]) -> "LatentRows":
        """Return some of the rows, by their place here."""
        at = places.to(self.w_enc.device)
        return replace(
            self,
            indices=self.indices[places.cpu()],
            w_enc=self.w_enc[at],
            b_enc=self.b_enc[at],
            w_dec=self.w_dec[at],
            threshold=self.threshold[at],
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "LatentRows":
        """Return the rows on a device and in a number format; thresholds stay float32."""
        return replace(
            self,
            w_enc=self.w_enc.to(device, dtype),
            b_enc=self.b_enc.to(device, dtype),
            w_dec=self.w_dec.to(device, dtype),
            threshold=self.threshold.to(device),
        )


def kept(
    z: Float[torch.Tensor, "*b n"],
    threshold: Float[torch.Tensor, "n"],
    kth: Float[torch.Tensor, "*b"] | None,
) -> Float[torch.Tensor, "*b n"]:
    """Return z where it is above its threshold (strictly) and not below the k-th, else 0.

    Of latents that tie for the k-th place all are kept.
    """
    fires = z > threshold
    if kth is not None:
        fires &= z >= kth.unsqueeze(-1)
    return z * fires


def normalised(
    x: Float[torch.Tensor, "*b d"], how: InputNorm
) -> tuple[
    Float[torch.Tensor, "*b d"],
    Float[torch.Tensor, "*b 1"] | float,
    Float[torch.Tensor, "*b 1"] | float,
]:
    """Return vectors as the encoder wants them, and the scale and shift that undo it.

    Source: SAELens ``sae_lens/saes/sae.py``: the standard deviation is Bessel's, the epsilon is
    added to it.
    """
    if how == "none":
        return x, 1.0, 0.0
    if how == "constant_norm":
        scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        return x / scale, scale, 0.0
    shift = x.mean(dim=-1, keepdim=True)
    centred = x - shift
    scale = centred.std(dim=-1, keepdim=True)
    return centred / (scale + _LAYER_NORM_EPSILON), scale, shift
