"""Random dictionaries for the tests of this folder."""

import torch

from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.writing import save_sae


def make_sae(layer=2, d_in=6, d_sae=20, k=None, threshold=0.3, input_norm="none", seed=0, **source):
    generator = torch.Generator().manual_seed(100 * seed + layer)
    hook = f"blocks.{layer}.hook_resid_post"
    return Sae(
        layer=layer,
        w_enc=torch.randn(d_sae, d_in, generator=generator),
        b_enc=torch.randn(d_sae, generator=generator),
        w_dec=torch.randn(d_sae, d_in, generator=generator),
        b_dec=torch.randn(d_in, generator=generator),
        threshold=torch.rand(d_sae, generator=generator) * threshold,
        source=SaeSource("memory", "file", "", "", "", hook, **source),
        k=k,
        input_norm=input_norm,
    )


def write_saes(folder, layers=(0, 1, 2), **options):
    """Write one SAE a layer in SAELens' format and return them."""
    made = {layer: make_sae(layer, **options) for layer in layers}
    for layer, sae in made.items():
        save_sae(sae, folder / f"layer_{layer}")
    return made
