"""The files of registered versions, each set in a folder named by the digest of its content.

What answers (weights, manifest, source) makes the digest; what only tells about it (results,
curves) lies beside it with digests of its own. Nothing here is ever changed: the same content has
the same folder, and a damaged folder is recognised before anything in it is used.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from glassbox.artifacts import digest_contents, digest_json, disk_errors, read_json, read_object
from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.rollout.version import Version

FILES_SCHEMA: Final = 1
"""Version of the layout of ``files.json``."""

_FILES: Final = "files.json"
_EVIDENCE: Final = "evidence"
_CHARTS: Final = "charts"

Contents = Mapping[str, Path | bytes]
"""Relative file names to the files, or to their bytes."""


class VersionStore:
    """A folder of versions' files.

    Args:
        folder: Where; made with the first version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, answering: Contents, evidence: Contents) -> str:
        """Return the digest under which files are kept from now on.

        They appear together or not at all. A damaged folder of the same digest is replaced.

        Args:
            answering: What makes the version answer as it does.
            evidence: What tells about it; not part of the digest.

        Raises:
            NoDiskSpace: The device is full.
        """
        digest = _digest_of({name: _bytes(each) for name, each in answering.items()})
        target = self.folder / digest
        if target.exists() and self._problem(digest) is None:
            return digest
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            made = self.folder / f".{digest[:12]}.{secrets.token_hex(4)}"
            made.mkdir()
            damaged = made.with_name(f"{made.name}.damaged")
            try:
                self._fill(made, answering, evidence, digest)
                if target.exists() and self._problem(digest) is not None:
                    # Of two that repair at once, one finds it moved already.
                    with contextlib.suppress(FileNotFoundError):
                        target.rename(damaged)
                made.rename(target)
            except OSError as error:
                # Another process has put the same files there meanwhile.
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            finally:
                shutil.rmtree(made, ignore_errors=True)
                shutil.rmtree(damaged, ignore_errors=True)
        return digest

    def has(self, digest: str) -> bool:
        """Whether there are files of that digest, damaged or not."""
        return (self.folder / digest).is_dir()

    def remove(self, digest: str) -> None:
        """Remove files that no version was made of."""
        shutil.rmtree(self.folder / digest, ignore_errors=True)

    def checked(self, version: Version) -> Path:
        """Return the folder of a version's files after reading all that make it answer.

        Raises:
            CorruptArtifact: A file is missing or not what was registered.
        """
        problem = self._problem(version.digest)
        if problem is not None:
            raise CorruptArtifact(
                self.folder / version.digest,
                f"{problem}, so {version.name!r} is not what was registered",
                remedy="Register it again from where it came; the damaged files are then replaced. "
                "Servers on several machines need paths.versions on a disk that they share.",
            )
        return self.folder / version.digest

    def charts(self, version: Version) -> dict[str, Any]:
        """Return the numbers of the charts of a version's evaluation, by chart name.

        Raises:
            UnknownName: It has none.
            CorruptArtifact: A file is not what was registered.
        """
        folder = self.folder / version.digest
        path = folder / _FILES
        content = read_object(path, schema=FILES_SCHEMA) if path.exists() else {}
        start = f"{_EVIDENCE}/{_CHARTS}/"
        wanted = {
            name: digest
            for name, digest in dict(content.get("files", {})).items()
            if name.startswith(start)
        }
        if not wanted:
            raise UnknownName(
                "evaluation curves of",
                version.name,
                remedy="Only versions registered from a run of 'glassbox evaluate' have them.",
            )
        for name, digest in wanted.items():
            if not (folder / name).is_file() or _file_digest(folder / name) != digest:
                raise CorruptArtifact(folder / name, "it is missing or not what was registered")
        return {Path(name).stem: read_json(folder / name) for name in sorted(wanted)}

    def _fill(self, made: Path, answering: Contents, evidence: Contents, digest: str) -> None:
        everything = {**answering, **{f"{_EVIDENCE}/{name}": e for name, e in evidence.items()}}
        files = {}
        for name, each in everything.items():
            content = _bytes(each)
            _write(made / name, content)
            files[name] = digest_contents({Path(name).name: content})
        listing = {
            "schema_version": FILES_SCHEMA,
            "digest": digest,
            "answering": sorted(answering),
            "files": files,
        }
        _write(made / _FILES, orjson.dumps(listing, option=orjson.OPT_INDENT_2))

    def _problem(self, digest: str) -> str | None:
        folder = self.folder / digest
        if not folder.is_dir():
            return "its folder is missing"
        try:
            names = read_object(folder / _FILES, schema=FILES_SCHEMA).get("answering")
        except CorruptArtifact as error:
            return error.reason
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            return f"{_FILES} is damaged"
        for name in names:
            if ".." in Path(name).parts or not (folder / name).is_file():
                return f"{name} is missing"
        if _digest_of({name: (folder / name).read_bytes() for name in names}) != digest:
            return "its content has another digest"
        return None


def _digest_of(contents: Mapping[str, bytes]) -> str:
    return digest_json({name: digest_contents({"": each}) for name, each in contents.items()})


def _file_digest(path: Path) -> str:
    return digest_contents({path.name: path.read_bytes()})


def _bytes(each: Path | bytes) -> bytes:
    return each if isinstance(each, bytes) else each.read_bytes()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
