"""What ``bundle.json`` says: a model reference, what stands on it, and a hash of every file.

Values only: reads no file but the description itself and knows nothing of archives.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Self

from pydantic import TypeAdapter, ValidationError

from glassbox.artifacts import Part, canonical_json, digest_json
from glassbox.errors import CorruptArtifact

BUNDLE_SCHEMA: Final = 1
"""Version of the layout of ``bundle.json``."""

BUNDLE_FILE: Final = "bundle.json"
"""Name of the description in a bundle's folder."""

BASE_FOLDER: Final = "base"
"""Folder of the base model's files, where the bundle carries them."""

BaseKind = Literal["embedded", "folder", "hub", "s3"]
"""Where a base model comes from."""

Value = str | int | float | bool | None
"""Value of a setting."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of bundles and of what is in them: they become folders, tags and addresses."""

MAX_NAME_BYTES: Final = 255
"""Longest name of a file or folder that every file system has."""

MAX_PATH_BYTES: Final = 1000
"""Longest path below a bundle's folder: systems take about a thousand more before it."""

_HEX = re.compile(r"[0-9a-f]{64}")
_HEADER = ("schema_version", "digest")


@dataclass(frozen=True)
class Base:
    """The model that everything else was made for."""

    kind: BaseKind
    """Where it comes from."""
    reference: str
    """``tiny``, a folder, a hub name or an ``s3://`` address."""
    revision: str | None
    """Commit on the hub; None for what has none."""
    digest: str
    """SHA-256 (hex) of its files, as an engine reports it; empty where they were not at hand."""
    has_weights: bool
    """Whether its files are in the bundle, below ``base``."""


@dataclass(frozen=True)
class Recorded:
    """A file as it was packed."""

    sha256: str
    """Of its content (hex)."""
    n_bytes: int
    """Its size."""


@dataclass(frozen=True)
class Bundle:
    """A described, hashed set of files that every target runs."""

    name: str
    """Name under which the base model is served."""
    glassbox: str
    """Version of Glassbox that made it."""
    base: Base
    """The base model."""
    adapters: Mapping[str, Part] = field(default_factory=dict)
    """LoRA adapters by the name that requests give; paths start at the bundle's folder."""
    probes: Mapping[str, Part] = field(default_factory=dict)
    """Trained probes by name."""
    classifiers: Mapping[str, Part] = field(default_factory=dict)
    """Classifiers by the name that ``/v1/classify`` takes, calibrator and threshold included."""
    verifier: Part | None = None
    """Trained verifier."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Settings by dotted name that serving it wants; a target's own settings win."""
    files: Mapping[str, Recorded] = field(default_factory=dict)
    """Every file but the description, by its path below the folder."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that the description says, so over every file."""
        return digest_json(self.content())

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(each.n_bytes for each in self.files.values())

    @property
    def parts(self) -> dict[str, Part]:
        """Everything that stands on the base model, by its path below the folder."""
        groups = (self.adapters, self.probes, self.classifiers)
        parts = [each for group in groups for each in group.values()]
        return {each.path: each for each in [*parts, *([self.verifier] if self.verifier else [])]}

    def content(self) -> dict[str, Any]:
        """Return the description as JSON values, without its digest."""
        return {"schema_version": BUNDLE_SCHEMA, **asdict(self)}

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        content = self.content()
        return {
            "schema_version": content.pop("schema_version"),
            "digest": self.digest,
            "name": content.pop("name"),
            "glassbox": content.pop("glassbox"),
            **content,
        }

    @classmethod
    def from_json(cls, content: object, *, source: object) -> Self:
        """Return the bundle that some JSON value describes.

        Args:
            content: The value.
            source: Where it was read, for errors.

        Raises:
            CorruptArtifact: It is no description, of another schema, was changed by hand, or names
                a file outside the bundle.
        """
        if not isinstance(content, dict):
            raise CorruptArtifact(source, "expected a JSON object")
        if content.get("schema_version") != BUNDLE_SCHEMA:
            raise CorruptArtifact(
                source,
                f"schema_version is {content.get('schema_version')!r}; this Glassbox reads "
                f"{BUNDLE_SCHEMA}",
                remedy="Make it again, or use the version of Glassbox that wrote it.",
            )
        said = {name: each for name, each in content.items() if name not in _HEADER}
        unknown = sorted(said.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise CorruptArtifact(source, f"unknown field {unknown[0]!r}")
        try:
            # From bytes, because only then a strict reader takes objects for dataclasses.
            found = TypeAdapter(cls).validate_json(canonical_json(said), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(each) for each in first["loc"])
            reason = f"the description is incomplete or wrong ({where}: {first['msg']})"
            raise CorruptArtifact(source, reason) from error
        _check(found, source)
        if found.digest != content.get("digest"):
            raise CorruptArtifact(
                source,
                "its content does not match the digest it carries",
                remedy="It was edited or damaged: make the bundle again or fetch it again.",
            )
        return found


def is_inside(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to, and is spelt in one way.

    One that a file system would refuse, or that holds characters nobody sees, is none.
    """
    pure = PurePosixPath(path)
    is_plain = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path
    return (
        is_plain
        and path not in ("", ".")
        and str(pure) == path
        and path.isprintable()
        and len(path.encode()) <= MAX_PATH_BYTES
        and max(len(each.encode()) for each in pure.parts) <= MAX_NAME_BYTES
    )


def _check(bundle: Bundle, source: object) -> None:
    names = (bundle.name, *bundle.adapters, *bundle.probes, *bundle.classifiers)
    for name in names:
        if not NAME.fullmatch(name):
            raise CorruptArtifact(source, f"{name!r} is no name of something in a bundle")
    for path in (*bundle.files, *bundle.parts):
        if not is_inside(path) or path == BUNDLE_FILE:
            raise CorruptArtifact(source, f"it names {path!r}, which is no path inside a bundle")
    folders = {str(each) for path in bundle.files for each in PurePosixPath(path).parents}
    for path, each in bundle.files.items():
        if path in folders:
            raise CorruptArtifact(source, f"it names {path!r} as a file and as a folder")
        if not _HEX.fullmatch(each.sha256) or each.n_bytes < 0:
            raise CorruptArtifact(source, f"what it records of {path} is no hash and size")
