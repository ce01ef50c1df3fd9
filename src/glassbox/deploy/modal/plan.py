"""What a container at Modal is told: which bundle, with which settings, who is let in.

Plain values that travel inside the class as JSON; no secret is among them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from glassbox.deploy.bundle.description import Value
from glassbox.storage.key_record import KeyRecord


@dataclass(frozen=True)
class ContainerPlan:
    """What one container serves."""

    bundle: str
    """Folder of the bundle, as the container sees it."""
    base: str | None = None
    """Folder of the base model, where the bundle does not say it itself."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Settings by dotted name; they win over those of the bundle and the environment."""
    keys: tuple[KeyRecord, ...] = ()
    """Keys that are let in, where the container has a database of its own."""
    has_own_database: bool = True
    """Whether its records live and die with it."""
    has_snapshot: bool = True
    """Whether the model is loaded before the device is there, for a snapshot of the memory."""

    writes_log: bool = True
    """Whether each request is a line of the container's log."""

    def to_json(self) -> bytes:
        """Return it as JSON bytes."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> "ContainerPlan":
        """Return what ``to_json`` wrote."""
        fields: dict[str, Any] = orjson.loads(content)
        keys = (KeyRecord(**{**each, "scopes": tuple(each["scopes"])}) for each in fields["keys"])
        return cls(**{**fields, "keys": tuple(keys)})
