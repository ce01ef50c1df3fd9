"""OpenAI's fields that completions and chat share, and what is said of those we do not have.

A field of OpenAI's that this server cannot honour is taken where it has its neutral value (a
penalty of 0, no tools) and refused by name elsewhere, so that no client gets less than it asked for
without knowing. Fields that only label a request (``user``, ``metadata``) change nothing.
"""

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from glassbox.wire.extension import GlassboxAsked
from glassbox.wire.shapes import Absent, Answered, Asked

MAX_CHOICES = 128
"""Most texts to one prompt. Source: OpenAI's limit on ``n``."""

MAX_STOPS = 16
"""Most stop strings of a request; OpenAI takes 4."""

MAX_TOP_LOGPROBS = 20
"""Most alternatives reported at a token. Source: OpenAI's limit for chat."""

SEED_LIMIT = 2**63
"""Seeds are 64-bit whole numbers."""

CHOICE_STRIDE = 1_000_003
"""Between the seeds of two choices of one request; a prime, so that requests with neighbouring
seeds do not share choices."""


def only(*neutral: Any) -> Callable[[Any], Any]:
    """Return a check that lets neutral values through and names them otherwise."""

    def check(value: Any) -> Any:
        # True == 1 in Python: the type must agree too, except that 0 may be written 0.0.
        if value is None or any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in neutral
        ):
            return value
        raise PydanticCustomError(
            "unsupported",
            "this server does not do that; allowed: {neutral}, or leave the field out",
            {"neutral": " or ".join(repr(each) for each in neutral) or "null"},
        )

    return check


ZeroOnly = Annotated[float | None, AfterValidator(only(0))]
"""A penalty, which must be 0."""

OneOnly = Annotated[int | None, AfterValidator(only(1))]
"""A count, which must be 1."""

FalseOnly = Annotated[bool | None, AfterValidator(only(False))]
"""A switch, which must be off."""

EmptyList = Annotated[list[Any] | None, AfterValidator(only([]))]
"""A list, which must be empty."""

EmptyObject = Annotated[dict[str, Any] | None, AfterValidator(only({}))]
"""An object, which must be empty."""

NullOnly = Annotated[Any, AfterValidator(only())]
"""A field that must be null or left out."""


def _filled(stop: str | list[str] | None) -> str | list[str] | None:
    listed = [stop] if isinstance(stop, str) else stop or []
    if len(listed) > MAX_STOPS:
        raise PydanticCustomError(
            "stop", "there are {n}; allowed: at most {most}", {"n": len(listed), "most": MAX_STOPS}
        )
    if any(not each for each in listed):
        raise PydanticCustomError("stop", "one is empty; allowed: texts of at least one character")
    return stop


class StreamOptions(Asked):
    """How to stream."""

    include_usage: bool = False
    """Whether a last chunk without choices counts the tokens."""
    include_obfuscation: bool | None = None
    """Taken and without effect: chunks are not padded."""


class SamplingAsked(Asked):
    """Fields that completions and chat share."""

    model: str | None = None
    """Name of the base model (also where left out), name or digest of a loaded adapter, or
    `models:/NAME@ALIAS`, `models:/NAME/NUMBER` of a registered version on this base model."""
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    """Texts to each prompt; more than 1 needs a temperature above 0."""
    temperature: float | None = Field(default=None, ge=0, le=100)
    """0 is greedy; 1 where it is left out."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Sample from the most probable tokens that together reach this probability."""
    seed: int | None = Field(default=None, ge=-SEED_LIMIT, lt=SEED_LIMIT)
    """The same seed gives the same texts for the same request."""
    stop: Annotated[str | list[str] | None, AfterValidator(_filled)] = None
    """Texts that end the answer and are no part of it."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Most tokens to write."""
    stream: bool | None = None
    """Whether to send the text as it comes, as server-sent events."""
    stream_options: StreamOptions | None = None
    """How to stream; only together with `stream`."""
    user: str | None = None
    """Taken and without effect."""
    logit_bias: EmptyObject = None
    """Only empty: tokens cannot be biased."""
    presence_penalty: ZeroOnly = None
    """Only 0."""
    frequency_penalty: ZeroOnly = None
    """Only 0."""
    glassbox: GlassboxAsked | None = None
    """What to show beyond OpenAI's fields."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError(
                "stream_options", "stream_options needs stream to be true; set it, or leave it out"
            )
        if self.greedy and (self.n or 1) > 1:
            raise PydanticCustomError(
                "greedy_choices",
                "n is {n} with temperature 0, which would give the same text {n} times; allowed: "
                "n = 1, or a temperature above 0",
                {"n": self.n},
            )
        return self

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to count the tokens at its end."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def choice_seeds(self) -> list[int | None]:
        """The seed of each choice: the request's own, then ones that follow from it."""
        n = self.n or 1
        if self.seed is None:
            return [None] * n
        return [(self.seed + choice * CHOICE_STRIDE) % SEED_LIMIT for choice in range(n)]


class CachedTokens(Answered):
    """How the prompt's tokens came about."""

    cached_tokens: int
    """Those that were not computed again."""


class Usage(Answered):
    """Tokens of a request; a hidden system prompt is not counted."""

    prompt_tokens: int
    """Tokens of the prompts."""
    completion_tokens: int
    """Tokens written."""
    total_tokens: int
    """Both together."""
    prompt_tokens_details: CachedTokens | None = Absent
    """How the prompts' tokens came about."""


class OpenAIErrorBody(Answered):
    """An error as OpenAI's clients read it."""

    message: str
    """What was wrong, the value, what is allowed and what to do."""
    type: str
    """Family of the error."""
    param: str | None
    """Field of the request that is wrong."""
    code: str | None
    """Our stable code, or OpenAI's where its clients look for it."""


class OpenAIError(Answered):
    """Body of an error of the OpenAI routes."""

    error: OpenAIErrorBody
    """The error."""
