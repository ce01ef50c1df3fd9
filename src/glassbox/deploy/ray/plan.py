"""What is to run on a Ray cluster, as a value: which bundle, how many replicas, on what.

Knows nothing of Ray; ``serve_config`` turns it into Ray Serve's words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from glassbox.artifacts import digest_json
from glassbox.deploy.bundle import Bundle, read_bundle
from glassbox.errors import InvalidValue

APPLICATION: Final = "glassbox"
"""Name of the Serve application, unless told otherwise."""

DEPLOYMENT: Final = "Replica"
"""Name of its only deployment."""

PORT: Final = 8000
"""Ray Serve's own default."""

MOST_REPLICAS: Final = 1000
"""More copies of a model than one Serve application was made for."""

TARGET_ONGOING: Final = 32
"""Requests that one replica has in hand before another is started."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Share:
    """What one replica takes of a machine."""

    num_gpus: float = 0.0
    """Share of a GPU in [0, 1]; Ray counts shares and does not enforce them."""
    num_cpus: float = 1.0
    """Processors."""
    accelerator: str = ""
    """Ray's accelerator type, such as `A10G`; empty takes any."""
    memory_bytes: int | None = None
    """Memory set aside for it, in bytes; Ray counts it and does not enforce it."""

    def __post_init__(self) -> None:
        """Refuse shares that no replica can have."""
        if not 0.0 <= self.num_gpus <= 1.0:
            raise InvalidValue(
                "num_gpus", self.num_gpus, "0 to 1, because a model is on one device"
            )
        if self.accelerator and not self.num_gpus:
            raise InvalidValue(
                "num_gpus", self.num_gpus, f"more than 0 with accelerator {self.accelerator!r}"
            )
        if not 0.0 < self.num_cpus <= 1024.0:
            raise InvalidValue("num_cpus", self.num_cpus, "more than 0, up to 1,024 processors")
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InvalidValue("memory", self.memory_bytes, "1 byte or more")

    def options(self) -> dict[str, object]:
        """Return it as Ray's actor options."""
        options: dict[str, object] = {"num_cpus": self.num_cpus}
        if self.num_gpus:
            options["num_gpus"] = self.num_gpus
        if self.accelerator:
            options["accelerator_type"] = self.accelerator
        if self.memory_bytes is not None:
            options["memory"] = self.memory_bytes
        return options


@dataclass(frozen=True)
class RayPlan:
    """One Serve application that answers with the whole of Glassbox's HTTP face.

    Raises:
        InvalidValue: A number or name outside what is allowed.
    """

    bundle: str
    """Folder or archive of the bundle, as every machine of the cluster finds it."""
    digest: str
    """Digest of the bundle (hex)."""
    core: str
    """Digest of the bundle without its adapters (hex): what a running replica cannot change."""
    adapters: tuple[str, ...] = ()
    """Names of the bundle's adapters."""
    name: str = APPLICATION
    """Name of the application."""
    replicas: int = 1
    """Copies of the model at first."""
    min_replicas: int | None = None
    """Fewest copies; None keeps their number fixed unless ``max_replicas`` is given."""
    max_replicas: int | None = None
    """Most copies; None keeps their number fixed unless ``min_replicas`` is given."""
    target_ongoing: int = TARGET_ONGOING
    """Requests in hand per copy that scaling aims at."""
    share: Share = field(default_factory=Share)
    """What each takes of a machine."""
    surge: bool = True
    """Whether an update starts a new copy before an old one ends; needs room for one more."""
    drain_s: float = 25.0
    """Seconds that running requests get to finish when a copy ends."""
    host: str = "127.0.0.1"
    """Address on which the cluster's proxies listen."""
    port: int = PORT
    """Their port."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings that replicas take over from this program; none where they run elsewhere."""

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if not _NAME.fullmatch(self.name):
            raise InvalidValue("name", self.name, "letters, digits, '.', '_' and '-', at most 63")
        fewest = 0 if self.is_autoscaled else 1
        for what, value in (("replicas", self.replicas), ("max_replicas", self.most)):
            if not max(1, fewest) <= value <= MOST_REPLICAS:
                raise InvalidValue(what, value, f"1 to {MOST_REPLICAS:,} copies of the model")
        if not 0 <= self.fewest <= self.most:
            raise InvalidValue("min_replicas", self.fewest, f"0 to max_replicas ({self.most})")
        if not self.fewest <= self.replicas <= self.most:
            raise InvalidValue(
                "replicas", self.replicas, f"min_replicas ({self.fewest}) to max ({self.most})"
            )
        if not 1 <= self.port <= 65535:
            raise InvalidValue("port", self.port, "1 to 65535")
        if self.target_ongoing < 1:
            raise InvalidValue("target_ongoing", self.target_ongoing, "1 or more requests")

    @classmethod
    def of(cls, bundle: Path, **options: object) -> Self:
        """Return the plan for a bundle.

        Args:
            bundle: Its folder or archive; made absolute.
            options: Further fields.

        Raises:
            UnknownName: There is no bundle.
            CorruptArtifact: Its description cannot be read.
            InvalidValue: A number or name outside what is allowed.
        """
        path = bundle.expanduser().absolute()
        described = read_bundle(path)
        plan = cls(
            str(path), described.digest, core_of(described), adapters=tuple(described.adapters)
        )
        return replace(plan, **options)  # type: ignore[arg-type]

    @property
    def is_autoscaled(self) -> bool:
        """Whether the number of copies follows the load."""
        return self.min_replicas is not None or self.max_replicas is not None

    @property
    def fewest(self) -> int:
        """Fewest copies."""
        return min(1, self.replicas) if self.min_replicas is None else self.min_replicas

    @property
    def most(self) -> int:
        """Most copies."""
        if self.max_replicas is not None:
            return self.max_replicas
        return max(self.replicas, self.min_replicas or 0)


def core_of(bundle: Bundle) -> str:
    """Return the digest (hex) of a bundle without its adapters: same core, same replica."""
    described = bundle.to_json()
    folders = tuple(f"{part.path}/" for part in bundle.adapters.values())
    files = {
        name: recorded
        for name, recorded in described["files"].items()
        if not name.startswith(folders)
    }
    kept = {
        key: value
        for key, value in described.items()
        if key not in ("digest", "adapters", "files", "glassbox")
    }
    return digest_json({**kept, "files": files})
