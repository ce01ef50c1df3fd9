"""Induction: which heads look at what followed the same token before."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import HeatMap, View, head_names, layer_names
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class InductionScores:
    """How much each head does what an induction head does, on random tokens written twice."""

    weights: Float[np.ndarray, "n_layers n_heads"]
    """Mean attention weight of a repeated token on the one after its first appearance, [0, 1]."""
    first_surprisal: float
    """Mean surprisal in the first half, nats per token."""
    second_surprisal: float
    """Mean surprisal in the second half: lower where the model copies, nats per token."""

    def view(self) -> View:
        """Return a heat map of layers and heads."""
        n_layers, n_heads = self.weights.shape
        panel = HeatMap(
            "Weight on what followed last time", self.weights[::-1], layer_names(n_layers),
            head_names(n_heads), "Layer", "Head", bounds=(0.0, 1.0),
        )  # fmt: skip
        layer, head = np.unravel_index(int(np.nanargmax(self.weights)), self.weights.shape)
        note = (
            f"Most by head {head} of layer {layer}: {self.weights[layer, head]:.2f}. "
            f"Surprisal {self.first_surprisal:.2f} nats per token at first, "
            f"{self.second_surprisal:.2f} when the same tokens come again."
        )
        return View("Induction heads", (panel,), note)


@technique(title="Induction scores", paper="Olsson et al. 2022, In-context learning and induction")
def induction_scores(
    model: Any, tokenizer: Any, n_tokens: int = 32, n_sequences: int = 8, seed: int = 0
) -> InductionScores:
    """Each head's attention to what followed the same token before, on repeated random tokens.

    Args:
        n_tokens: Random tokens of a sequence, which is then written again.
        n_sequences: Sequences averaged over.
        seed: Of the random tokens.
    """
    from glassbox.techniques.measures.attention import induction

    return InductionScores(
        *induction(model, tokenizer, n_tokens=n_tokens, n_sequences=n_sequences, seed=seed)
    )
