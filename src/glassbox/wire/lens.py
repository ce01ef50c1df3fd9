"""``POST /v1/lens``: what each layer would have said next, along some tokens of a text."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from glassbox.wire.openai_chat import MAX_MESSAGES, Message, few_parts
from glassbox.wire.openai_completions import few_ids
from glassbox.wire.shapes import Answered, Asked, FilledText

MAX_COLUMNS = 64
"""Most tokens in one reading."""

MAX_ALTERNATIVES = 20
"""Most tokens named at each place."""

DEFAULT_COLUMNS = 16
"""Tokens read where a request does not say how many."""


class LensAsked(Asked):
    """A text, and the tokens of it whose making is to be shown."""

    model: str | None = None
    """As for completions; the base model if left out."""
    prompt: Annotated[FilledText | list[int] | None, BeforeValidator(few_ids)] = None
    """Text or token ids, as for completions; special tokens in it count as such."""
    messages: Annotated[list[Message] | None, BeforeValidator(few_parts)] = Field(
        default=None, min_length=1, max_length=MAX_MESSAGES
    )
    """Or a conversation, as for chat."""
    response: Annotated[str | list[int] | None, BeforeValidator(few_ids)] = None
    """What follows the prompt, as text or token ids (exact: `glassbox.token_ids` of an answer)."""
    first: int | None = Field(default=None, ge=0)
    """First token to show: counted in the response, or in the prompt where there is no response.
    Left out: the response's first, or the last ones of the prompt and the one to come."""
    n_tokens: int = Field(default=DEFAULT_COLUMNS, ge=1, le=MAX_COLUMNS)
    """Tokens to show; fewer where the text ends before."""
    top_k: int = Field(default=5, ge=1, le=MAX_ALTERNATIVES)
    """Most probable tokens to name at each place."""

    @model_validator(mode="after")
    def _check_prompt(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise PydanticCustomError("prompt", "give either prompt or messages")
        if self.prompt == []:
            raise PydanticCustomError("prompt", "prompt is empty; allowed: one or more token ids")
        return self


class LensToken(Answered):
    """A token of the text."""

    id: int
    """Number in the vocabulary."""
    text: str
    """The token alone; half a character shows as a replacement mark."""


class LensColumn(Answered):
    """A place in the text: the token there, and where the model stood when it had to say it."""

    index: int
    """Place in the prompt and response together, counted from 0; a hidden system prompt is not
    counted."""
    token: LensToken | None
    """What stands there; null where the text has ended and the model would go on."""


class LensCandidate(LensToken):
    """A token that a layer would have said."""

    prob: float
    """Probability under that layer, [0, 1]."""


class LensRow(Answered):
    """One layer's readings; each list has one entry a column."""

    layer: int
    """Block, counted from 0; the last one is what the model itself says."""
    top: list[list[LensCandidate]]
    """Most probable tokens, best first."""
    entropies: list[float]
    """Entropy over the whole vocabulary, nats."""
    final_probs: list[float]
    """Probability of the token that the last layer finds most probable."""


class LensAnswered(Answered):
    """The logit lens: final norm and unembedding applied to every layer's output."""

    model: str
    """The model, as the request named it."""
    adapter_digest: str | None = None
    """Digest of the adapter that was read (hex); null is the base model."""
    n_layers: int
    """Rows."""
    d_vocab: int
    """Size of the vocabulary: its logarithm is the highest entropy."""
    columns: list[LensColumn]
    """Places read, in order."""
    rows: list[LensRow]
    """Layers, the first one first."""
