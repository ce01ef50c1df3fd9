"""``/v1/techniques``: functions beside the model. The JSON parts of what travels.

Calls and runs with values travel as frames (``application/vnd.glassbox.run``), whose head is one of
these and whose further parts are bytes; ``techniques.carrying`` puts them together.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText

RUN_TYPE = "application/vnd.glassbox.run"
"""Media type of a frame."""

RUN_ID = r"^run-[0-9a-f]{32}$"
"""What a run is called; whoever asks for it chooses, so that asking twice starts one."""

RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
"""Waiting for the model; on it; ended in one of four ways."""

Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""

PositiveInt = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""


class LimitsAsked(Asked):
    """What a run may use; the server allows the smaller of this and its own."""

    wall_s: Positive | None = None
    """Seconds from its start to its end."""
    cpu_s: Positive | None = None
    """Processor seconds."""
    memory_bytes: PositiveInt | None = None
    """Memory beyond the model's."""
    result_bytes: PositiveInt | None = None
    """Size of its result."""


class ShipmentAsked(Asked):
    """What is said of a function that travels; its bytes follow the head."""

    name: Annotated[str, Field(max_length=500)]
    """Qualified name."""
    source: str = ""
    """Source text, for people and records."""
    modules: list[str] = Field(default_factory=list)
    """Local modules that travel along."""
    imports: list[str] = Field(default_factory=list)
    """Modules that must be installed on the server."""


class CallAsked(Asked):
    """Head of a call."""

    id: Annotated[str, Field(pattern=RUN_ID)] | None = None
    """What the run will be called; None lets the server choose."""
    technique: Annotated[FilledText, Field(max_length=200)]
    """SHA-256 of the shipped function (hex), or `library:NAME`."""
    name: Annotated[str, Field(max_length=500)] = ""
    """What people call it."""
    shipment: ShipmentAsked | None = None
    """Given where the function itself comes along."""
    is_map: bool = False
    """Whether the arguments hold many inputs."""
    session: Annotated[str, Field(max_length=200)] | None = None
    """An open session."""
    keep: bool = False
    """Whether the result stays on the server; sessions only."""
    allow_pickle: bool = False
    """Whether values may be pickled."""
    limits: LimitsAsked = LimitsAsked()
    """What it may use."""
    caller: Annotated[str, Field(max_length=200)] = ""
    """Whose turn it takes, where the server has no keys."""


class ErrorAnswered(Answered):
    """An exception on the other side."""

    type: str
    """Qualified name of its class."""
    message: str
    """Its text."""
    traceback: str
    """The traceback over there."""
    line: int | None = Absent
    """Line in the technique's own source, 1-based."""
    source_line: str = ""
    """That line."""
    code: str = ""
    """Our stable code, where the error is one of ours."""


class TimingAnswered(Answered):
    """Where the time of a run went."""

    load_s: float = 0.0
    """Seconds for starting a worker and loading the model."""
    queue_s: float = 0.0
    """Seconds waiting for the model."""
    run_s: float = 0.0
    """Seconds of the technique itself."""


class RunAnswered(Answered):
    """What is known of a run; as the head of a frame it is followed by the result."""

    id: str
    """Names it."""
    status: RunStatus
    """Where it is."""
    lines: list[str] = Field(default_factory=list)
    """What it printed after the line asked from."""
    n_lines: int = 0
    """Lines printed altogether: what to ask from next."""
    result_bytes: int = 0
    """Size of the result; 0 while there is none."""
    error: ErrorAnswered | None = Absent
    """Why it failed, was cancelled or was lost."""
    undone: list[str] = Field(default_factory=list)
    """What it had left behind and was put back."""
    timing: TimingAnswered = TimingAnswered()
    """Where its time went."""
    position: int | None = Absent
    """Runs before it in the line; absent when it no longer waits."""


class SessionAsked(Asked):
    """A session to open."""

    caller: Annotated[str, Field(max_length=200)] = ""
    """Whose turn it takes, where the server has no keys."""
    idle_s: Positive | None = None
    """Seconds without a call that end it."""


class SessionAnswered(Answered):
    """An open session."""

    session: str
    """Its id, which calls name."""


class EnvironmentAnswered(Answered):
    """What shipped code meets."""

    python: str
    """Such as `3.11.9`."""
    versions: dict[str, str]
    """Versions of the libraries that matter."""
    modules: list[str] = Field(default_factory=list)
    """Top-level modules that can be imported; empty where that was not looked at."""


class ResidentModelAnswered(Answered):
    """The model that techniques run beside."""

    model: str
    """Name or folder it was loaded from."""
    digest: str
    """Digest of its files."""
    architecture: str
    """`model_type` of its configuration."""
    dtype: str
    """Number format of its weights."""
    device: str
    """Where it is."""
    n_layers: int
    """Blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads of a block."""
    vocab_size: int
    """Entries of the vocabulary."""
    n_parameters: int
    """Parameters altogether."""
    context: int
    """Longest input in tokens."""
    adapter: str | None = Absent
    """Digest of the adapter that is part of it."""
    has_hidden_prompt: bool = False
    """Whether a system prompt is put before every text."""
    is_isolated: bool = True
    """Whether techniques run in a process of their own."""
    load_s: float = 0.0
    """Seconds that loading took."""


class ParameterListed(Answered):
    """What a built-in technique takes beside model and tokenizer."""

    name: str
    """Its keyword."""
    type: str
    """As in Python."""
    required: bool
    """Whether it must be given."""
    default: Any = None
    """What it is otherwise."""
    doc: str = ""
    """What it decides; empty where the name says it all."""


class TechniqueListed(Answered):
    """A built-in technique."""

    name: str
    """What `library:NAME` calls."""
    title: str
    """What it does, in a line."""
    paper: str = ""
    """Where it was described first."""
    parameters: list[ParameterListed]
    """What it takes, in order."""
    doc: str = ""
    """Shapes and units of what comes back."""


class TechniquesAnswered(Answered):
    """What this server runs."""

    object: Literal["list"] = "list"
    """What this is."""
    mode: Literal["process", "shared"]
    """Where functions run."""
    takes_functions: bool
    """Whether functions may be sent; False where a list of digests restricts them."""
    data: list[TechniqueListed]
    """Built-in techniques, by name."""
