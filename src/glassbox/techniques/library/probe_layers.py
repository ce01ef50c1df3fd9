"""Probing: how well a straight line through each layer's states tells two kinds of texts apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import Lines, View
from glassbox.techniques.technique import technique
from glassbox.wording import percent


@dataclass(frozen=True, eq=False)
class LayerProbes:
    """A logistic probe for each layer, judged on texts it was not fitted on."""

    layers: tuple[int, ...]
    """Blocks after which the states were read."""
    auroc: Float[np.ndarray, " n_layers"]
    """Area under the ROC curve over held-out folds; 0.5 is chance, 1 perfect."""
    accuracy: Float[np.ndarray, " n_layers"]
    """Share of held-out texts on the right side, in [0, 1]."""
    base_rate: float
    """Accuracy of always naming the more frequent kind."""
    direction: Float[np.ndarray, "n_layers d_model"]
    """Weights on the states as they are, fitted on all texts; log-odds per unit."""
    bias: Float[np.ndarray, " n_layers"]
    """Log-odds at zero."""

    def view(self) -> View:
        """Return both figures by layer."""
        series = {"AUROC": self.auroc, "accuracy": self.accuracy}
        layers = np.array(self.layers, dtype=np.float64)
        panel = Lines("On held-out texts", layers, series, "Layer", "Fraction", (0.0, 1.0))
        note = f"Always naming the more frequent kind is right in {percent(self.base_rate)}."
        return View("Probes, layer by layer", (panel,), note)


@technique(title="Probe layers", paper="Alain & Bengio 2016, Understanding intermediate layers")
def probe_layers(
    model: Any, tokenizer: Any, texts: Sequence[str], labels: Sequence[int],
    layers: Sequence[int] = (), position: str = "last", penalty: float = 100.0, n_folds: int = 5,
) -> LayerProbes:  # fmt: skip
    """A logistic regression on the states after each layer, cross-validated.

    Args:
        labels: 1 or 0 (or true and false) for each text.
        layers: Blocks, negative ones from the end; none means all.
        position: Which state stands for a text: last, or mean (over all its tokens, a
            begin-of-text token too).
        penalty: L2 penalty on standardised states.
        n_folds: Parts, each judged by a probe fitted on the others.
    """
    from glassbox.techniques.measures.probing import probed

    how = (position, penalty, n_folds)
    return LayerProbes(*probed(model, tokenizer, texts, labels, layers, how))
