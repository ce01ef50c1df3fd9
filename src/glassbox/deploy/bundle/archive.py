"""A bundle as one ``.tar.gz``: the same files give the same bytes, and nothing gets out of it.

Written with sorted names, no times, no owners. Read strictly: a file that the description does not
name, a link, a device or a path that leads elsewhere ends the reading, and so does an archive that
grows to many times its size. Knows nothing of models.
"""

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import orjson

from glassbox.artifacts import atomic_file
from glassbox.deploy.bundle.description import BUNDLE_FILE, Bundle
from glassbox.engine.lora.growing import (
    MAX_GROWTH,
    GrowingArchive,
    Reads,
    opened_archive,
    too_much,
)
from glassbox.errors import CorruptArtifact
from glassbox.progress import Progress, untold

LEVEL: Final = 1
"""Of compression: weights hardly get smaller, and the rest is small already."""

MAX_DESCRIPTION_BYTES: Final = 16 * 2**20
"""Largest description that is read: more would be no description."""

SMALL_BYTES: Final = 64 * 2**20
"""What any archive may grow to beside that: descriptions and tables shrink well."""

CHUNK_BYTES: Final = 1 << 20
"""Read at a time."""

UNFINISHED: Final = ".glassbox-part-"
"""Start of the names of folders that are not whole yet."""

ABANDONED_S: Final = 6 * 3600.0
"""Age at which such a folder is taken for a killed process's."""

_FAULTS = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


@runtime_checkable
class Writes(Protocol):
    """Something that takes bytes one after another."""

    def write(self, content: bytes, /) -> int:
        """Take some bytes."""
        ...


