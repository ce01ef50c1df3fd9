"""Manifests, digests and safe writing: how a made thing is described and kept.

A ``Classifier`` is the one description of an LLM classifier: a run folder writes it, and whatever
serves or registers the run later reads the same file. Knows nothing of torch or of how the parts
are made; it records what they are and checks that they still are.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TextIO

import orjson

from glassbox.errors import ConflictError, CorruptArtifact, NoDiskSpace

CLASSIFIER_SCHEMA = 1
"""Version of the layout of ``classifier.json``."""

CLASSIFIER_FILE = "classifier.json"
"""Name of the manifest in a run folder."""

RUN_SCHEMA = 1
"""Version of the layout of a run folder's ``run.json`` and ``results.json``."""


_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}")
"""Names of the temporary neighbours of ``atomic_file``."""

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What network file systems answer that are mounted without locks."""


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no white space: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def digest_json(value: object) -> str:
    """Return the SHA-256 (hex) of a JSON value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_texts(texts: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of a sequence of texts; the boundaries between them count."""
    total = hashlib.sha256()
    for text in texts:
        total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) over the names and contents of some files, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda each: each.name):
        total.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest_contents(contents: Mapping[str, bytes]) -> str:
    """Return what ``digest_files`` gives for files of these names and contents."""
    return digest_hashes(
        {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}
    )


def digest_hashes(hashes: Mapping[str, str]) -> str:
    """Return what ``digest_files`` gives for files of these names and SHA-256 (hex)."""
    total = hashlib.sha256()
    for name in sorted(hashes):
        total.update(name.encode() + b"\0")
        total.update(bytes.fromhex(hashes[name]))
    return total.hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's out-of-space answers into ``NoDiskSpace``.

    Raises:
        NoDiskSpace: The device is full, the quota is used up, or a file may not become as large.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise NoDiskSpace(
                f"A file of {path} is larger than its file system or this process may write "
                "(ulimit -f). Raise that limit, or name a folder elsewhere."
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoDiskSpace(
                f"No space left to write {path}. Free some and run the same command again: "
                "finished parts are kept."
            ) from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears under its name whole or not at all.

    The bytes go to a temporary neighbour, are forced to the disk and renamed at the end; an error
    inside the block leaves the old file as it was.

    Raises:
        NoDiskSpace: The device is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        # The process's mask decides who may read it, as for any file.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


@contextmanager
def locked(path: Path, taken: str) -> Iterator[TextIO]:
    """Hold a file's lock inside the block, and give the file, open to be added to.

    The system lets go of it however this process ends.

    Args:
        path: Made if need be, as is its folder.
        taken: What to say where another process holds it.

    Raises:
        ConflictError: Another process holds it, or the file system has no locks.
        NoDiskSpace: The device is full.
    """
    import fcntl  # Windows, where clients run, has none

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(taken) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            raise ConflictError(
                f"{path.parent} lies on a file system that cannot lock files ({error.strerror}): "
                "nothing would keep two processes apart there. Name a folder on another one, such "
                "as a local disk, and copy it afterwards."
            ) from error
        yield file


@contextmanager
def alone_in(folder: Path, instead: str) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder inside the block.

    Args:
        folder: Made if need be.
        instead: What another process can do besides waiting.

    Raises:
        ConflictError: Another process works there.
        NoDiskSpace: The device is full.
    """
    taken = f"Another process works in {folder}. Wait for it, or {instead}."
    with locked(folder / ".lock", taken):
        yield


def sweep_unfinished(folder: Path, *, below: bool = True) -> int:
    """Remove what killed processes left of files that they wrote; returns how many there were.

    Only where no other process writes: see ``alone_in``.

    Args:
        folder: Where they wrote.
        below: Whether the folders in it are swept, too.
    """
    hidden = folder.rglob(".*.*") if below else folder.glob(".*.*")
    found = [each for each in hidden if _UNFINISHED.fullmatch(each.name)]
    for each in found:
        each.unlink(missing_ok=True)
    return len(found)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises ``NoDiskSpace`` when the device is full."""
    with atomic_file(path) as file:
        file.write(content)


def indented_json(value: object) -> bytes:
    """Return JSON as files of ours hold it; numpy values are taken as they are."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON whole or not at all; numpy values are taken as they are."""
    write_bytes(path, indented_json(value))


def read_json(path: Path) -> Any:
    """Return the JSON value in a file.

    Raises:
        CorruptArtifact: The file is absent, damaged or half-written.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CorruptArtifact(path, "the file is missing") from error
    except orjson.JSONDecodeError as error:
        raise CorruptArtifact(path, f"not valid JSON ({error})") from error


def read_object(path: Path, *, schema: int) -> dict[str, Any]:
    """Return the JSON object in a file after checking its ``schema_version``.

    Raises:
        CorruptArtifact: Not an object, or made by an unknown version of Glassbox.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise CorruptArtifact(path, "expected a JSON object")
    if value.get("schema_version") != schema:
        raise CorruptArtifact(
            path,
            f"schema_version is {value.get('schema_version')!r}; this Glassbox reads {schema}",
            remedy="Make it again, or use the version of Glassbox that wrote it.",
        )
    return value


def is_of_newer(path: Path, schema: int) -> bool:
    """Whether a file says that a newer Glassbox made it; one that cannot be read says nothing."""
    try:
        value = read_json(path)
    except CorruptArtifact:
        return False
    found = value.get("schema_version") if isinstance(value, dict) else None
    return isinstance(found, int) and found > schema


@dataclass(frozen=True)
class Part:
    """A file or folder that belongs to a manifest."""

    path: str
    """Relative to the manifest's folder, or a name that the model loader understands."""
    digest: str
    """SHA-256 of its content (hex)."""


@dataclass(frozen=True)
class Classifier:
    """Everything that makes an LLM answer with labels and a confidence, with digests."""

    base: Part
    """The base model."""
    labels: Mapping[str, Any]
    """The label set: classes, verbalisers, instruction, template, as ``LabelSet.to_json`` gives."""
    prompt_digest: str
    """SHA-256 of instruction, template and verbalisers as they are sent to the model."""
    adapter: Part | None = None
    """LoRA weights, if tuned."""
    calibrator: Mapping[str, Any] | None = None
    """The fitted calibrator, as its ``to_json`` gives; None leaves raw probabilities."""
    label_bias: tuple[float, ...] | None = None
    """Offsets subtracted from class log-probabilities (nats), frozen on calibration rows."""
    threshold: Mapping[str, Any] | None = None
    """The chosen threshold with its promise; None where no safe one was found or asked for."""
    overlong: str = "error"
    """What happens to a text over the context."""
    made_from: str = ""
    """Digest of the data and settings that the parts were fitted with."""

    @property
    def digest(self) -> str:
        """SHA-256 over all parts (hex): two classifiers that answer alike have the same one."""
        content = asdict(self)
        for name in ("base", "adapter"):
            if content[name] is not None:
                content[name] = content[name]["digest"]
        content.pop("made_from")
        return digest_json(content)

    def base_from(self, folder: Path) -> str:
        """Return what a loader finds the base model by, from wherever it is asked.

        Args:
            folder: Where the manifest stands: its base model may lie beside it.
        """
        below = folder / self.base.path
        return str(below.resolve()) if below.is_dir() else self.base.path

    def to_json(self) -> dict[str, Any]:
        """Return what ``classifier.json`` holds."""
        return {"schema_version": CLASSIFIER_SCHEMA, "digest": self.digest, **asdict(self)}

    def save(self, folder: str | Path) -> Path:
        """Write ``classifier.json`` into a folder and return its path."""
        path = Path(folder) / CLASSIFIER_FILE
        write_json(path, self.to_json())
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read ``classifier.json`` from a folder.

        Raises:
            CorruptArtifact: It is absent, damaged, of another schema, or was changed by hand.
        """
        path = Path(folder) / CLASSIFIER_FILE
        content = read_object(path, schema=CLASSIFIER_SCHEMA)
        content.pop("schema_version")
        recorded = content.pop("digest", None)
        try:
            base, adapter = Part(**content.pop("base")), content.pop("adapter")
            bias = content.pop("label_bias")
            manifest = cls(
                base=base,
                adapter=Part(**adapter) if adapter else None,
                label_bias=tuple(bias) if bias is not None else None,
                **content,
            )
        except (KeyError, TypeError) as error:
            raise CorruptArtifact(path, f"the manifest is incomplete ({error})") from error
        if manifest.digest != recorded:
            raise CorruptArtifact(
                path,
                "its content does not match the digest it carries",
                remedy="It was edited or damaged: make the run again or restore the file.",
            )
        return manifest
