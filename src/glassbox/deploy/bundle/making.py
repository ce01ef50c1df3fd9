"""From what its maker names to a bundle on the disk, whole or not at all."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glassbox.artifacts import disk_errors, indented_json, write_bytes
from glassbox.deploy.bundle.archive import (
    Source,
    hash_of,
    is_archive,
    opened_source,
    read_description,
    unfinished_folder,
    write_archive,
)
from glassbox.deploy.bundle.bases import base_files, find_base
from glassbox.deploy.bundle.contents import Contents, checked_settings
from glassbox.deploy.bundle.description import BUNDLE_FILE, Bundle, Recorded
from glassbox.deploy.bundle.gathering import checked_name, gather
from glassbox.deploy.bundle.verifying import read_bundle, verify_bundle
from glassbox.errors import ConflictError, CorruptArtifact, GlassboxError
from glassbox.progress import Progress, untold

if TYPE_CHECKING:
    from glassbox.runtime import Runtime


CHANGED: Final = "it was changed while it was packed"
"""Said of a file whose content is no longer what was written down a moment ago."""


def make_bundle(
    runtime: "Runtime",
    contents: Contents,
    out: Path,
    *,
    archive: bool = False,
    with_weights: bool | None = None,
    replaces: bool = False,
    report: Progress = untold,
) -> Bundle:
    """Return a bundle that is now on the disk; making the same one again changes nothing.

    Args:
        runtime: Settings: the model that is taken by default, and where runs are.
        contents: What it is to hold.
        out: A folder, or an archive's file.
        archive: Whether to write one ``.tar.gz``.
        with_weights: Whether the base model's files are packed; None packs those of a folder.
        replaces: Whether another bundle at that place makes room.
        report: Told of the bytes that are written.

    Raises:
        UnknownName: Something named is not there.
        AdapterMismatch: A part was made for another base model.
        CorruptArtifact: Something is damaged, or was changed meanwhile.
        InvalidValue: A name or a setting that cannot be packed.
        ConflictError: Something else is at that place.
        NoDiskSpace: The device is full; nothing half-made stays.
    """
    settings = checked_settings(contents.settings)
    reference = contents.base or runtime.settings.engine.model
    found = find_base(
        reference,
        contents.revision,
        with_weights=with_weights,
        cache=runtime.settings.paths.bundles,
    )
    name = checked_name(contents.name or Path(found.base.reference).name, "bundle")
    parts = gather(runtime, contents, found.base)
    sources = dict(parts.files)
    if found.base.has_weights and found.folder is not None:
        sources |= base_files(found.folder)
    bundle = Bundle(
        name=name,
        glassbox=importlib.metadata.version("glassbox-llm"),
        base=found.base,
        adapters=parts.adapters,
        probes=parts.probes,
        classifiers=parts.classifiers,
        verifier=parts.verifier,
        settings=settings,
        files={path: _recorded(sources[path]) for path in sorted(sources)},
    )
    if not _is_there(out, bundle, archive=archive, replaces=replaces):
        described = indented_json(bundle.to_json())
        write = _write_archive if archive else _write_folder
        write(out, bundle, sources, described, report)
    return bundle


def _recorded(source: Source) -> Recorded:
    with opened_source(source) as content:
        return Recorded(*hash_of(content))


def _is_there(out: Path, bundle: Bundle, *, archive: bool, replaces: bool) -> bool:
    """Whether this very bundle is at a place already; refuses what must not be overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        there = read_description(out) if is_archive(out) else read_bundle(out)
    except GlassboxError as error:
        raise ConflictError(
            f"{out} is there already and is no bundle. Name another place, or remove it."
        ) from error
    what = f"is another bundle ({there.name}, digest {there.digest[:12]})"
    if there.digest == bundle.digest and is_archive(out) == archive:
        fault = _fault_in(out)
        if fault is None:
            return True
        what = f"is this bundle, damaged: {fault}"
    if not replaces:
        raise ConflictError(
            f"{out} {what}. Name another place, or say that it may be replaced (--replace)."
        )
    return False


def _fault_in(out: Path) -> str | None:
    """Return what is wrong with a bundle's files; None where nothing is."""
    try:
        faults = verify_bundle(out).faults
    except CorruptArtifact as error:
        return error.reason
    return f"{faults[0].path}: {faults[0].reason}" if faults else None


def _write_archive(
    out: Path, bundle: Bundle, sources: Mapping[str, Source], described: bytes, report: Progress
) -> None:
    if out.is_dir():
        raise ConflictError(f"{out} is a folder. Name a file, as in {out}.tar.gz, for an archive.")

    def check(path: str, sha256: str) -> None:
        if path != BUNDLE_FILE and sha256 != bundle.files[path].sha256:
            raise CorruptArtifact(_shown(sources[path], path), CHANGED)

    members = {BUNDLE_FILE: described, **sources}
    write_archive(out, members, first=BUNDLE_FILE, report=report, check=check)


def _write_folder(
    out: Path, bundle: Bundle, sources: Mapping[str, Source], described: bytes, report: Progress
) -> None:
    """Write the files beside the place and move them there at the end."""
    n_done = 0
    with disk_errors(out), unfinished_folder(out.absolute().parent) as work:
        unfinished = work / out.name
        for path, source in sources.items():
            target = unfinished / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened_source(source) as content, target.open("wb") as file:
                recorded = Recorded(*hash_of(content, file))
            if recorded != bundle.files[path]:
                raise CorruptArtifact(_shown(source, path), CHANGED)
            n_done += recorded.n_bytes
            report(n_done, bundle.n_bytes)
        write_bytes(unfinished / BUNDLE_FILE, described)
        if out.is_dir():
            out.rename(work / "before")
        out.unlink(missing_ok=True)
        unfinished.rename(out)


def _shown(source: Source, path: str) -> object:
    return path if isinstance(source, bytes) else source
