"""Steps that can be killed at any moment: what a step's files were made of, and its finished parts.

A step writes down its key (settings and digests of inputs) before its first file, its parts as
shards that appear whole or not at all, and at the end a record with the digests of its outputs.
Files made with another key are refused, and the refusal names what differs. Knows nothing of what
steps compute.
"""

import os
import re
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glassbox.artifacts import (
    canonical_json,
    digest_files,
    digest_json,
    read_object,
    write_bytes,
    write_json,
)
from glassbox.errors import ConflictError, CorruptArtifact, InvalidValue, UnknownName

SCHEMA: Final = 1
"""Version of the layout of step records and shards."""

SUFFIX: Final = ".safetensors"
"""End of a shard's file name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", re.ASCII)
_SHOWN = 60


@dataclass(frozen=True)
class StepKey:
    """All that decides what a step's files hold."""

    step: str
    """Name of the step, ``discover``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``section.key`` of the configuration to its JSON value."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name of an input (``model``, ``causal_features.json``) to its SHA-256 (hex)."""
    schema: int = 1
    """Version of the step's own files."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all of it."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "step": self.step,
            "schema": self.schema,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
        }

    def differences(self, made: Mapping[str, Any]) -> tuple[str, ...]:
        """Return in words how files made with the key ``made`` (its JSON) differ from this one."""
        # Tuples and lists, numbers as keys: both sides as JSON has them.
        mine = orjson.loads(canonical_json(self.to_json()))
        words = []
        if made.get("schema") != mine["schema"]:
            words.append(f"layout {made.get('schema')} instead of {mine['schema']}")
        for name in sorted({*made.get("settings", {}), *mine["settings"]}):
            old, new = (each.get("settings", {}).get(name, _NOTHING) for each in (made, mine))
            if old != new:
                words.append(f"{name} was {_told(old)} and is {_told(new)}")
        for name in sorted({*made.get("inputs", {}), *mine["inputs"]}):
            old, new = (each.get("inputs", {}).get(name, "") for each in (made, mine))
            if old != new:
                words.append(f"{name} was {_short(old)} and is {_short(new)}")
        return tuple(words)

    def ages(self, made: Mapping[str, Any]) -> str:
        """Return what the names of settings tell of the Glassbox that made files; empty if none."""
        theirs, mine = made.get("settings", {}).keys(), self.settings.keys()
        if theirs - mine:
            return "A newer Glassbox made them: upgrade this one to go on. "
        return "An older Glassbox made them, without these settings. " if mine - theirs else ""


@dataclass(frozen=True, eq=False)
class Shard:
    """One finished part."""

    arrays: Mapping[str, np.ndarray]
    """Its tensors by name."""
    meta: Mapping[str, Any]
    """What else was saved with it, JSON values."""


class Shards:
    """The finished parts of a step, one file each; safe beside other processes that write others.

    Args:
        folder: Where the files are; made when the first is written.
        key: The step's key; its digest is in every file.
    """

    def __init__(self, folder: Path, key: StepKey) -> None:
        self.folder = folder
        self.key = key
        self._digest = key.digest

    def names(self) -> tuple[str, ...]:
        """Return the names of the finished parts, sorted."""
        if not self.folder.is_dir():
            return ()
        files = self.folder.glob(f"[!.]*{SUFFIX}")
        return tuple(sorted(each.name.removesuffix(SUFFIX) for each in files))

    def keep(self, names: Iterable[str]) -> None:
        """Remove all parts but these: those of a run that was cut up otherwise."""
        for name in set(self.names()) - set(names):
            self._path(name).unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Whether a part is finished; one of another configuration is refused.

        Raises:
            ConflictError: The file was made with another key.
            CorruptArtifact: The file is damaged.
        """
        path = self._path(name)
        if not path.is_file():
            return False
        with _opened(path) as file:
            self._check(path, file.metadata())
        return True

    def save(
        self, name: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None
    ) -> Path:
        """Write a part whole or not at all and return its file; equal content gives equal bytes.

        Raises:
            NoDiskSpace: The device is full; finished parts are kept.
        """
        return self.write(name, self.packed(arrays, meta))

    def packed(
        self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None
    ) -> bytes:
        """Return a part as the bytes of its file, for ``write`` here or in another process."""
        tensors = {each: np.ascontiguousarray(arrays[each]) for each in sorted(arrays)}
        header = {
            "schema": str(SCHEMA),
            "step": self.key.step,
            "key": self._digest,
            "meta": canonical_json(meta or {}).decode(),
        }
        return sorted_header(save(tensors, header))

    def write(self, name: str, content: bytes) -> Path:
        """Write a packed part whole or not at all and return its file; raises like ``save``."""
        path = self._path(name)
        write_bytes(path, content)
        return path

    def load(self, name: str) -> Shard:
        """Return a finished part.

        Raises:
            UnknownName: It is not finished.
            ConflictError: The file was made with another key.
            CorruptArtifact: The file is damaged.
        """
        path = self._path(name)
        if not path.is_file():
            raise UnknownName("shard", name, self.names()[:20])
        with _opened(path) as file:
            header = file.metadata()
            self._check(path, header)
            arrays = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
        return Shard(arrays, orjson.loads(header.get("meta", "{}")))

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise InvalidValue("shard's name", name, "letters, digits, dot, dash and underscore")
        return self.folder / f"{name}{SUFFIX}"

    def _check(self, path: Path, header: Mapping[str, str] | None) -> None:
        found = (header or {}).get("key")
        if found is None:
            raise CorruptArtifact(path, "no shard of a study", remedy="Move it elsewhere.")
        if found != self._digest:
            raise ConflictError(
                f"{path} was made under another configuration ({found[:12]}, not "
                f"{self._digest[:12]}). Use another study.out, or have the step made anew."
            )


