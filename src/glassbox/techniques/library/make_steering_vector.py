"""Makes a steering vector: the difference between two kinds of texts at one layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import Bars, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction to add to the residual stream after one layer."""

    layer: int
    """Block after which it is added, from 0."""
    vector: Float[np.ndarray, " d_model"]
    """Mean state of the positive texts less that of the negative ones."""
    state_norm: float
    """Mean L2 norm of the states it was made from: how long the vector is against what is there."""
    positive: Float[np.ndarray, " n_positive"]
    """Where each positive text lies along the direction: 1 at their mean, -1 at the others'."""
    negative: Float[np.ndarray, " n_negative"]
    """Where each negative text lies."""

    def view(self) -> View:
        """Return where the texts lie along the direction."""
        names = [f"positive {number}" for number in range(len(self.positive))]
        names += [f"negative {number}" for number in range(len(self.negative))]
        values = np.concatenate([self.positive, self.negative])
        length = float(np.linalg.norm(self.vector))
        note = f"Length {length:.2f}; states there are {self.state_norm:.2f} long on average."
        panel = Bars("Place along the direction", tuple(names), values)
        return View(f"Steering vector at layer {self.layer}", (panel,), note)


@technique(title="Steering vector: make", paper="Rimsky et al. 2024, Contrastive activation")
def make_steering_vector(
    model: Any, tokenizer: Any, positive: Sequence[str], negative: Sequence[str], layer: int = -2,
    position: str = "last",
) -> SteeringVector:  # fmt: skip
    """The mean difference of states after a layer between two kinds of texts.

    Args:
        positive: Texts with what is to be steered towards.
        negative: Texts without it.
        layer: Block, from 0; negative counts from the end.
        position: Which state stands for a text: last, or mean (over all its tokens, a
            begin-of-text token too).
    """
    from glassbox.techniques.measures.steering import contrasted

    return SteeringVector(*contrasted(model, tokenizer, positive, negative, layer, position))
