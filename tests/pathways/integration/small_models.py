"""A random small model with random SAEs, and a codec over its own tokenizer."""

from collections.abc import Sequence

import torch

from glassbox.engine.model.codec import TokenizerCodec
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.testing.tiny import tiny_loaded

SOURCE = SaeSource("memory", "file", "", "", "jumprelu", "")


class SmallSaes:
    """Dictionaries in memory."""

    def __init__(self, saes: Sequence[Sae]) -> None:
        self._saes = {each.layer: each for each in saes}
        self.layers = tuple(sorted(self._saes))

    def load(self, layer: int, **_how) -> Sae:
        return self._saes[layer]

    def rows(self, latents: Sequence[LatentId]) -> dict[int, LatentRows]:
        found = {}
        for layer in sorted({each.layer for each in latents}):
            indices = sorted({each.index for each in latents if each.layer == layer})
            found[layer] = self._saes[layer].rows(torch.tensor(indices))
        return found


def small_model(architecture: str = "llama", seed: int = 0):
    """The random model, its codec and its width."""
    loaded = tiny_loaded(architecture, seed)
    model = loaded.model.eval().requires_grad_(False)
    return model, TokenizerCodec(loaded.tokenizer), int(model.config.hidden_size)


def small_saes(
    n_layers: int, width: int, d_sae: int = 48, *, k: int | None = None, seed: int = 0
) -> SmallSaes:
    """Random SAEs of which a good part fires."""
    rng = torch.Generator().manual_seed(seed)
    saes = []
    for layer in range(n_layers):
        w_dec = torch.nn.functional.normalize(torch.randn(d_sae, width, generator=rng), dim=1)
        saes.append(
            Sae(
                layer, w_dec * 1.5, torch.randn(d_sae, generator=rng) * 0.1, w_dec,
                torch.randn(width, generator=rng) * 0.05, torch.full((d_sae,), 0.02), SOURCE, k=k,
            )
        )  # fmt: skip
    return SmallSaes(saes)
