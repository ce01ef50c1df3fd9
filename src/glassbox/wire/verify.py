"""``POST /v1/verify``: is this response right?"""

from typing import Annotated, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText

MAX_ASKED_AGAIN = 256
"""Most answers a verification may ask for."""

MAX_PARAPHRASES = 64
"""Most other wordings of a prompt."""


class VerifyAsked(Asked):
    """A question, and the response that is to be judged."""

    prompt: FilledText
    """The question, as the model is asked it."""
    response: FilledText | None = None
    """Somebody else's response; null lets the model draw one at temperature 1, and judges that."""
    k: int | None = Field(default=None, ge=0, le=MAX_ASKED_AGAIN)
    """How often to ask again for consistency; null is what the verifier was made with."""
    paraphrases: Annotated[list[FilledText], Field(max_length=MAX_PARAPHRASES)] | None = None
    """Other wordings of the prompt; null makes them by rule."""
    model: str | None = None
    """Base model, whose verifier this is (also null); an adapter, or a registered version with one,
    only without a verifier."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds after which the verification fails."""


class CheckAnswered(Answered):
    """One reading of the response, and what it did to the uncertainty."""

    name: str
    """Stable key (kebab-case)."""
    value: float | None
    """What was read, in `unit`; null where it could not be (`note` says why)."""
    unit: str
    """Unit of the value."""
    meaning: str
    """What the value is."""
    contribution: float
    """What it added to the log-odds of being right, against an average response."""
    weight: float
    """Its share of all contributions by size, [0, 1]."""
    n_tokens: int
    """Tokens the model ran for this check alone."""
    seconds: float
    """Time spent on this check alone."""
    note: str = ""
    """Why the value is missing, or what to know about it."""


class TokenAnswered(Answered):
    """One token of the response as the model saw it."""

    text: str
    """The token as text."""
    start: int
    """First character in the response."""
    end: int
    """Character after its last."""
    logprob: float
    """Raw log-probability."""
    entropy: float
    """Raw entropy before it, nats."""
    surprising: bool
    """Whether it belongs to a span of surprise."""


class SpanAnswered(Answered):
    """Consecutive tokens that surprised the model."""

    start: int
    """First character in the response."""
    end: int
    """Character after its last."""
    text: str
    """That part of the response."""
    n_tokens: int
    """How many tokens it holds."""
    logprob: float
    """Lowest log-probability among them."""


class SampleAnswered(Answered):
    """One answer the model gave when asked again."""

    prompt: str
    """What was asked: the prompt, or a paraphrase."""
    text: str
    """What it answered."""
    agrees: bool
    """Whether that means the same as the response."""


class VerifyAnswered(Answered):
    """Whether the response can be believed, and why."""

    object: Literal["verdict"] = "verdict"
    """What this is."""
    prompt: str
    """The question."""
    response: str
    """The response that was judged."""
    origin: Literal["given", "written"]
    """Whether it was given, or written by the model itself."""
    uncertainty: float
    """Probability of being wrong in [0, 1] where `validated`, else an index; higher is worse."""
    decision: Literal["accept", "review"]
    """What to do with it."""
    threshold: float | None
    """Greatest uncertainty that is accepted; null where no level keeps the promise."""
    promise: str
    """What the threshold promises."""
    method: Literal["fusion", "heuristic"]
    """`fusion` of a trained verifier, or the untrained `heuristic`."""
    validated: bool
    """Whether the uncertainty was calibrated on graded responses."""
    checks: list[CheckAnswered]
    """Every check, in the order they were run."""
    tokens: list[TokenAnswered]
    """The response token by token."""
    spans: list[SpanAnswered]
    """Where the response surprised the model."""
    samples: list[SampleAnswered]
    """What it answered when asked again."""
    paraphrases: list[str]
    """Other wordings of the prompt that were used."""
    notes: list[str]
    """What a reader should know."""
    model: str
    """Name of the model that judged."""
    model_digest: str
    """Its digest (hex)."""
    adapter_digest: str | None = None
    """Digest of the adapter that judged (hex); null is the base model."""
    verifier_digest: str | None
    """Content hash of the verifier's parameters; null for the heuristic."""
    n_tokens: int
    """Tokens the model ran in all."""
    seconds: float
    """Time it took."""
    request_id: str | None = Absent
    """Name of the request in the server's log."""
