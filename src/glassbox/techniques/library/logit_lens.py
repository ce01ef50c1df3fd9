"""The logit lens: what each layer would say next if the model ended there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidValue
from glassbox.techniques.measures.views import HeatMap, View, layer_names
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class LogitLens:
    """What each layer says after each token."""

    tokens: tuple[str, ...]
    """The text."""
    top_tokens: tuple[tuple[tuple[str, ...], ...], ...]
    """Most probable next tokens by layer, position and rank."""
    top_logprobs: Float[np.ndarray, "n_layers n_pos top_k"]
    """Their log-probabilities, nats."""
    entropy: Float[np.ndarray, "n_layers n_pos"]
    """Entropy of each layer's next-token distribution, nats."""
    final_logprobs: Float[np.ndarray, "n_layers n_pos"]
    """Log-probability that each layer gives to what the last layer finds most probable, nats."""

    def view(self) -> View:
        """Return a heat map of the best token's probability, the token written in its cell."""
        best = tuple(tuple(ranks[0] for ranks in layer) for layer in reversed(self.top_tokens))
        panel = HeatMap(
            "Probability of the most probable next token", np.exp(self.top_logprobs[::-1, :, 0]),
            layer_names(len(self.top_tokens)), self.tokens, bounds=(0.0, 1.0), texts=best,
        )  # fmt: skip
        return View("Logit lens", (panel,), "Each cell names what that layer would say next.")


@technique(title="Logit lens", paper="nostalgebraist 2020, interpreting GPT: the logit lens")
def logit_lens(model: Any, tokenizer: Any, text: str, top_k: int = 5) -> LogitLens:
    """What each layer would say next, read with the model's own norm and unembedding.

    Args:
        text: Read token by token.
        top_k: Tokens named at each place.
    """
    from glassbox.engine.states import logit_lens as lens
    from glassbox.techniques.measures.encoding import encode, pieces

    n_words = int(model.get_output_embeddings().weight.shape[0])
    if not 1 <= top_k <= n_words:
        raise InvalidValue("top_k", top_k, f"1 to {n_words}")
    batch = encode(model, tokenizer, [text])
    ids = tuple(batch.ids[0].tolist())
    read = lens.logit_lens(model, ids, batch.shown[0], top_k=top_k)
    top = read.top_ids.tolist()
    named = tuple(tuple(pieces(tokenizer, ranks) for ranks in layer) for layer in top)
    return LogitLens(batch.tokens[0], named, read.top_logprobs, read.entropies, read.final_logprobs)
