"""The affine (tuned-lens-style) lens applied: what each layer says, its states mapped onwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidValue
from glassbox.techniques.library.fit_affine_lens import AffineLens, fit_affine_lens
from glassbox.techniques.measures.views import HeatMap, View, layer_names
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class AffineLensReading:
    """What each layer says through an affine lens."""

    tokens: tuple[str, ...]
    """The text."""
    top_tokens: tuple[tuple[str, ...], ...]
    """Most probable next token by layer and position; the last layer's is the model's own."""
    top_logprobs: Float[np.ndarray, "n_layers n_pos"]
    """Its log-probability, nats."""
    divergence: Float[np.ndarray, "n_layers n_pos"]
    """Kullback-Leibler divergence of the model's answer from the layer's, nats."""

    def view(self) -> View:
        """Return a heat map of the best token's probability, the token written in its cell."""
        panel = HeatMap(
            "Probability of the most probable next token", np.exp(self.top_logprobs[::-1]),
            layer_names(len(self.top_tokens)), self.tokens, bounds=(0.0, 1.0),
            texts=self.top_tokens[::-1],
        )  # fmt: skip
        return View("Affine lens", (panel,), "Each cell names what that layer already points to.")


@technique(title="Affine lens", paper="Belrose et al. 2023, Eliciting latent predictions")
def affine_lens(
    model: Any,
    tokenizer: Any,
    text: str,
    lens: AffineLens | None = None,
    fit_texts: Sequence[str] = (),
) -> AffineLensReading:
    """What each layer says next, its states first mapped to what they are about to become.

    Args:
        text: Read token by token.
        lens: The whole result of ``fit_affine_lens``; None fits one on ``fit_texts`` first.
        fit_texts: Texts to fit a lens on where none is given.
    """
    from glassbox.techniques.measures.affine import applied

    if lens is None and not fit_texts:
        raise InvalidValue("lens", None, "a fitted one, or fit_texts to fit it on")
    fitted = fit_affine_lens(model, tokenizer, fit_texts) if lens is None else lens
    return AffineLensReading(*applied(model, tokenizer, text, fitted.weight, fitted.bias))
