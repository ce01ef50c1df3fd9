"""Small SAEs for tests: seeded random ones for ``tiny_engine``, and the embedded model's own."""

from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from glassbox.pathways.saes.dictionaries import Dictionaries, open_dictionaries
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.testing.tiny import D_MODEL

SHIPPED_SAES = Path(__file__).parents[1] / "assets" / "saes"
"""The embedded model's SAEs, one folder a layer."""


def tiny_sae(
    layer: int = 0,
    *,
    d_sae: int = 48,
    d_model: int = D_MODEL,
    kind: Literal["jumprelu", "standard", "topk"] = "jumprelu",
    k: int = 8,
    seed: int = 0,
) -> Sae:
    """Return an SAE of random weights: decoder rows of length 1, about half the latents active.

    What its latents mean is nothing; the arithmetic is that of a real one.

    Args:
        layer: Block, 0-based, whose output it is said to read.
        d_sae: Latents.
        d_model: Width of the residual stream; by default that of ``tiny_engine``.
        kind: ``jumprelu`` has thresholds, ``topk`` keeps ``k`` latents a token.
        k: Only for ``topk``.
        seed: Of the weights.
    """
    generator = torch.Generator().manual_seed(seed * 1009 + layer)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    directions = functional.normalize(drawn(d_sae, d_model), dim=1)
    thresholds = 0.1 + 0.2 * torch.rand(d_sae, generator=generator)
    return Sae(
        layer=layer,
        w_enc=directions + 0.1 * drawn(d_sae, d_model),
        b_enc=0.05 * drawn(d_sae),
        w_dec=directions,
        b_dec=0.1 * drawn(d_model),
        threshold=thresholds if kind == "jumprelu" else torch.zeros(d_sae),
        source=SaeSource(
            format="memory",
            convention="file",
            path="",
            digest="",
            architecture=kind,
            hook=f"blocks.{layer}.hook_resid_post",
            decoder_norm_mean=1.0,
        ),
        k=k if kind == "topk" else None,
    )


def shipped_saes() -> Dictionaries:
    """Return the embedded model's SAEs: 512 latents on each of its 8 layers, 16 active a token."""
    return open_dictionaries(SHIPPED_SAES)
