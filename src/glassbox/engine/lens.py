"""What the logit lens can be asked, and what it answers with; no torch here.

The logit lens reads every layer's residual stream as if it were the last one: what the model does
after its last block (final norm, unembedding, soft cap where it has one) is applied to the output
of each block. Knows token ids and positions; knows nothing of text, HTTP or hidden prompts' words.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from glassbox.engine.protocol import EngineInfo
from glassbox.errors import InvalidValue, TextTooLong
from glassbox.types import TokenIds

MAX_POSITIONS = 64
"""Most positions in one reading: a screen's width of tokens, and a bound on memory and time."""

MAX_TOP_K = 20
"""Most tokens named at each place."""


@dataclass(frozen=True)
class LensRequest:
    """A text and the positions at which every layer is to be read."""

    tokens: TokenIds
    """The whole text, hidden system prompt included; not empty."""
    positions: tuple[int, ...]
    """Positions to read, ascending and distinct; each tells what would come after its token."""
    top_k: int = 5
    """How many of the most probable tokens to name at each place, 1 to ``MAX_TOP_K``."""
    n_hidden: int = 0
    """Leading tokens that are a hidden system prompt: they cannot be read."""
    adapter: str | None = None
    """Name or digest of a loaded adapter; None is the base model."""

    def check(self, info: EngineInfo) -> None:
        """Refuse what the resident model cannot answer.

        Raises:
            InvalidValue: An empty text, an unknown token id, positions outside the text or not
                ascending, too many of them, a ``top_k`` outside its range.
            TextTooLong: The text exceeds the context.
        """
        n = len(self.tokens)
        if not n:
            raise InvalidValue("tokens", self.tokens, "one or more token ids")
        odd = [token for token in self.tokens if not 0 <= token < info.d_vocab]
        if odd:
            # One id and no more: the text may begin with a hidden system prompt.
            raise InvalidValue("token ids", odd[0], f"each from 0 to {info.d_vocab - 1}")
        if n > info.context:
            # A hidden system prompt is not counted where the caller can read it.
            raise TextTooLong(n - self.n_hidden, max(0, info.context - self.n_hidden))
        if not 1 <= self.top_k <= min(MAX_TOP_K, info.d_vocab):
            raise InvalidValue("top_k", self.top_k, f"1 to {min(MAX_TOP_K, info.d_vocab)}")
        if not 1 <= len(self.positions) <= MAX_POSITIONS:
            raise InvalidValue("number of positions", len(self.positions), f"1 to {MAX_POSITIONS}")
        if min(self.positions) < self.n_hidden or max(self.positions) >= n:
            raise InvalidValue("positions", self.positions, f"each from {self.n_hidden} to {n - 1}")
        if list(self.positions) != sorted(set(self.positions)):
            raise InvalidValue("positions", self.positions, "ascending and distinct")


@dataclass(frozen=True, eq=False)
class LogitLens:
    """What each layer would have said next, at each position."""

    positions: tuple[int, ...]
    """Positions read, as asked."""
    top_ids: Int[np.ndarray, "n_layers n_positions top_k"]
    """Most probable next tokens of each layer, best first; the last layer is the model itself."""
    top_logprobs: Float[np.ndarray, "n_layers n_positions top_k"]
    """Their natural log-probabilities."""
    entropies: Float[np.ndarray, "n_layers n_positions"]
    """Entropy of each layer's distribution over the whole vocabulary, nats."""
    final_logprobs: Float[np.ndarray, "n_layers n_positions"]
    """Log-probability that each layer gives to the token the last layer finds most probable: where
    it rises, the answer has been found."""
    adapter_digest: str | None = None
    """Digest (hex) of the adapter that was read; None is the base model."""


@runtime_checkable
class LensEngine(Protocol):
    """An engine that can read its model layer by layer."""

    def lens(self, request: LensRequest) -> LogitLens:
        """Return the logit lens at some positions; nobody else's step runs meanwhile.

        Raises:
            InvalidValue: As ``LensRequest.check``.
            TextTooLong: The text exceeds the context.
            UnsupportedModel: The model's blocks are not known, or its output needs more than what
                leaves its last block.
            UnknownName: No adapter of that name or digest is loaded.
            NonFiniteOutput: A layer's logits are NaN or infinite.
            OutOfMemory: It does not fit.
        """
        ...
