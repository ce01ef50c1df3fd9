"""``POST /v1/chat/completions``: OpenAI's fields and the ``glassbox`` object."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from glassbox.wire.extension import GlassboxAnswered, GlassboxChunk
from glassbox.wire.openai_sampling import (
    MAX_TOP_LOGPROBS,
    EmptyList,
    FalseOnly,
    NullOnly,
    SamplingAsked,
    Usage,
    only,
)
from glassbox.wire.shapes import Absent, Answered, Asked, few_fields

MAX_MESSAGES = 4096
"""Most messages in one request."""

MAX_PARTS = 16_384
"""Most parts of all messages together."""

MAX_VARIABLES = 32
"""Most variables for the chat template."""

Role = Literal["system", "developer", "user", "assistant"]
"""Who speaks; `developer` is OpenAI's newer name of `system`."""

VariableName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
VariableText = Annotated[str, Field(pattern="^[A-Za-z0-9_ .,:+-]*$", max_length=64)]
"""Words alone: the template's own text may hold special tokens, and what is asked may not."""


class TextPart(Asked):
    """A part of a message."""

    type: Literal["text"]
    """Only text: this server reads no pictures or sound."""
    text: str
    """The text."""
    prompt_cache_breakpoint: Any = None
    """Taken and without effect."""


class Message(Asked):
    """One message of a conversation."""

    role: Role
    """Who speaks."""
    content: str | list[TextPart] | None = None
    """What is said; the parts of a list are joined."""
    name: str | None = None
    """Taken and without effect."""
    refusal: NullOnly = None
    """Only null."""
    tool_calls: EmptyList = None
    """Only empty: there are no tools."""
    function_call: NullOnly = None
    """Only null."""
    audio: NullOnly = None
    """Only null."""
    annotations: EmptyList = None
    """Only empty."""

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


def few_parts(messages: Any) -> Any:
    """Return messages of which, and of whose parts, there are no more than are taken.

    Counted before any is looked at, which the bound of a list behind this check would not be.
    """
    if isinstance(messages, list):
        if len(messages) > MAX_MESSAGES:
            raise PydanticCustomError(
                "messages",
                "there are {n} messages; allowed: at most {most} in one request",
                {"n": len(messages), "most": MAX_MESSAGES},
            )
        contents = (each.get("content") for each in messages if isinstance(each, dict))
        n = sum(len(each) for each in contents if isinstance(each, list))
        if n > MAX_PARTS:
            raise PydanticCustomError(
                "parts",
                "the messages have {n} parts; allowed: at most {most} in one request",
                {"n": n, "most": MAX_PARTS},
            )
    return messages


def _some_content(messages: list[Message]) -> list[Message]:
    if not any(message.text for message in messages):
        raise PydanticCustomError(
            "messages", "they are all empty; allowed: at least one with some text"
        )
    return messages


