"""SageMaker's ``/ping`` and ``/invocations`` with the fields of the source document.

``target_layers`` and the keys ``layer_-1`` are Hugging Face's indices of ``hidden_states``: 0 is
the embeddings, the last one what leaves the final norm.
"""

from typing import Literal

from pydantic import Field

from glassbox.wire.shapes import Answered, Asked, FilledText, Vector

DEFAULT_TARGET_LAYERS = (-1, -4, -8)
"""Hidden states answered with where a request names none."""


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


class InvocationAnswered(Answered):
    """The text and what the model thought meanwhile."""

    generated_text: str
    """The text."""
    hidden_states: dict[str, PooledStates]
    """By `layer_` and the index as it was asked for."""
    logits_entropy: float
    """Mean over the tokens of the entropy of the distribution sampled from, nats."""
    generation_probs: list[float]
    """Probability of each token under that distribution; empty without `return_probs`."""
    logits_entropy_raw: float
    """As `logits_entropy`, of the model's own distribution, before temperature."""
    truncated: bool
    """Whether the prompt was too long and its end was cut off."""


class PingAnswered(Answered):
    """The server is well."""

    status: Literal["ready"] = "ready"
    """What this is."""
