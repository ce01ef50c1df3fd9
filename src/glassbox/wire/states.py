"""``POST /v1/states``: hidden states of given texts, as JSON or safetensors."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from glassbox.wire.extension import CaptureAsked, ProbeAnswered, StatesAnswered
from glassbox.wire.openai_completions import Prompt, listed
from glassbox.wire.openai_sampling import Usage
from glassbox.wire.shapes import Absent, Answered, Asked

SAFETENSORS_TYPE = "application/vnd.safetensors"
"""Media type of an answer in safetensors."""

SAFETENSORS_TYPES = (SAFETENSORS_TYPE, "application/x-safetensors", "application/octet-stream")
"""What an ``Accept`` header may say to get it."""

DETAILS_KEY = "glassbox"
"""Key of the safetensors metadata under which the answer stands as JSON, its arrays left out."""


class StatesAsked(Asked):
    """Texts whose hidden states are wanted."""

    input: Prompt
    """A text, texts, token ids, or lists of token ids."""
    responses: Annotated[list[str], Field(min_length=1)] | None = None
    """A given response to each text, read after it; scope `generated` covers it."""
    model: str | None = None
    """As for completions; null is the base model."""
    capture: CaptureAsked = CaptureAsked()
    """Which states, in what form, over which positions."""
    probes: bool | list[str] = False
    """Probes to read beside them."""
    raw_as_json: bool = False
    """Whether pooling `none` may be answered as JSON, which is large; safetensors always may."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds after which the request fails."""

    @property
    def texts(self) -> Sequence[str | list[int]]:
        """The inputs as a list."""
        return listed(self.input)

    @model_validator(mode="after")
    def _check_responses(self) -> Self:
        if self.responses is not None and len(self.responses) != len(self.texts):
            raise PydanticCustomError(
                "responses",
                "there are {n} responses for {m} texts; allowed: one for each",
                {"n": len(self.responses), "m": len(self.texts)},
            )
        if self.responses is None and self.capture.scope == "generated":
            raise PydanticCustomError(
                "scope", "scope is 'generated' without responses; give them, or take 'prompt'"
            )
        return self


class TextStates(Answered):
    """Hidden states of one text."""

    index: int
    """Number of the text, from 0."""
    n_tokens: int
    """Tokens of text and response; a hidden system prompt is not counted."""
    states: list[StatesAnswered]
    """In the order of the places asked for."""
    probes: dict[str, ProbeAnswered] | None = Absent
    """Readings by the probe's name."""


class StatesListAnswered(Answered):
    """The answers."""

    object: Literal["list"] = "list"
    """What this is."""
    model: str
    """Name of the model."""
    model_digest: str
    """Digest of the base model (hex)."""
    adapter_digest: str | None
    """Digest of the adapter; null is the base model."""
    data: list[TextStates]
    """One for each text, in order; in safetensors, `3.layer_5.resid_post.mean` is of text 3."""
    usage: Usage
    """Tokens."""


def tensor_name(index: int, states: StatesAnswered, form: str) -> str:
    """Return the name of one array in a safetensors answer."""
    return f"{index}.layer_{states.layer}.{states.site}.{form}"
