"""Steering: what the model writes with a vector added to its residual stream."""

from dataclasses import dataclass
from typing import Any

from glassbox.techniques.library.make_steering_vector import SteeringVector
from glassbox.techniques.measures.views import Passages, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True)
class Steered:
    """What follows a prompt with and without a steering vector."""

    prompt: str
    """The prompt."""
    coefficient: float
    """What the vector was multiplied by."""
    plain: str
    """What the model writes by itself, greedily."""
    steered: str
    """What it writes with the vector added at every position, prompt included."""

    def view(self) -> View:
        """Return both continuations."""
        names = ("as it is", f"steered by {self.coefficient:g}")
        panel = Passages("Continuations", names, (self.plain, self.steered), self.prompt)
        return View("Steering", (panel,))


@technique(title="Steering vector: apply", paper="Turner et al. 2023, Activation addition")
def steer(
    model: Any, tokenizer: Any, prompt: str, vector: SteeringVector, coefficient: float = 1.0,
    max_new_tokens: int = 40,
) -> Steered:  # fmt: skip
    """What the model writes after a prompt while a vector is added after one layer.

    Args:
        vector: The whole result of ``make_steering_vector``.
        coefficient: What it is multiplied by; negative steers away.
        max_new_tokens: Most tokens written.
    """
    from glassbox.techniques.measures.steering import swept

    levels, length = (0.0, coefficient), max_new_tokens
    texts, _ = swept(model, tokenizer, prompt, (vector.layer, vector.vector), levels, None, length)
    return Steered(prompt, coefficient, *texts)
