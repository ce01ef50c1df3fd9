"""What the resident model can be asked to write or to read, and what comes back; no torch here.

One kind of request serves generating (the model writes the response), reading (somebody else's
response is given and only read: teacher forcing) and capturing states alone (an empty response).
All of them share the running batch. Knows nothing of text formats, probes, HTTP or labels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import CapacityError, DeadlineExceeded, InvalidValue
from glassbox.types import Capture, FinishReason, HookPoint, Scope, TokenIds


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when to stop."""

    max_tokens: int = 256
    """Most tokens to write, 1 or more; the end-of-text token counts."""
    temperature: float = 0.7
    """0 is greedy; logits are divided by it otherwise."""
    top_p: float = 1.0
    """Smallest set of most probable tokens whose probabilities reach this, (0, 1]."""
    top_k: int | None = None
    """Only so many of the most probable tokens; None is all of them."""
    seed: int | None = None
    """The same seed gives the same text for the same request; None draws one."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; not part of it."""
    stop_at_end: bool = True
    """Whether the model's end-of-text token ends the text."""
    top_logprobs: int = 0
    """How many of the most probable tokens to report at each position."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InvalidValue("max_tokens", self.max_tokens, "1 or more")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidValue("temperature", self.temperature, "a number from 0 up")
        if not 0 < self.top_p <= 1:
            raise InvalidValue("top_p", self.top_p, "a fraction in (0, 1]")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidValue("top_k", self.top_k, "1 or more, or none")
        if self.top_logprobs < 0:
            raise InvalidValue("top_logprobs", self.top_logprobs, "0 or more")
        if any(not text for text in self.stop):
            raise InvalidValue("stop", self.stop, "strings that are not empty")


@dataclass(frozen=True, eq=False)
class Readout:
    """A linear reading of a hidden state, taken at every position while the model runs.

    The value at a position is ``weight · x + bias``. Because it is linear, the mean of the values
    over some positions is the value at the mean state: pooling needs no states.
    """

    name: str
    """Key under which the values come back."""
    point: HookPoint
    """Where the state is read."""
    weight: Float[np.ndarray, " d_model"]
    """Direction, float32; any standardisation is folded in."""
    bias: float = 0.0
    """Offset."""


@dataclass(frozen=True)
class Request:
    """One prompt, and what to do with it."""

    prompt: TokenIds
    """Whole prompt, hidden system prompt included; not empty."""
    response: TokenIds | None = None
    """Somebody else's response to be read in one pass; empty reads the prompt alone; None lets
    the model write one."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to write; only ``top_logprobs`` matters where a response is given."""
    n_hidden: int = 0
    """Leading tokens of the prompt that are a hidden system prompt: no capture or readout covers
    them, and prompt-scope capture of single positions (pooling ``none``) is refused with them."""
    adapter: str | None = None
    """Name or digest of a loaded adapter; None is the base model."""
    capture: Capture | None = None
    """Hidden states wanted back."""
    readouts: tuple[Readout, ...] = ()
    """Linear readings wanted at every position."""
    readout_scope: Scope = "all"
    """Positions that readouts cover."""
    deadline_s: float | None = None
    """Seconds from submission after which the request ends with what it has; None never."""
    client: str = ""
    """Whose request it is: clients take turns."""
    priority: int = 0
    """Waiting requests of a lower number go first."""


@dataclass(frozen=True, eq=False)
class CapturedStates:
    """Hidden states of one place, in the forms asked for; float32."""

    point: HookPoint
    """The place, its layer counted from 0."""
    scope: Scope
    """Positions covered."""
    n_positions: int
    """How many those were; every form is None (``none``: empty) where it is 0."""
    mean: Float[np.ndarray, " d_model"] | None = None
    """Mean vector over the positions."""
    last: Float[np.ndarray, " d_model"] | None = None
    """Vector of the last position."""
    norm: float | None = None
    """Mean over positions of the L2 norm."""
    none: Float[np.ndarray, "n_positions d_model"] | None = None
    """Every position's vector."""


