"""Direct logit attribution: how much each part of the model adds to a logit by itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import Bars, View, by_layer
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class LogitAttribution:
    """A logit (or a difference of two) as a sum over parts, the final norm's scale held."""

    target: str
    """Token whose logit it is."""
    against: str | None
    """Token whose logit is taken off; None takes none off."""
    logit: float
    """What the model itself computes, before a soft cap."""
    embedding: float
    """Added by what enters the first layer."""
    heads: Float[np.ndarray, "n_layers n_heads"]
    """Added by each attention head."""
    attention_bias: Float[np.ndarray, " n_layers"]
    """Added by biases of attention's output, which no head owns."""
    mlp: Float[np.ndarray, " n_layers"]
    """Added by each feed-forward part."""
    constant: float
    """Added by biases of the final norm and of the unembedding."""

    def view(self) -> View:
        """Return the sums by part, and a heat map of heads."""
        layers = range(len(self.mlp))
        names = [f"{part} {layer}" for layer in layers for part in ("attention", "mlp")]
        parts = np.stack([self.heads.sum(axis=1) + self.attention_bias, self.mlp], axis=1)
        values = np.array([self.embedding, *parts.reshape(-1), self.constant])
        bars = Bars("Added to the logit", ("embedding", *names, "constant"), values)
        heat = by_layer("Added to the logit by each head", self.heads)
        what = repr(self.target) + (f" against {self.against!r}" if self.against else "")
        note = f"The parts add up to {self.logit:.3f}, which is what the model itself gives."
        return View(f"Direct logit attribution of {what}", (bars, heat), note)


@technique(title="Direct logit attribution", paper="Elhage et al. 2021, A mathematical framework")
def direct_logit_attribution(
    model: Any, tokenizer: Any, prompt: str, answer: str, against: str | None = None
) -> LogitAttribution:
    """What embedding, heads and feed-forward parts each add to the logit of the next token.

    Args:
        answer: Text whose first token is the target; a word needs its space, as in ' Athens'.
        against: Text whose first token's logit is taken off.
    """
    from glassbox.techniques.measures.attribution import attributed

    return LogitAttribution(*attributed(model, tokenizer, prompt, answer, against))
