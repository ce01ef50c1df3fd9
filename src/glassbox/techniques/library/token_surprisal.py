"""Token surprisal: how little the model expected each token of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import TokenColouring, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class TokenSurprisal:
    """Surprisal of each token given those before it."""

    tokens: tuple[str, ...]
    """The text."""
    surprisal: Float[np.ndarray, " n_pos"]
    """Minus log-probability, nats, 0 or more; NaN for the first token, which nothing foretells."""
    entropy: Float[np.ndarray, " n_pos"]
    """What was expected on average there, nats; NaN for the first token."""
    expected: tuple[str, ...]
    """The token that was most probable instead; empty for the first one."""

    @property
    def mean(self) -> float:
        """Mean over the tokens, nats; NaN for a single token."""
        return float(np.mean(self.surprisal[1:])) if len(self.surprisal) > 1 else float("nan")

    def view(self) -> View:
        """Return the text, coloured."""
        notes = tuple(
            f"{value:.2f} nats; expected {other!r}" if other else "not foretold"
            for value, other in zip(self.surprisal, self.expected, strict=True)
        )
        panel = TokenColouring("Surprisal, nats", self.tokens, self.surprisal, (0.0, 8.0), notes)
        return View("Token surprisal", (panel,), f"{self.mean:.2f} nats per token on average.")


@technique(title="Token surprisal", paper="Hale 2001, A probabilistic Earley parser", batch="text")
def token_surprisal(
    model: Any, tokenizer: Any, text: str | Sequence[str]
) -> TokenSurprisal | list[TokenSurprisal]:
    """How surprising each token of a text is, and what was expected instead.

    Args:
        text: A text; of a list each one, all in one forward pass.
    """
    from glassbox.techniques.measures.reading import surprisals

    texts = [text] if isinstance(text, str) else list(text)
    found = [TokenSurprisal(*each) for each in surprisals(model, tokenizer, texts)]
    return found[0] if isinstance(text, str) else found
