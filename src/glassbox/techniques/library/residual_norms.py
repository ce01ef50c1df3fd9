"""Residual norms: how long the residual stream is after each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import HeatMap, Lines, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class ResidualNorms:
    """L2 norms of the residual stream."""

    tokens: tuple[str, ...]
    """The text."""
    norms: Float[np.ndarray, "n_layers_and_1 n_pos"]
    """Row 0 is what enters the first layer, row i what leaves layer i - 1, before any final norm;
    this is not the library's hidden state there for the last row, which is after the norm."""

    def view(self) -> View:
        """Return the median over tokens by layer, and a heat map of the logarithm."""
        rows = len(self.norms)
        names = ("embedding", *(str(layer) for layer in range(rows - 1)))[::-1]
        series = {
            "median over tokens": np.median(self.norms, axis=1), "largest": self.norms.max(axis=1),
        }  # fmt: skip
        line = Lines("Length by layer", np.arange(rows) - 1.0, series,
                     "After layer (-1: what enters the first)", "L2 norm")  # fmt: skip
        logs = np.log10(np.maximum(self.norms, 1e-9))
        heat = HeatMap("Logarithm (base 10) of the length", logs[::-1], names, self.tokens)
        note = "A single token, often the first, may be many times longer than the rest."
        return View("Length of the residual stream", (line, heat), note)


@technique(title="Residual norms", paper="Heimersheim & Turner 2023", batch="text")
def residual_norms(
    model: Any, tokenizer: Any, text: str | Sequence[str]
) -> ResidualNorms | list[ResidualNorms]:
    """The length of the residual stream at every token, from the embeddings to the last layer.

    Args:
        text: A text; of a list each one, all in one forward pass.
    """
    from glassbox.techniques.measures.reading import lengths

    texts = [text] if isinstance(text, str) else list(text)
    found = [ResidualNorms(*each) for each in lengths(model, tokenizer, texts)]
    return found[0] if isinstance(text, str) else found
