"""What may be asked of AWS, as values: one request, one file to put, one state to wait for.

Values only: nothing here talks to anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Service = Literal["sagemaker", "application-autoscaling", "cloudwatch", "s3", "sts"]
"""AWS's services that are asked."""

Sign = Literal["+", "~", "-", "·"]
"""Made, changed, removed, or neither."""


@dataclass(frozen=True)
class Call:
    """One request to a service."""

    service: Service
    """Who is asked."""
    operation: str
    """The operation as AWS spells it, as ``CreateModel``."""
    request: Mapping[str, Any]
    """Its parameters."""
    what: str
    """What it makes, changes or removes, for people."""
    why: str = ""
    """Why that is done, for people."""
    sign: Sign = "+"
    """Whether it makes, changes or removes."""
    skip_if_absent: bool = False
    """Whether it is as good as done where the thing is not there any more."""


@dataclass(frozen=True)
class Upload:
    """One file to put into the object store."""

    source: Path
    """Where it lies."""
    url: str
    """``s3://bucket/key``."""
    sha256: str
    """Of its content (hex)."""
    n_bytes: int
    """Its size."""
    tags: Mapping[str, str]
    """Tags of the object."""
    kms_key: str = ""
    """Key that encrypts it; empty takes the bucket's own."""


@dataclass(frozen=True)
class Put:
    """Several files to put, as one step."""

    uploads: tuple[Upload, ...]
    """The files, the one that says that all are there last."""
    what: str
    """For people."""
    why: str = ""
    """For people."""
    sign: Sign = "+"
    """Always made."""

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(each.n_bytes for each in self.uploads)


@dataclass(frozen=True)
class Remove:
    """Objects to remove from the object store, as one step."""

    urls: tuple[str, ...]
    """``s3://bucket/key`` of each."""
    what: str
    """For people."""
    why: str = ""
    """For people."""
    sign: Sign = "-"
    """Always removed."""


@dataclass(frozen=True)
class Wait:
    """A state to wait for."""

    thing: Literal["endpoint", "component"]
    """What is looked at."""
    name: str
    """Its name."""
    state: Literal["in service", "settled", "gone"]
    """``settled`` is any state that does not change by itself."""
    config: str = ""
    """Endpoint configuration that must be in force then; empty takes any."""
    why: str = ""
    """For people."""
    sign: Sign = "·"
    """Neither made nor removed."""

    @property
    def what(self) -> str:
        """What is waited for, for people."""
        return f"wait until {self.thing} {self.name} is {self.state}"


Action = Call | Put | Remove | Wait
"""One step of a plan."""


def bucket_and_key(url: str) -> tuple[str, str]:
    """Return the two halves of ``s3://bucket/key``."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
