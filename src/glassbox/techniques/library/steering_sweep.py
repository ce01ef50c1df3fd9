"""A steering sweep: how the answer moves as a vector is added more and more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.library.make_steering_vector import SteeringVector
from glassbox.techniques.measures.views import Lines, Passages, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class SteeringSweep:
    """What follows a prompt at each coefficient."""

    prompt: str
    """The prompt."""
    coefficients: Float[np.ndarray, " n"]
    """What the vector was multiplied by."""
    continuations: tuple[str, ...]
    """What the model writes, greedily."""
    target_probs: Float[np.ndarray, " n"]
    """Probability of the target as the next token, in [0, 1]; NaN where none was given."""

    def view(self) -> View:
        """Return the target's probability over the coefficients, and the texts."""
        names = tuple(f"coefficient {each:g}" for each in self.coefficients)
        texts = Passages("Continuations", names, self.continuations, self.prompt)
        if np.isnan(self.target_probs).any():
            return View("Steering sweep", (texts,))
        order = np.argsort(self.coefficients)
        series = {"target": self.target_probs[order]}
        line = Lines("Probability of the target as the next token", self.coefficients[order],
                     series, "Coefficient", "Probability")  # fmt: skip
        return View("Steering sweep", (line, texts))


@technique(title="Steering vector: sweep", paper="Turner et al. 2023, Activation addition")
def steering_sweep(
    model: Any, tokenizer: Any, prompt: str, vector: SteeringVector,
    coefficients: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0), target: str | None = None,
    max_new_tokens: int = 20,
) -> SteeringSweep:  # fmt: skip
    """What the model writes at several coefficients, all in one batch.

    Args:
        vector: The whole result of ``make_steering_vector``.
        coefficients: What it is multiplied by, one row each.
        target: Text whose first token's probability is reported; a word needs its space.
        max_new_tokens: Most tokens written.
    """
    from glassbox.techniques.measures.steering import swept

    where = (vector.layer, vector.vector)
    texts, probs = swept(model, tokenizer, prompt, where, coefficients, target, max_new_tokens)
    return SteeringSweep(prompt, np.array(coefficients, dtype=np.float64), texts, probs)