Source = Path | bytes
"""A file to be packed: where it is, or its content."""


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Give a folder in which something comes about; what is still there at the end is removed.

    Folders of killed processes are removed too, once they are old.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for each in parent.glob(f"{UNFINISHED}*"):
        # Another process may be done with it, or clean up too, at any moment.
        with suppress(FileNotFoundError):
            if time.time() - each.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(each, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_archive(path: Path) -> bool:
    """Whether a path is taken for an archive and not for a folder."""
    return path.is_file() and path.name != BUNDLE_FILE


def unchecked(_name: str, _sha256: str) -> None:
    """Take a hash and compare it with nothing."""


def write_archive(
    out: Path,
    members: Mapping[str, Source],
    *,
    first: str = "",
    report: Progress = untold,
    check: Callable[[str, str], None] = unchecked,
) -> str:
    """Write a ``.tar.gz`` whole or not at all and return the SHA-256 (hex) of its bytes.

    Args:
        out: The archive.
        members: Files by their path in it.
        first: The one that stands before the others, which are sorted by path.
        report: Told of the bytes that are packed.
        check: Told of each path and the SHA-256 (hex) of what was packed; what it raises ends it.

    Raises:
        NoDiskSpace: The device is full.
        CorruptArtifact: A file became shorter while it was packed.
    """
    names = sorted(members, key=lambda name: (name != first, name))
    n_all, n_done = sum(size_of(each) for each in members.values()), 0
    with atomic_file(out) as file:
        hashed = _HashingWriter(file)
        # The name and the time that gzip writes down would differ from one machine to the next.
        with (
            gzip.GzipFile("", "wb", LEVEL, hashed, mtime=0) as packed,
            tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = size_of(members[name]), 0o644
                with opened_source(members[name]) as content:
                    reading = _HashingReader(content)
                    tar.addfile(entry, reading)
                if reading.n_bytes != entry.size:
                    raise CorruptArtifact(members[name], "it was changed while it was packed")
                check(name, reading.digest())
                n_done += entry.size
                report(n_done, n_all)
        return hashed.digest()


def read_description(path: Path) -> Bundle:
    """Return what an archive says of itself; only its first file is read.

    Raises:
        CorruptArtifact: It is no bundle's archive, or damaged.
    """
    with _opened(path) as archive:
        first = archive.next()
        if first is None or first.name != BUNDLE_FILE or not first.isreg():
            raise CorruptArtifact(
                path,
                f"it does not begin with {BUNDLE_FILE}, so it is no bundle",
                remedy="Make one with 'glassbox bundle make --archive'.",
            )
        assert archive.content is not None
        bundle = _description(path, first, archive.content)
    if bundle.n_bytes > room_of(path):
        raise too_much(path, room_of(path))
    return bundle


def room_of(path: Path) -> int:
    """Return the bytes that may come out of an archive."""
    return path.stat().st_size * MAX_GROWTH + SMALL_BYTES


def members_of(path: Path) -> Iterator[tuple[str, int, Reads]]:
    """Yield name, size and content of each file of an archive after its description.

    Raises:
        CorruptArtifact: The archive is damaged, grows beyond reason, or holds something that is no
            plain file.
    """
    with _opened(path) as archive:
        archive.next()
        seen = set()
        while (entry := archive.next()) is not None:
            if entry.isdir():
                continue
            if not entry.isreg() or entry.name in seen:
                what = "twice" if entry.name in seen else "and it is a link or a device"
                raise CorruptArtifact(path, f"it holds {entry.name!r} {what}")
            seen.add(entry.name)
            assert archive.content is not None
            yield entry.name, entry.size, _ArchivedReader(path, archive.content)


def hash_of(content: Reads, onto: Writes | None = None) -> tuple[str, int]:
    """Return the SHA-256 (hex) and the size of a content, copied on the way if asked.

    Args:
        content: Read to its end.
        onto: Where it is copied to.
    """
    total, n_bytes = hashlib.sha256(), 0
    while chunk := content.read(CHUNK_BYTES):
        total.update(chunk)
        n_bytes += len(chunk)
        if onto is not None:
            onto.write(chunk)
    return total.hexdigest(), n_bytes


def size_of(source: Source) -> int:
    """Return the bytes of a file to be packed."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


@contextmanager
def opened_source(source: Source) -> Iterator[Reads]:
    """Open a file to be packed."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with source.open("rb") as file:
        yield file


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise CorruptArtifact(
            path, f"it is no whole .tar.gz ({error})", remedy="Fetch it again, or make it again."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[GrowingArchive]:
    with _faults(path), opened_archive(path, room_of(path), path) as archive:
        yield archive


def _description(path: Path, entry: tarfile.TarInfo, content: Reads) -> Bundle:
    if entry.size > MAX_DESCRIPTION_BYTES:
        raise CorruptArtifact(path, f"its {BUNDLE_FILE} is larger than a description can be")
    try:
        value = orjson.loads(content.read())
    except orjson.JSONDecodeError as error:
        raise CorruptArtifact(f"{path}/{BUNDLE_FILE}", f"not valid JSON ({error})") from error
    return Bundle.from_json(value, source=f"{path}/{BUNDLE_FILE}")


class _ArchivedReader:
    """Reads a file of an archive; whoever reads learns of a damaged one in our words."""

    def __init__(self, path: Path, content: Reads) -> None:
        self._path = path
        self._content = content

    def read(self, n_bytes: int = -1, /) -> bytes:
        with _faults(self._path):
            return self._content.read(n_bytes)


class _HashingReader:
    """Hashes what is read through it."""

    def __init__(self, file: Reads) -> None:
        self._file = file
        self._total = hashlib.sha256()
        self.n_bytes = 0

    def read(self, n_bytes: int = -1, /) -> bytes:
        content = self._file.read(n_bytes)
        self._total.update(content)
        self.n_bytes += len(content)
        return content

    def digest(self) -> str:
        return self._total.hexdigest()


class _HashingWriter:
    """Hashes what is written through it."""

    def __init__(self, file: Writes) -> None:
        self._file = file
        self._total = hashlib.sha256()

    def write(self, content: bytes, /) -> int:
        self._total.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Keep nothing back."""

    def digest(self) -> str:
        return self._total.hexdigest()
