"""A small random model with a random dictionary on every layer, some of whose latents fire."""

import torch

from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.sources import SourceLayer
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.sae import Sae, SaeSource
from tests.pathways.blocks.models import make

SOURCE = SaeSource("memory", "file", "", "", "jumprelu", "")
N_LATENTS = 40


def random_sae(layer, d, n=N_LATENTS, k=None, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(1000 * seed + layer)
    decoder = torch.randn(n, d, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    encoder = decoder + 0.3 * torch.randn(n, d, generator=generator) / d**0.5
    return Sae(
        layer,
        encoder,
        0.1 * torch.randn(n, generator=generator),
        decoder,
        torch.zeros(d),
        spread * torch.rand(n, generator=generator),
        SOURCE,
        k,
    )


def world(name="llama", n_tokens=16, k=None, targets=None):
    """A model, a context and its dictionaries by layer."""
    model = make(name)
    d = model.config.hidden_size
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(40.0)
    saes = {layer: random_sae(layer, d, k=k) for layer in range(3)}
    places = targets or [
        (2, 3, 15), (2, 8, 15), (2, 3, 9), (1, 7, 12), (1, 0, 4), (2, 11, 4), (1, 7, 15),
    ]  # fmt: skip
    tokens = [(7 * at + 3) % 60 for at in range(n_tokens)]
    context = make_context(
        0, tokens, [(LatentId(layer, index), at) for layer, index, at in places], excluded=(0, 6)
    )
    return model, context, saes


def rows_of(saes):
    return {at: sae.rows(torch.arange(sae.d_sae)) for at, sae in saes.items()}


def whole(saes):
    return {at: SourceLayer(sae) for at, sae in saes.items()}
