"""What the tools of the MCP server answer: every field that an agent reads, with its meaning.

Fields that hold nothing are left out of an answer, because each costs room in a context window.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from glassbox.techniques.agents.agent_runs import Known
from glassbox.techniques.catalogue.entries import Entry
from glassbox.techniques.packed.paging import Page, rounded, shortened, summary

N_PRINTED = 20
"""Last printed lines that an answer holds."""

LINE_BYTES = 300
"""Bytes of JSON of a printed line that an answer holds."""

RESULT_CHARACTERS = 4000
"""About how long the summary of a result may be."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Listed(_Answer):
    """One technique of the list."""

    name: str
    """What run_technique and describe_technique take."""
    summary: str
    """What it does."""


class Techniques(_Answer):
    """What can be run."""

    techniques: list[Listed]
    """Those that are there to be named."""
    may_run_code: bool
    """Whether run_code takes functions of your own."""


class Argument(_Answer):
    """One argument of a technique."""

    name: str
    """Key of the arguments."""
    type: str = ""
    """As in Python; tensors may be nested lists."""
    required: bool = False
    """Whether it must be given."""
    default: Any = None
    """What it is otherwise."""
    meaning: str = ""
    """What it decides."""


class Part(_Answer):
    """One part of a technique's result."""

    name: str
    """Path that fetch_result takes."""
    type: str = ""
    """As in Python, with the names of a tensor's axes."""
    meaning: str = ""
    """What it is, with unit and range."""


class Description(_Answer):
    """A technique in detail."""

    name: str
    """What run_technique takes."""
    summary: str
    """What it does."""
    more: str = ""
    """How, and what to mind."""
    paper: str = ""
    """Where the method comes from."""
    arguments: list[Argument]
    """What it takes."""
    result: list[Part] = Field(default_factory=list)
    """Parts of its result, where they are known."""


class Started(_Answer):
    """A run: its result where it has ended, otherwise how far it is."""

    run_id: str
    """What get_run, fetch_result and cancel_run take."""
    technique: str
    """What runs."""
    status: str
    """queued (or the model is being loaded), running, succeeded, failed, cancelled or lost."""
    seconds: float
    """Since it was begun."""
    load_seconds: float = 0.0
    """Of these, loading the model; 0 when it was resident."""
    queue_seconds: float = 0.0
    """Of these, waiting for others."""
    run_seconds: float = 0.0
    """Of these, the technique itself."""
    printed: list[str] = Field(default_factory=list)
    """The last lines that it printed."""
    n_printed: int = 0
    """Lines that it printed altogether."""
    undone: list[str] = Field(default_factory=list)
    """What it left behind in the model and was put back."""
    left_out: list[str] = Field(default_factory=list)
    """Parts of the result that do not travel, such as caches."""
    result_bytes: int = 0
    """Size of the whole result."""
    result: Any = None
    """The result in few words: tensors by shape, range and first values, long things by size."""
    next: str = ""
    """What to call next."""


class Pages(_Answer):
    """A page of one part of a result."""

    run_id: str
    """Whose."""
    path: str
    """Which part; empty is the whole."""
    kind: str
    """tensor, list, mapping, text, value, or the name of a type."""
    dtype: str = ""
    """A tensor's number format."""
    shape: list[int] = Field(default_factory=list)
    """A tensor's shape."""
    n_items: int
    """Items along the first axis, entries, or characters of a text."""
    offset: int
    """Number of the first item here, from 0."""
    items: Any
    """The items in order; floats have six significant digits."""
    next_offset: int | None = None
    """Offset of the next page; absent on the last."""


class Model(_Answer):
    """The resident model."""

    model: str
    """Name or folder it was loaded from."""
    architecture: str
    """Model type of its configuration."""
    n_layers: int
    """Blocks; a layer is 0 to n_layers - 1."""
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
    dtype: str
    """Number format of its weights."""
    device: str
    """Where it is."""
    digest: str
    """Of its files."""
    adapter: str | None = None
    """Digest of the adapter that is part of it."""
    has_hidden_prompt: bool = False
    """Whether a system prompt is put before every text; it is never shown."""
    is_isolated: bool = True
    """Whether techniques run in a process of their own."""


class RunListed(_Answer):
    """One run of the list."""

    run_id: str
    """Names it."""
    technique: str
    """What runs or ran."""
    status: str
    """Where it is."""
    seconds: float
    """How long it took, or takes by now."""


class Runs(_Answer):
    """The runs that are still known, the newest first."""

    runs: list[RunListed]
    """At most fifty."""


def described(entry: Entry) -> Description:
    """Return a technique as an agent reads it."""
    about = entry.about
    return Description(
        name=entry.name,
        summary=entry.summary,
        more=entry.more,
        paper=about.paper,
        arguments=[
            Argument(
                name=each.name,
                type=each.type,
                required=each.is_required,
                default=None if each.is_required else summary(each.default, characters=200),
                meaning=each.doc,
            )
            for each in about.parameters
        ],
        result=[Part(name=each.name, type=each.type, meaning=each.doc) for each in about.fields],
    )


def started(known: Known, result: object = None) -> Started:
    """Return a run as an agent reads it; ``result`` is told where it succeeded."""
    timing = known.timing
    told = summary(result, characters=RESULT_CHARACTERS) if known.status == "succeeded" else None
    return Started(
        run_id=known.id,
        technique=known.name,
        status=known.status,
        seconds=_seconds(known.seconds),
        load_seconds=_seconds(timing.load_s),
        queue_seconds=_seconds(timing.queue_s),
        run_seconds=_seconds(timing.run_s),
        printed=[shortened(line, LINE_BYTES) for line in known.lines[-N_PRINTED:]],
        n_printed=known.n_lines,
        undone=list(known.undone),
        left_out=list(known.left_out),
        result_bytes=known.result_bytes,
        result=told,
        next=_next(known),
    )


def paged(run_id: str, page: Page) -> Pages:
    """Return a page as an agent reads it."""
    return Pages(
        run_id=run_id,
        path=page.path,
        kind=page.kind,
        dtype=page.dtype or "",
        shape=list(page.shape or ()),
        n_items=page.n_items,
        offset=page.offset,
        items=page.items,
        next_offset=page.next_offset,
    )


def listed(known: Known) -> RunListed:
    """Return a run's line in the list."""
    return RunListed(
        run_id=known.id,
        technique=known.name,
        status=known.status,
        seconds=_seconds(known.seconds),
    )


def _next(known: Known) -> str:
    if known.status == "succeeded":
        return f"fetch_result with run_id {known.id!r} and a path reads any part in full."
    if known.has_ended:
        return ""
    return f"get_run with run_id {known.id!r} waits for it; cancel_run ends it."


def _seconds(value: float) -> float:
    return float(rounded(round(value, 4)))