@dataclass(frozen=True, eq=False)
class TokenReadings:
    """What the model thought at each token of a response, in order."""

    token_ids: TokenIds
    """The tokens; the end-of-text token is one of them where it was drawn."""
    logprobs: Float[np.ndarray, " n"]
    """Natural log of the probability of each token under the model's raw distribution."""
    entropies: Float[np.ndarray, " n"]
    """Entropy of that distribution over the whole vocabulary, nats."""
    sampled_logprobs: Float[np.ndarray, " n"]
    """As ``logprobs``, under the distribution sampled from (temperature, top_p, top_k applied);
    equal to ``logprobs`` where nothing was sampled (greedy, given)."""
    sampled_entropies: Float[np.ndarray, " n"]
    """As ``entropies``, of the distribution sampled from."""
    top_ids: Int[np.ndarray, "n top_logprobs"]
    """Most probable tokens at each position, best first."""
    top_logprobs: Float[np.ndarray, "n top_logprobs"]
    """Their raw log-probabilities."""


@dataclass(frozen=True, eq=False)
class Generation:
    """The whole answer to one request."""

    text: str
    """The response as text, without the stop string and special tokens."""
    finish_reason: FinishReason
    """Why it ended."""
    tokens: TokenReadings
    """Readings at each token of the response."""
    states: tuple[CapturedStates, ...]
    """Captured states, in the order of the capture's points."""
    readouts: dict[str, Float[np.ndarray, " n_positions"]]
    """Values of each readout over the covered positions. A position's value is read where the
    token stands, after it was seen; a token that was drawn last is never run, so the readings of a
    written response are one fewer than its tokens."""
    n_prompt: int
    """Tokens of the prompt, the hidden ones included."""
    n_cached: int
    """How many of those were not computed again."""
    adapter_digest: str | None
    """Digest (hex) of the adapter that answered; None is the base model."""
    queued_s: float
    """Seconds until the model began with it."""
    first_token_s: float
    """Seconds from submission to its first token (to its end, where nothing was written)."""
    total_s: float
    """Seconds from submission to its end."""

    @property
    def is_cut(self) -> bool:
        """Whether the model may have had more to say: its tokens or its context are used up."""
        return self.finish_reason in ("length", "context")

    @property
    def mean_entropy(self) -> float:
        """Mean of the raw entropies over the response's tokens, nats; 0 for an empty response."""
        return float(self.tokens.entropies.mean()) if len(self.tokens.entropies) else 0.0

    @property
    def n_response_run(self) -> int:
        """Positions of the response that went through the model: a token drawn last never does."""
        n_tokens = len(self.tokens.token_ids)
        return n_tokens if self.finish_reason == "given" else max(0, n_tokens - 1)

    def whole(self) -> "Generation":
        """Return this answer if it came to an end of its own.

        Raises:
            DeadlineExceeded: Time ran out on the way.
            CapacityError: It was cancelled, because the engine is shutting down.
        """
        if self.finish_reason == "deadline":
            raise DeadlineExceeded(
                "Time ran out before the model had read and written everything. Allow more of it, "
                "or ask for less."
            )
        if self.finish_reason == "cancelled":
            raise CapacityError("The server is shutting down and has ended the request. Ask again.")
        return self


@dataclass(frozen=True, eq=False)
class Piece:
    """What one step added to a response, for streaming."""

    text: str
    """Text that is now certain; text that may begin a stop string or an unfinished character is
    held back until it is known."""
    tokens: TokenReadings
    """The tokens this step added (usually one)."""
    readouts: dict[str, Float[np.ndarray, " n_new"]]
    """Readout values of positions that were computed in this step."""


Listener = Callable[[Piece], None]
"""Called for each piece on the engine's own thread: hand it on, do not work there."""


class Ticket(Protocol):
    """A request on its way."""

    def result(self, timeout_s: float | None = None) -> Generation:
        """Return the whole answer once it is there.

        Raises:
            DeadlineExceeded: The request's deadline passed before its first token, or
                ``timeout_s`` did (the request then goes on).
            NonFiniteOutput: The model answered NaN or infinity for this request.
            OutOfMemory: It does not fit, even alone.
        """
        ...

    def cancel(self) -> None:
        """Take the request out of the batch; its result ends as ``cancelled``. Idempotent."""
        ...

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once when the result (or error) is there, at once if it is; any thread."""
        ...


@dataclass(frozen=True)
class AdapterInfo:
    """One adapter that requests may name."""

    name: str
    """Name it was loaded under."""
    digest: str
    """SHA-256 over its configuration and weights (hex)."""
    rank: int
    """Largest rank among its layers."""
    n_bytes: int
    """Size of its weights in bytes."""
    tier: Literal["disk", "host", "device"]
    """Where its weights are now."""
