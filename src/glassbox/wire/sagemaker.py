"""SageMaker's ``/ping`` and ``/invocations`` with the fields of the source document.

``target_layers`` and the keys ``layer_-1`` are Hugging Face's indices of ``hidden_states``: 0 is
the embeddings, the last one what leaves the final norm.
"""

from typing import Final, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText, Vector

DEFAULT_TARGET_LAYERS = (-1, -4, -8)
"""Hidden states answered with where a request names none."""

NDJSON_TYPE: Final = "application/x-ndjson"
"""An answer that comes in parts: a JSON value a line, empty lines where nothing comes for long."""


class InvocationParameters(Asked):
    """How to write, and what to show."""

    target_layers: list[int] = Field(default=[*DEFAULT_TARGET_LAYERS], max_length=1024)
    """Indices of hidden states; negative ones count from the end."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Most tokens to write."""
    temperature: float = Field(default=0.7, ge=0)
    """0 is greedy."""
    return_probs: bool = True
    """Whether to answer with the probability of each token."""
    adapter: str | None = None
    """Name or digest of the LoRA adapter that answers, or a registered version as for completions;
    without it the base model does."""
    encoding: Literal["json", "float16"] = "json"
    """How vectors are written: lists of numbers, or a tenth of that as half-precision `.npy`."""
    stream: bool = False
    """Whether the text comes piece by piece, a line of JSON each."""


class InvocationAsked(Asked):
    """A prompt."""

    inputs: FilledText
    """The prompt, as the model reads it; no template is put around it."""
    parameters: InvocationParameters = InvocationParameters()
    """How to write, and what to show."""


class PooledStates(Answered):
    """One hidden state over the prompt."""

    mean: Vector
    """Mean vector over the prompt's tokens."""
    last_token: Vector
    """Vector of the prompt's last token."""
    norm: float
    """Mean over the prompt's tokens of the L2 norm."""


class PackedStates(Answered):
    """One hidden state over the prompt, its vectors in half precision."""

    mean: str
    """Mean vector over the prompt's tokens: a `.npy` file of float16, in base64."""
    last_token: str
    """Vector of the prompt's last token, likewise."""
    norm: float
    """Mean over the prompt's tokens of the L2 norm."""


class InvocationAnswered(Answered):
    """The text and what the model thought meanwhile."""

    generated_text: str
    """The text."""
    hidden_states: dict[str, PooledStates | PackedStates]
    """By `layer_` and the index as it was asked for."""
    logits_entropy: float
    """Mean over the tokens of the entropy of the distribution sampled from, nats."""
    generation_probs: list[float]
    """Probability of each token under that distribution; empty without `return_probs`."""
    logits_entropy_raw: float
    """As `logits_entropy`, of the model's own distribution, before temperature."""
    truncated: bool
    """Whether the prompt was too long and its end was cut off."""
    adapter_digest: str | None = Absent
    """Digest of the adapter that answered; left out where the base model did."""


class InvocationFault(Answered):
    """What ended a stream before its time."""

    code: str
    """Stable code, as in the reference of errors."""
    message: str
    """What was wrong and what to do."""


class InvocationLine(Answered):
    """One line of an answer in parts: a piece of text, the whole answer at its end, or an error."""

    text: str | None = Absent
    """Text that was added."""
    generation_probs: list[float] | None = Absent
    """Probability of each token that was added."""
    final: InvocationAnswered | None = Absent
    """The whole answer; the last line."""
    error: InvocationFault | None = Absent
    """What went wrong; the last line."""


class StoredAnswered(Answered):
    """Where an answer is that was too large to be sent."""

    location: str
    """Its address in an object store, `s3://…`."""
    content_type: str
    """What is there."""
    n_bytes: int
    """How large it is."""
    sha256: str
    """Its SHA-256 (hex)."""


class PingAnswered(Answered):
    """The server is well."""

    status: Literal["ready"] = "ready"
    """What this is."""