def begin_step(folder: Path, key: StepKey) -> None:
    """Write down what a step's files in a folder are made of; they may be there already.

    Raises:
        ConflictError: Files of the step are there that were made with another key; named.
        CorruptArtifact: The record is damaged.
    """
    path = folder / f"{key.step}.step.json"
    if path.is_file():
        made = read_object(path, schema=SCHEMA)
        if made.get("digest") != key.digest:
            differences = key.differences(made)
            raise ConflictError(
                f"{folder} holds results of '{key.step}' made under another configuration: "
                f"{'; '.join(differences) or 'its record was changed'}. {key.ages(made)}"
                f"Use another study.out, or have it made anew: 'glassbox pathways {key.step}' with "
                "--fresh."
            )
        return
    write_json(path, {"schema_version": SCHEMA, "digest": key.digest, **key.to_json()})


def made_key(folder: Path, step: str) -> StepKey:
    """Return the key that a step's files in a folder were made with.

    Raises:
        CorruptArtifact: There is no record of the step, or it is damaged.
    """
    path = folder / f"{step}.step.json"
    made = read_object(path, schema=SCHEMA)
    try:
        return StepKey(made["step"], made["settings"], made["inputs"], made["schema"])
    except KeyError as error:
        raise CorruptArtifact(path, f"the record is incomplete ({error})") from error


def finish_step(
    folder: Path,
    key: StepKey,
    outputs: Iterable[Path],
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Record that a step is finished.

    Args:
        folder: Where its record is.
        key: As it was begun with.
        outputs: The files it made; their digests are recorded.
        figures: What else is worth knowing (seconds, counts), JSON values.
    """
    recorded = {_relative(each, folder): digest_files([each]) for each in sorted(outputs)}
    write_json(
        folder / f"{key.step}.done.json",
        {
            "schema_version": SCHEMA,
            "step": key.step,
            "key": key.digest,
            "outputs": recorded,
            "figures": dict(figures or {}),
        },
    )


def finished_step(folder: Path, key: StepKey) -> dict[str, Any] | None:
    """Return the record of a step that is finished with this key, or None.

    An output that is gone makes the step unfinished.

    Raises:
        ConflictError: It was finished with another key; ``begin_step`` names what differs.
        CorruptArtifact: An output is not what the step wrote.
    """
    begin_step(folder, key)
    path = folder / f"{key.step}.done.json"
    if not path.is_file():
        return None
    record = read_object(path, schema=SCHEMA)
    if record.get("key") != key.digest:
        return None
    outputs = record.get("outputs", {})
    if not isinstance(outputs, dict):
        raise CorruptArtifact(path, "its outputs are no names with digests")
    for name, digest in outputs.items():
        output = folder / name
        if not output.is_file():
            return None
        if digest_files([output]) != digest:
            raise CorruptArtifact(
                output,
                f"not what '{key.step}' wrote",
                remedy="It was edited or damaged: remove it to have it made again.",
            )
    return record


def forget_step(folder: Path, step: str, remains: Iterable[Path] = ()) -> None:
    """Remove a step's records and what it left, so that it is made anew.

    Args:
        folder: Where its records are.
        step: Its name.
        remains: Its files and folders of shards.
    """
    # The end is taken away first: a kill in between leaves an unfinished step, never a false end.
    (folder / f"{step}.done.json").unlink(missing_ok=True)
    for each in remains:
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
    (folder / f"{step}.step.json").unlink(missing_ok=True)


def left_nothing(folder: Path, step: str, remains: Iterable[Path]) -> bool:
    """Whether a step was never finished, and nothing of it is there but the record it began with.

    Args:
        folder: Where its records are.
        step: Its name.
        remains: Its files and folders of shards.
    """
    return not (folder / f"{step}.done.json").is_file() and not any(results_in(remains))


def results_in(remains: Iterable[Path]) -> Iterator[Path]:
    """Yield the files of a step: no records, and nothing that a killed writer left."""
    for each in remains:
        for file in (each, *sorted(each.rglob("*"))):
            is_record = file.name.endswith((".step.json", ".done.json"))
            if file.is_file() and not is_record and not file.name.startswith("."):
                yield file


def sorted_header(content: bytes) -> bytes:
    """Return a safetensors file whose header has sorted keys: equal tensors, equal bytes."""
    # Source: the format's README: 8 bytes little-endian header length, JSON padded with spaces.
    (length,) = struct.unpack("<Q", content[:8])
    header = canonical_json(orjson.loads(content[8 : 8 + length]))
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


_NOTHING = object()


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(
            path, f"not a whole safetensors file ({error})", remedy="Remove it and run again."
        ) from error


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _told(value: object) -> str:
    if value is _NOTHING:
        return "not there"
    text = canonical_json(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _short(digest: str) -> str:
    return digest[:12] if digest else "not there"