class ChatAsked(SamplingAsked):
    """A request to answer a conversation."""

    messages: Annotated[
        list[Message],
        BeforeValidator(few_parts),
        Field(min_length=1, max_length=MAX_MESSAGES),
        AfterValidator(_some_content),
    ]
    """The conversation so far."""
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """Most tokens to write; OpenAI's newer name of `max_tokens`; else what the context holds."""
    logprobs: bool | None = None
    """Whether to report each token's log-probability."""
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    """Alternatives to report at each token; only together with `logprobs`."""
    response_format: Annotated[dict[str, Any] | None, AfterValidator(only({"type": "text"}))] = None
    """Only {"type": "text"}."""
    tools: EmptyList = None
    """Only empty."""
    tool_choice: Annotated[Any, AfterValidator(only("none", "auto"))] = None
    """Only "none" or "auto"."""
    parallel_tool_calls: bool | None = None
    """Taken and without effect: there are no tools."""
    functions: EmptyList = None
    """Only empty."""
    function_call: Annotated[Any, AfterValidator(only("none", "auto"))] = None
    """Only "none" or "auto"."""
    modalities: Annotated[list[str] | None, AfterValidator(only(["text"]))] = None
    """Only ["text"]."""
    audio: NullOnly = None
    """Only null."""
    prediction: NullOnly = None
    """Only null."""
    moderation: NullOnly = None
    """Only null."""
    web_search_options: NullOnly = None
    """Only null."""
    reasoning_effort: Annotated[str | None, AfterValidator(only("none"))] = None
    """Only "none": a model whose chat template knows of thinking is asked not to think first."""
    chat_template_kwargs: Annotated[
        dict[VariableName, bool | int | float | VariableText | None] | None,
        BeforeValidator(few_fields),
        Field(max_length=MAX_VARIABLES),
    ] = None
    """Variables of the model's chat template, as {"enable_thinking": false}; the template passes
    over those that it does not know. vLLM's name."""
    verbosity: Annotated[str | None, AfterValidator(only("medium"))] = None
    """Only "medium"."""
    store: FalseOnly = None
    """Only false: nothing is kept."""
    service_tier: Annotated[str | None, AfterValidator(only("auto", "default"))] = None
    """Only "auto" or "default"."""
    metadata: Annotated[dict[str, str] | None, BeforeValidator(few_fields)] = None
    """Taken and without effect."""
    prompt_cache_key: str | None = None
    """Taken and without effect: shared beginnings are found by themselves."""
    prompt_cache_options: dict[str, Any] | None = None
    """Taken and without effect."""
    prompt_cache_retention: str | None = None
    """Taken and without effect."""
    safety_identifier: str | None = None
    """Taken and without effect."""

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.max_tokens == 0:
            raise PydanticCustomError("max_tokens", "max_tokens is 0; allowed: 1 or more")
        if (
            self.max_tokens is not None
            and self.max_completion_tokens is not None
            and self.max_tokens != self.max_completion_tokens
        ):
            raise PydanticCustomError(
                "max_tokens", "max_tokens and max_completion_tokens differ; give one of them"
            )
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError(
                "top_logprobs", "top_logprobs needs logprobs to be true; set it, or leave it out"
            )
        return self


class TopLogprob(Answered):
    """One of the most probable tokens at a place."""

    token: str
    """The token as text."""
    logprob: float
    """Its raw log-probability."""
    bytes: list[int] | None
    """UTF-8 bytes of `token`; null where it is part of a character."""


class TokenLogprob(TopLogprob):
    """One token of the text."""

    top_logprobs: list[TopLogprob]
    """Most probable tokens at its place, best first."""


class ChatLogprobs(Answered):
    """Log-probabilities of a message's tokens."""

    content: list[TokenLogprob]
    """In order."""
    refusal: None = None
    """Always null."""


class AnswerMessage(Answered):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    """Who speaks."""
    content: str
    """The text."""
    refusal: None = None
    """Always null."""


class ChatChoice(Answered):
    """One answer."""

    index: int
    """Its number."""
    message: AnswerMessage
    """The answer."""
    logprobs: ChatLogprobs | None = None
    """Log-probabilities, if asked for."""
    finish_reason: Literal["stop", "length"]
    """Why the text ended."""
    glassbox: GlassboxAnswered | None = Absent
    """What the model shows of itself, if asked for."""


class ChatCompletion(Answered):
    """The answers."""

    id: str
    """Name of the request."""
    object: Literal["chat.completion"] = "chat.completion"
    """What this is."""
    created: int
    """Unix time in seconds."""
    model: str
    """The model, as the request named it."""
    system_fingerprint: str
    """`fp_`, the beginning of the base model's digest, and with an adapter `_` and its digest."""
    choices: list[ChatChoice]
    """The answers."""
    usage: Usage
    """Tokens."""


class Delta(Answered):
    """What is new in a message."""

    role: Literal["assistant"] | None = Absent
    """Who speaks; in the first chunk."""
    content: str | None = Absent
    """More text."""


class ChatChunkChoice(Answered):
    """The next part of one answer."""

    index: int
    """Its number."""
    delta: Delta
    """What is new."""
    logprobs: ChatLogprobs | None = None
    """Of the new tokens, if asked for."""
    finish_reason: Literal["stop", "length"] | None = None
    """Why the text ended; null while it goes on."""
    glassbox: GlassboxChunk | None = Absent
    """What the model shows of itself at the new tokens, if asked for."""


class ChatChunk(Answered):
    """One chunk of a streamed answer."""

    id: str
    """Name of the request, the same in all its chunks."""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    """What this is."""
    created: int
    """Unix time in seconds."""
    model: str
    """The model, as the request named it."""
    system_fingerprint: str
    """`fp_`, the beginning of the base model's digest, and with an adapter `_` and its digest."""
    choices: list[ChatChunkChoice]
    """New parts; empty in the chunk that counts the tokens."""
    usage: Usage | None = Absent
    """Tokens, in the last chunk if asked for."""
