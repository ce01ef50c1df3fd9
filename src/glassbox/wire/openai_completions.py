"""``POST /v1/completions``: OpenAI's fields and the ``glassbox`` object."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from glassbox.wire.extension import GlassboxAnswered, GlassboxChunk
from glassbox.wire.openai_sampling import MAX_TOP_LOGPROBS, OneOnly, SamplingAsked, Usage, only
from glassbox.wire.shapes import Absent, Answered

MAX_PROMPTS = 256
"""Most prompts in one request."""


MAX_TEXTS = 256
"""Most texts that one request may ask for: prompts times choices."""

MAX_IDS = 2**20
"""Most token ids in one prompt: more than any context holds."""

_EMPTY = "it is empty; allowed: texts of at least one character or token"


def _prompt(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Return a prompt of one of the four kinds; a list is told by what it holds, at once."""
    if not isinstance(value, list):
        return _checked_one(value, handler)
    kinds = set(map(type, value))
    if kinds == {int}:
        return _checked_ids(value)
    if not value:
        raise PydanticCustomError("prompt", _EMPTY)
    if not kinds <= {str, list}:
        raise _unknown()
    if len(value) > MAX_PROMPTS:
        raise PydanticCustomError(
            "prompt",
            "there are {n} prompts; allowed: at most {most} in one request",
            {"n": len(value), "most": MAX_PROMPTS},
        )
    for each in value:
        if not each:
            raise PydanticCustomError("prompt", _EMPTY)
        if isinstance(each, list):
            _checked_ids(each)
    return value


def _checked_one(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        prompt = handler(value)
    except ValidationError as error:
        # The union's own message would list what each of its four kinds found wrong.
        raise _unknown() from error
    if not prompt:
        raise PydanticCustomError("prompt", _EMPTY)
    return prompt


def few_ids(value: Any) -> Any:
    """Return a value; more token ids than ``MAX_IDS`` are refused before any is looked at."""
    if isinstance(value, list) and len(value) > MAX_IDS:
        raise PydanticCustomError(
            "prompt",
            "there are {n} token ids; allowed: at most {most} in one prompt",
            {"n": len(value), "most": MAX_IDS},
        )
    return value


def _checked_ids(ids: list[Any]) -> list[int]:
    few_ids(ids)
    if set(map(type, ids)) != {int}:
        raise _unknown()
    return ids


def _unknown() -> PydanticCustomError:
    return PydanticCustomError(
        "prompt",
        "it is of no known kind; allowed: a text, a list of token ids, or a list of either",
    )


Prompt = Annotated[
    str | list[int] | list[str | list[int]],
    WrapValidator(_prompt),
]
"""One prompt or several, as text or token ids."""


def listed(prompt: str | list[int] | list[str | list[int]]) -> Sequence[str | list[int]]:
    """Return one prompt or several as a list."""
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        return [prompt]
    return prompt


class CompletionAsked(SamplingAsked):
    """A request to continue some prompts."""

    prompt: Prompt
    """A text, texts, token ids, or lists of token ids. Special tokens in it count as such."""
    echo: bool | None = None
    """Whether to put the prompt in front of the text; with `logprobs`, read too."""
    logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    """Report each token's log-probability and so many alternatives."""
    suffix: Annotated[str | None, AfterValidator(only(""))] = None
    """Only empty: nothing can be asked to follow the text."""
    best_of: OneOnly = None
    """Only 1: every text that is written is sent."""

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError(
                "max_tokens",
                "max_tokens is 0; allowed: 1 or more (0 only with echo, to read the prompt)",
            )
        if self.max_tokens == 0 and (self.n or 1) > 1:
            raise PydanticCustomError(
                "n", "n needs texts to write; with max_tokens 0, leave it out"
            )
        if len(self.prompts) * (self.n or 1) > MAX_TEXTS:
            raise PydanticCustomError(
                "n",
                "{prompts} prompts with n = {n} come to {texts} texts; allowed: at most {most} in "
                "one request",
                {
                    "prompts": len(self.prompts),
                    "n": self.n,
                    "texts": len(self.prompts) * (self.n or 1),
                    "most": MAX_TEXTS,
                },
            )
        if self.echo and self.stream:
            raise PydanticCustomError("echo", "echo cannot be streamed; leave one of them out")
        return self

    @property
    def prompts(self) -> Sequence[str | list[int]]:
        """The prompts as a list."""
        return listed(self.prompt)


class CompletionLogprobs(Answered):
    """Log-probabilities of a text's tokens; the first token of an echoed prompt has none."""

    tokens: list[str]
    """Each token as text."""
    token_logprobs: list[float | None]
    """Raw log-probability of each."""
    top_logprobs: list[dict[str, float] | None] | None
    """Most probable tokens at each place; null where none were asked for."""
    text_offset: list[int]
    """Where each token begins in the text, in characters."""


class CompletionChoice(Answered):
    """One text, or with streaming the next part of it."""

    index: int
    """Number of the text: those of the first prompt, then those of the second."""
    text: str
    """The text."""
    logprobs: CompletionLogprobs | None = None
    """Log-probabilities, if asked for."""
    finish_reason: Literal["stop", "length"] | None
    """Why the text ended; null while it goes on."""
    glassbox: GlassboxAnswered | GlassboxChunk | None = Absent
    """What the model shows of itself, if asked for; with streaming, of this part."""


class Completion(Answered):
    """The answer, or with streaming one chunk of it."""

    id: str
    """Name of the request, the same in all its chunks."""
    object: Literal["text_completion"] = "text_completion"
    """What this is."""
    created: int
    """Unix time in seconds."""
    model: str
    """The model, as the request named it."""
    system_fingerprint: str
    """`fp_`, the beginning of the base model's digest, and with an adapter `_` and its digest."""
    choices: list[CompletionChoice]
    """The texts."""
    usage: Usage | None = Absent
    """Tokens, except in the chunks of a stream."""
