"""An adapter that comes as one ``.tar.gz``, unpacked into its files and nothing else.

Only an adapter's own files are taken, and only plain ones: no link, no path, no second file of a
name leads anywhere. Knows nothing of where the archive came from.
"""

import tarfile
import zlib
from pathlib import Path
from typing import Final

from glassbox.artifacts import disk_errors
from glassbox.engine.lora.files import CONFIG_FILE, ORIGIN_FILE, WEIGHTS_FILE
from glassbox.engine.lora.growing import MAX_GROWTH, Reads, opened_archive
from glassbox.errors import CorruptArtifact

ENDING: Final = ".tar.gz"
"""End of the name of a packed adapter."""

FILES: Final = (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE)
"""Files of an adapter that are read."""

_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20
_FAULTS = (tarfile.TarError, EOFError, zlib.error, OSError)


def unpack_adapter(archive: Path, folder: Path, source: str) -> None:
    """Write an adapter's files into a folder; whatever else the archive holds is left out.

    Args:
        archive: The ``.tar.gz``.
        folder: Where the files go; it is there and empty.
        source: What the archive is called, for errors.

    Raises:
        CorruptArtifact: It is no whole archive, holds no adapter, or grows beyond reason.
        NoDiskSpace: No room for the files.
    """
    room_bytes = archive.stat().st_size * MAX_GROWTH + _SMALL_BYTES
    try:
        with opened_archive(archive, room_bytes, source) as tar:
            while (entry := tar.next()) is not None:
                name = entry.name.removeprefix("./")
                if name in FILES:
                    _check(entry, folder / name, source)
                    assert tar.content is not None
                    _write(tar.content, folder / name)
            tar.finish()
    except _FAULTS as error:
        raise CorruptArtifact(
            source, f"it is no whole .tar.gz ({error})", remedy="Pack it again."
        ) from error
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).exists():
            raise CorruptArtifact(f"{source}/{name}", "the file is missing at its top")


def _check(entry: tarfile.TarInfo, target: Path, source: str) -> None:
    if not entry.isreg():
        raise CorruptArtifact(f"{source}/{entry.name}", "it is a link or a device, no file")
    if target.exists():
        raise CorruptArtifact(f"{source}/{entry.name}", "the archive holds it twice")


def _write(content: Reads, target: Path) -> None:
    # A full disk is no fault of the archive.
    with disk_errors(target), target.open("wb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            file.write(chunk)
