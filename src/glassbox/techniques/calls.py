"""What travels between a client of techniques and whatever runs them; no torch, no cloudpickle.

A call names a function by the digest of its shipment (or a built-in by name) and carries packed
arguments. A run is what becomes of a call.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from glassbox.errors import InvalidValue

RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
"""Waiting for the model; on it; ended in one of four ways, the last: its worker went away."""

FINAL: frozenset[RunStatus] = frozenset({"succeeded", "failed", "cancelled", "lost"})
"""Statuses after which nothing changes."""

NEVER_STARTED = "never-started"
"""Code of a lost run that had not begun: it may be submitted again without harm."""

LIBRARY = "library:"
"""Start of a technique's id when it is a built-in one, which is named and never shipped."""

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes, one-dimensional and of item size 1."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A value taken apart: a JSON tree, and the tensors' bytes that its leaves point into."""

    tree: bytes
    """The JSON tree (UTF-8); where the value had a tensor it has its number, dtype and shape."""
    buffers: tuple[Buffer, ...] = ()
    """The tensors' values in row order, little-endian; not copied."""

    @property
    def n_bytes(self) -> int:
        """Bytes of tree and tensors together."""
        return len(self.tree) + sum(len(buffer) for buffer in self.buffers)


@dataclass(frozen=True)
class Shipment:
    """A function by value, together with the local modules it uses."""

    name: str
    """Its qualified name."""
    digest: str
    """SHA-256 of the payload, hexadecimal: what repeated calls send instead of it."""
    payload: bytes
    """What ``transport`` makes the function of again on the other side."""
    source: str
    """Its source text, empty where there is none; for people and records, never executed."""
    modules: tuple[str, ...] = ()
    """Local modules that travel along."""
    imports: tuple[str, ...] = ()
    """Modules that must be installed on the other side."""


def allow_more(where: str) -> str:
    """Return what to do about a limit that a run has met, and where it is set."""
    return (
        f"Allow it more ({where}; whoever keeps the model may allow less), or do less in one run."
    )


@dataclass(frozen=True)
class Limits:
    """What a run may use; None leaves the choice to whoever runs it, who may always allow less."""

    wall_s: float | None = None
    """Seconds from its start to its end."""
    cpu_s: float | None = None
    """Processor seconds over all its threads; counted in a process of its own only."""
    memory_bytes: int | None = None
    """Memory that it may take beyond the model's; bounded in a process of its own only."""
    result_bytes: int | None = None
    """Size of its packed result."""

    def __post_init__(self) -> None:
        """Refuse what is no limit, before anything travels.

        Raises:
            InvalidValue: A number of seconds or bytes that is none, or not above 0.
        """
        for name, value in vars(self).items():
            kinds, unit = (int, "bytes") if name.endswith("_bytes") else (int | float, "seconds")
            is_number = isinstance(value, kinds) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 < value < math.inf):
                raise InvalidValue(name, value, f"a number of {unit} above 0, or None")


@dataclass(frozen=True, eq=False)
class Call:
    """One function with its arguments, ready to run."""

    technique: str
    """Digest of a shipment, or ``library:NAME``."""
    name: str
    """What people call it."""
    arguments: Packed
    """``[args, kwargs]``; of a map ``[args, kwargs, inputs]`` with one mapping for each input."""
    shipment: Shipment | None = None
    """The function itself, where the other side does not know its digest yet."""
    is_map: bool = False
    """Call once for each of the inputs, or once for many where the technique can."""
    session: str | None = None
    """Id of an open session: the call then needs no turn of its own."""
    keep: bool = False
    """Leave the result on the other side and answer with a reference to it; sessions only."""
    allow_pickle: bool = False
    """The caller trusts the other side enough to unpickle what JSON and tensors cannot say."""
    limits: Limits = field(default_factory=Limits)
    """What it may use."""
    caller: str = ""
    """Who asks: turns are shared fairly between callers."""


@dataclass(frozen=True)
class RemoteError:
    """An exception that a technique raised, as values."""

    type: str
    """Qualified name of its class with the module, such as ``builtins.ValueError``."""
    message: str
    """Its text."""
    traceback: str
    """The traceback on the other side, the technique's own lines with their source."""
    line: int | None = None
    """Line number in the technique's own source where it passed through, 1-based."""
    source_line: str = ""
    """That line."""
    code: str = ""
    """Our own stable code where the error is one of ours."""


@dataclass(frozen=True)
class Timing:
    """Where the time of a run went, seconds."""

    load_s: float = 0.0
    """Starting a worker and loading the model; 0 when it was resident."""
    queue_s: float = 0.0
    """Waiting for the model."""
    run_s: float = 0.0
    """The technique itself."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is known of a call by now."""

    id: str
    """Names it."""
    status: RunStatus
    """Where it is."""
    lines: tuple[str, ...] = ()
    """What it printed since the caller last asked."""
    n_lines: int = 0
    """How many lines it has printed altogether: what to ask from next."""
    result: Packed | None = None
    """What came of it: when it succeeded, was not kept, and is small enough to ride along."""
    result_bytes: int = 0
    """Size of the result; 0 while there is none."""
    error: RemoteError | None = None
    """Why it failed, was cancelled or was lost."""
    undone: tuple[str, ...] = ()
    """What it left behind and was put back, such as ``2 forward hooks removed``."""
    timing: Timing = field(default_factory=Timing)
    """Where its time went."""
    position: int | None = None
    """How many runs are before it in the line; None when it no longer waits."""


@dataclass(frozen=True)
class Environment:
    """What code meets on a side: versions that decide whether it runs there."""

    python: str
    """Such as ``3.11.9``."""
    versions: Mapping[str, str]
    """Versions of glassbox, torch, transformers, numpy, cloudpickle; absent ones are left out."""
    modules: Sequence[str] = ()
    """Top-level names that can be imported; empty when it was not asked for."""


@dataclass(frozen=True)
class ModelInfo:
    """The resident model as a researcher wants to know it."""

    model: str
    """Name or folder it was loaded from."""
    digest: str
    """Digest of its files."""
    architecture: str
    """``model_type`` of its configuration."""
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
    adapter: str | None = None
    """Digest of the adapter that is part of it."""
    has_hidden_prompt: bool = False
    """Whether a system prompt is put before every text; it is never shown."""
    is_isolated: bool = True
    """Whether techniques run in a process of their own."""
    load_s: float = 0.0
    """How long loading took."""
