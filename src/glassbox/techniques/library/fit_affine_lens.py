"""Fits an affine lens: a map for each layer that says what its states will have become."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import Lines, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class AffineLens:
    """One affine map for each layer but the last; ``states @ weight[layer] + bias[layer]``."""

    weight: Float[np.ndarray, "n_maps d_model d_model"]
    """From a layer's states (rows) to the last layer's (columns)."""
    bias: Float[np.ndarray, "n_maps d_model"]
    """What is added."""
    divergence: Float[np.ndarray, " n_maps"]
    """Mean Kullback-Leibler divergence of the model's answer from the lens's, nats, as fitted."""
    plain_divergence: Float[np.ndarray, " n_maps"]
    """The same for the logit lens, which maps nothing."""

    def view(self) -> View:
        """Return how far both lenses are from the model's answer, by layer."""
        series = {"logit lens": self.plain_divergence, "affine lens": self.divergence}
        layers = np.arange(len(self.bias), dtype=np.float64)
        panel = Lines("Distance from the answer", layers, series, "Layer", "Divergence, nats")
        return View("Affine lens, fitted", (panel,), "On the texts it was fitted on.")


@technique(
    title="Affine lens: fit",
    paper="Belrose et al. 2023, Eliciting latent predictions with the tuned lens; Din et al. 2023",
)
def fit_affine_lens(
    model: Any, tokenizer: Any, texts: Sequence[str], ridge: float = 1.0, n_steps: int = 40
) -> AffineLens:
    """An affine map for each layer, by least squares and then by the divergence itself.

    Args:
        texts: What it is fitted on; together some thousand tokens at least.
        ridge: Pull towards the logit lens in mean squares of a state's direction, 0 or more.
        n_steps: Steps of Adam on the divergence (Belrose's loss) after the least squares.
    """
    from glassbox.techniques.measures.affine import fitted

    return AffineLens(*fitted(model, tokenizer, texts, ridge=ridge, n_steps=n_steps))
