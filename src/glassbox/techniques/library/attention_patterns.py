"""Attention patterns: where each head looks, and what kind of head it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidValue
from glassbox.techniques.measures.views import HeatMap, View, head_names, layer_names
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class AttentionPatterns:
    """Attention weights, and four figures about every head."""

    tokens: tuple[str, ...]
    """The text."""
    weights: Float[np.ndarray, "n_layers n_heads query key"]
    """Probability with which a token looks at another; rows sum to 1 unless a prompt is hidden."""
    to_previous: Float[np.ndarray, "n_layers n_heads"]
    """Mean weight on the token before, first token left out, in [0, 1]."""
    to_first: Float[np.ndarray, "n_layers n_heads"]
    """Mean weight on the first token, its own left out, in [0, 1]."""
    to_itself: Float[np.ndarray, "n_layers n_heads"]
    """Mean weight on the token itself, first token left out, in [0, 1]."""
    entropy: Float[np.ndarray, "n_layers n_heads"]
    """Mean entropy of where a token looks, nats."""

    def view(self, layer: int | None = None, head: int = 0) -> View:
        """Return the heads' figures as heat maps, or one head's pattern where a layer is given."""
        n_layers, n_heads = self.entropy.shape
        if layer is None:
            parts = {"previous": self.to_previous, "first": self.to_first, "same": self.to_itself}
            axes = (layer_names(n_layers), head_names(n_heads), "Layer", "Head")
            panels = [
                HeatMap(f"Mean weight on the {name} token", each[::-1], *axes, bounds=(0.0, 1.0))
                for name, each in parts.items()
            ]
            return View("Attention, head by head", tuple(panels))
        if not (-n_layers <= layer < n_layers and 0 <= head < n_heads):
            raise InvalidValue("head", (layer, head), f"below ({n_layers}, {n_heads})")
        pattern = np.where(np.tri(len(self.tokens)) > 0, self.weights[layer, head], np.nan)
        axes = (self.tokens, self.tokens, "Token that looks", "Token looked at")
        panel = HeatMap("Weight", pattern, *axes, bounds=(0.0, 1.0))
        return View(f"Attention of layer {layer % n_layers}, head {head}", (panel,))


@technique(title="Attention patterns", paper="Clark et al. 2019, What does BERT look at?")
def attention_patterns(model: Any, tokenizer: Any, text: str) -> AttentionPatterns:
    """Where every head looks at every token, with a summary of each head."""
    from glassbox.techniques.measures.attention import weights_and_figures

    return AttentionPatterns(*weights_and_figures(model, tokenizer, text))
