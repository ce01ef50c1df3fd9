"""Whether a bundle is what it says it is: every file hashed, every fault listed.

Reads folders and archives alike, and needs neither torch nor the libraries of a server.
"""

import fnmatch
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from glassbox.artifacts import CLASSIFIER_FILE, Part, digest_hashes, read_json
from glassbox.deploy.bundle.archive import (
    hash_of,
    is_archive,
    members_of,
    read_description,
)
from glassbox.deploy.bundle.description import BASE_FOLDER, BUNDLE_FILE, Bundle, Recorded
from glassbox.engine.lora.growing import Reads
from glassbox.engine.model.files import MODEL_FILES, NOTES
from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.progress import Progress, untold

ADAPTER_FILES: Final[tuple[str, ...]] = ("adapter_config.json", "adapter_model.safetensors")
"""Files of an adapter that its digest covers. Source: PEFT's layout."""

ORIGIN_FILE: Final = "glassbox.json"
"""Says which base model an adapter was fitted on."""

_DESCRIPTIONS: Final = {
    "classifiers": CLASSIFIER_FILE,
    "probes": "probe.json",
    "verifier": "verifier.json",
}
_MAX_JSON_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Fault:
    """Something in a bundle that is not as its description says."""

    path: str
    """File or part, below the bundle's folder."""
    reason: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Verified:
    """What came of looking at every file."""

    bundle: Bundle
    """The description."""
    faults: tuple[Fault, ...]
    """All that is wrong, in the order of the paths."""
    n_files: int
    """Files that were hashed."""
    n_bytes: int
    """Their bytes."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def check(self, source: object) -> None:
        """Do nothing if nothing is wrong.

        Args:
            source: The bundle, for the error.

        Raises:
            CorruptArtifact: The first fault, with its file; says how many more there are.
        """
        if self.is_whole:
            return
        first, n_more = self.faults[0], len(self.faults) - 1
        more = f" (and {n_more} more: 'glassbox bundle verify' lists them all)" if n_more else ""
        raise CorruptArtifact(
            f"{source}/{first.path}",
            f"{first.reason}{more}",
            remedy="Fetch the bundle again, or make it again.",
        )


def read_bundle(path: Path) -> Bundle:
    """Return what a bundle says of itself; its files are not looked at.

    Args:
        path: The folder, the archive, or a folder's ``bundle.json``.

    Raises:
        UnknownName: There is no bundle.
        CorruptArtifact: The description is damaged, of another schema, or was changed by hand.
    """
    if is_archive(path):
        return read_description(path)
    file = path if path.name == BUNDLE_FILE else path / BUNDLE_FILE
    if not file.is_file():
        raise UnknownName(
            "bundle", str(path), remedy="Make one with 'glassbox bundle make --out …'."
        )
    return Bundle.from_json(read_json(file), source=file)


def verify_bundle(path: Path, *, report: Progress = untold) -> Verified:
    """Return what came of hashing every file of a bundle; faults are listed, not raised.

    Args:
        path: The folder or the archive.
        report: Told of the bytes that were hashed.

    Raises:
        UnknownName: There is no bundle.
        CorruptArtifact: The description itself is unusable, or the archive is damaged.
    """
    bundle = read_bundle(path)
    if is_archive(path):
        return verified(bundle, members_of(path), report=report)
    folder = path.parent if path.name == BUNDLE_FILE else path
    return verified(bundle, _in_folder(folder), report=report)


def verify_folder(folder: Path, bundle: Bundle) -> Verified:
    """Return what came of looking at the files of a bundle that is to be served.

    Of the base model's it is only seen whether they are there and of the right size: an engine
    hashes them itself when it loads them.

    Args:
        folder: Where they are.
        bundle: What they should be.
    """
    return verified(bundle, _in_folder(folder), skipped=f"{BASE_FOLDER}/")


Content = Iterator[tuple[str, int, Reads]]
"""Path, size and content of files, one after another."""


def verified(
    bundle: Bundle, files: Content, *, skipped: str = "", report: Progress = untold
) -> Verified:
    """Return what came of looking at some files.

    Args:
        bundle: What they should be.
        files: What there is; read once.
        skipped: Start of the paths whose contents are taken as they are; empty skips none.
        report: Told of the bytes that were hashed.
    """
    faults: list[Fault] = []
    missing, kept = set(bundle.files), {}
    n_files = n_bytes = 0
    described = _descriptions(bundle)
    for path, size, content in files:
        recorded = bundle.files.get(path)
        if recorded is None:
            faults.append(Fault(path, "it is not in the description"))
            continue
        missing.discard(path)
        if size != recorded.n_bytes:
            faults.append(Fault(path, f"it has {size:,} bytes, not {recorded.n_bytes:,}"))
            continue
        if skipped and path.startswith(skipped):
            continue
        if path in described and size <= _MAX_JSON_BYTES:
            kept[path] = content.read()
            found = Recorded(*hash_of(io.BytesIO(kept[path])))
        else:
            found = Recorded(*hash_of(content))
        n_files, n_bytes = n_files + 1, n_bytes + found.n_bytes
        report(n_bytes, bundle.n_bytes)
        if found.sha256 != recorded.sha256:
            kept.pop(path, None)
            reason = f"its SHA-256 is {found.sha256[:12]}…, not {recorded.sha256[:12]}…"
            faults.append(Fault(path, reason))
    faults += [Fault(path, "the file is missing") for path in missing]
    if not faults:
        faults += _part_faults(bundle, kept)
    return Verified(bundle, tuple(sorted(faults, key=lambda each: each.path)), n_files, n_bytes)


def _part_faults(bundle: Bundle, kept: Mapping[str, bytes]) -> Iterator[Fault]:
    """Yield what is wrong with a bundle whose files are all as they were packed."""
    base = bundle.base
    if base.has_weights and base.digest:
        names = _below(bundle, BASE_FOLDER)
        model = {name: each for name, each in names.items() if _is_of_model(name)}
        if digest_hashes(model) != base.digest:
            yield Fault(BASE_FOLDER, f"its files do not have the digest {base.digest[:12]}")
    for part in bundle.adapters.values():
        yield from _adapter_faults(bundle, part, kept)
    for path, part in bundle.parts.items():
        description = _DESCRIPTIONS.get(path.partition("/")[0])
        if description is None:
            continue
        fields = _object(kept.get(f"{path}/{description}"))
        if fields.get("digest") != part.digest:
            yield Fault(path, f"it is not the part with digest {part.digest[:12]}")
        elif description == CLASSIFIER_FILE:
            yield from _classifier_faults(bundle, path, fields, kept)


def _classifier_faults(
    bundle: Bundle, path: str, fields: Mapping[str, Any], kept: Mapping[str, bytes]
) -> Iterator[Fault]:
    try:
        base, adapter = Part(**fields["base"]), fields["adapter"]
        part = None if adapter is None else Part(**adapter)
    except (KeyError, TypeError):
        yield Fault(path, f"its {CLASSIFIER_FILE} is no classifier's")
        return
    if bundle.base.digest and base.digest != bundle.base.digest:
        yield Fault(path, _another_base(base.digest, bundle))
    if part is not None:
        packed = replace(part, path=f"{path}/{part.path}")
        yield from _adapter_faults(bundle, packed, kept)


def _adapter_faults(bundle: Bundle, part: Part, kept: Mapping[str, bytes]) -> Iterator[Fault]:
    names = _below(bundle, part.path)
    hashes = {name: names[name] for name in ADAPTER_FILES if name in names}
    if len(hashes) < len(ADAPTER_FILES) or digest_hashes(hashes) != part.digest:
        yield Fault(part.path, f"it is not the adapter with digest {part.digest[:12]}")
    made_for = _object(kept.get(f"{part.path}/{ORIGIN_FILE}")).get("base_digest")
    if made_for and bundle.base.digest and made_for != bundle.base.digest:
        yield Fault(part.path, _another_base(str(made_for), bundle))


def _another_base(made_for: str, bundle: Bundle) -> str:
    return f"it was made for a base model {made_for[:12]}, not {bundle.base.digest[:12]}"


def _below(bundle: Bundle, folder: str) -> dict[str, str]:
    """Return the hashes of the files directly in a folder, by name."""
    found = {path.rpartition("/"): each.sha256 for path, each in bundle.files.items()}
    return {name: sha256 for (parent, _, name), sha256 in found.items() if parent == folder}


def _is_of_model(name: str) -> bool:
    return name not in NOTES and any(fnmatch.fnmatchcase(name, each) for each in MODEL_FILES)


def _descriptions(bundle: Bundle) -> frozenset[str]:
    names = {*_DESCRIPTIONS.values(), ORIGIN_FILE}
    return frozenset(path for path in bundle.files if path.rpartition("/")[2] in names)


def _object(content: bytes | None) -> dict[str, Any]:
    try:
        value = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _in_folder(folder: Path) -> Content:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != BUNDLE_FILE:
            with path.open("rb") as content:
                yield name, path.stat().st_size, content
