"""Which model a worker keeps resident, and what tells one worker from another.

Everything here is a plain value: it travels to the worker through a pipe, never on a command line,
where other users of the machine could read a hidden prompt. Knows neither processes nor sockets.
"""

import hashlib
import os
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from glassbox.errors import InvalidValue
from glassbox.techniques.calls import Limits
from glassbox.types import ModelSpec, Quantization

IDLE_S = 300.0
"""Seconds without a call after which a worker ends, unless it was asked to stay."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Number formats of weights; ``auto`` takes what the hardware multiplies natively."""


@dataclass(frozen=True)
class WorkerSpec:
    """A resident model that techniques run beside, and how long it stays."""

    model: str = "tiny"
    """Folder (absolute from here on), hub name, or ``tiny`` for the embedded model."""
    adapter: str | None = None
    """Folder or hub name of a PEFT adapter that is part of it."""
    app_name: str = "default"
    """Groups workers and runs: two names never share a worker."""
    dtype: Dtype = "auto"
    """Number format of the weights."""
    device: str = "auto"
    """``auto`` or a torch device name."""
    revision: str | None = None
    """Hub revision; None takes the default branch."""
    quantization: Quantization | None = None
    """bitsandbytes weights; CUDA only."""
    threads: int | None = None
    """CPU threads of torch; None leaves the choice to it."""
    hidden_system_prompt: str | None = field(default=None, repr=False)
    """Put before every text that is tokenised there, and never shown."""
    idle_s: float | None = IDLE_S
    """Seconds without a call after which it ends; None stays."""
    limits: Limits = field(default_factory=Limits)
    """Most that any run may use; a call may ask for less."""
    max_waiting: int = 256
    """Calls that may wait for the model at a time."""
    grace_s: float = 2.0
    """Seconds between asking a run to end and ending its process."""

    def __post_init__(self) -> None:
        for name in ("app_name", "model", "device"):
            given = getattr(self, name)
            if not isinstance(given, str) or not given.strip():
                raise InvalidValue(name, given, "a name that is not empty")
        if self.dtype not in get_args(Dtype):
            raise InvalidValue("dtype", self.dtype, ", ".join(get_args(Dtype)))
        hidden: object = self.hidden_system_prompt
        if not isinstance(hidden, str | None):
            kind = type(hidden).__name__
            raise InvalidValue("hidden_system_prompt", kind, "one text, or None")
        if self.idle_s is not None and not self.idle_s > 0:
            raise InvalidValue("idle_s", self.idle_s, "more than 0 seconds, or None to stay")
        # A worker's working folder is another one.
        object.__setattr__(self, "model", _absolute(self.model))
        if self.adapter is not None:
            object.__setattr__(self, "adapter", _absolute(self.adapter))

    @property
    def model_spec(self) -> ModelSpec:
        """What the engine loads."""
        return ModelSpec(
            model=self.model,
            adapter=self.adapter,
            revision=self.revision,
            dtype=self.dtype,
            device=self.device,
            quantization=self.quantization,
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what a worker is: equal specs share one, whatever their idle times."""
        identity = asdict(self)
        del identity["idle_s"]
        for name in ("model", "adapter"):
            given = identity[name]
            if given is not None and Path(given).is_dir():
                identity[name] = str(Path(given).resolve())
        identity["glassbox"] = version("glassbox-llm")
        # Functions travel as bytecode; another Python's worker would refuse every one.
        identity["python"] = sys.version_info[:2]
        return hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> bytes:
        """Return it as one line of JSON, hidden prompt included: for a pipe, not for a file."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> "WorkerSpec":
        """Return what ``to_json`` wrote."""
        fields: dict[str, Any] = orjson.loads(line)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


def _absolute(name: str) -> str:
    """Return where a folder is, from wherever one looks; any other name as it is."""
    folder = Path(name).expanduser()
    # A folder called as the embedded model does not stand for it.
    return os.path.abspath(folder) if name != "tiny" and folder.is_dir() else name  # noqa: PTH100
