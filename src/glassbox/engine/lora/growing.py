"""A ``.tar.gz`` of strangers, read file by file: so far and no farther, whatever it claims.

A few kilobytes can unpack to any size, and what stands before a file, its name above all, is read
into memory as a whole, whatever length it says it has. Knows nothing of what the files are.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from glassbox.errors import CorruptArtifact

MAX_GROWTH: Final = 64
"""Most bytes that come out of one byte of archive: weights hardly shrink, a bomb does."""

MAX_HEADER_BYTES: Final = 2**20
"""Most bytes of an archive that say of one file what it is called; they are held in memory."""

MAX_FILES: Final = 100_000
"""Most files in an archive."""

_CHUNK_BYTES = 1 << 20


@runtime_checkable
class Reads(Protocol):
    """Something whose bytes are read one after another."""

    def read(self, n_bytes: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""
        ...


class GrowingArchive:
    """An open archive.

    Args:
        tar: The files, read one after another.
        packed: What they are read through.
    """

    def __init__(self, tar: tarfile.TarFile, packed: "_Counted") -> None:
        self._tar = tar
        self._packed = packed
        self._n_files = 0
        self.content: Reads | None = None
        """Of the file at hand; None where it has none, as a folder or a link."""

    def next(self) -> tarfile.TarInfo | None:
        """Return the next file, its content at hand; None at the end.

        Raises:
            CorruptArtifact: It grows beyond reason, or holds more files than anything needs.
            tarfile.TarError: It is damaged; so are gzip's, zlib's and ``EOFError``.
        """
        while self.content is not None and self.content.read(_CHUNK_BYTES):
            continue
        self.content = None
        self._packed.allow(MAX_HEADER_BYTES)
        found = self._tar.next()
        if found is None:
            return None
        self._n_files += 1
        if self._n_files > MAX_FILES:
            raise CorruptArtifact(self._packed.source, f"it holds more than {MAX_FILES:,} files")
        if found.isreg() or found.type not in tarfile.SUPPORTED_TYPES:
            self._packed.allow(found.size + MAX_HEADER_BYTES)
            self.content = self._tar.extractfile(found)
        return found

    def finish(self) -> None:
        """Read what stands behind the last file: only at its end is all known to be whole.

        Raises:
            CorruptArtifact: It grows beyond reason.
        """
        self._packed.allow(_CHUNK_BYTES)
        while self._packed.read(_CHUNK_BYTES):
            self._packed.allow(_CHUNK_BYTES)


@contextmanager
def opened_archive(path: Path, room_bytes: int, source: object) -> Iterator[GrowingArchive]:
    """Open an archive.

    Args:
        path: The ``.tar.gz``.
        room_bytes: Most bytes that may come out of it.
        source: What it is called, for errors.

    Raises:
        CorruptArtifact: It grows beyond reason.
        tarfile.TarError: It is none; so are gzip's, zlib's and ``EOFError``.
    """
    with gzip.open(path) as content:
        packed = _Counted(content, room_bytes, source)
        with tarfile.open(mode="r|", fileobj=packed) as tar:
            yield GrowingArchive(tar, packed)


def too_much(source: object, room_bytes: int) -> CorruptArtifact:
    """Return the error of an archive from which more bytes come than may."""
    return CorruptArtifact(
        source,
        f"it grows to more than {MAX_GROWTH} times the archive ({room_bytes:,} bytes are allowed)",
        remedy="Nothing that belongs into one shrinks so well: look where it came from.",
    )


class _Counted(io.RawIOBase):
    """Reads unpacked bytes and counts them."""

    def __init__(self, content: Reads, room_bytes: int, source: object) -> None:
        super().__init__()
        self._content = content
        self._room_bytes = room_bytes
        self._n_read = 0
        self.source = source
        # The library looks at the first file while it opens the archive.
        self.n_allowed = MAX_HEADER_BYTES

    def allow(self, n_bytes: int) -> None:
        """Let so many bytes come from here on."""
        self.n_allowed = n_bytes

    def read(self, n_bytes: int = -1, /) -> bytes:
        """Return the next bytes."""
        content = self._content.read(n_bytes)
        self._n_read += len(content)
        self.n_allowed -= len(content)
        if self._n_read > self._room_bytes:
            raise too_much(self.source, self._room_bytes)
        if self.n_allowed < 0:
            raise CorruptArtifact(
                self.source, f"it takes more than {MAX_HEADER_BYTES:,} bytes to name one file"
            )
        return content
