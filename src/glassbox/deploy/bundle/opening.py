"""A bundle made ready to be served: unpacked once, files checked, settings sorted out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassbox.artifacts import disk_errors, indented_json, write_bytes
from glassbox.deploy.bundle.archive import (
    hash_of,
    is_archive,
    members_of,
    unfinished_folder,
)
from glassbox.deploy.bundle.bases import locate_base
from glassbox.deploy.bundle.contents import checked_settings
from glassbox.deploy.bundle.description import BASE_FOLDER, BUNDLE_FILE, Bundle, Recorded
from glassbox.deploy.bundle.verifying import read_bundle, verify_folder
from glassbox.engine.lora.growing import Reads
from glassbox.errors import CorruptArtifact
from glassbox.settings import effective, load_settings
from glassbox.types import TINY

if TYPE_CHECKING:
    from glassbox.server.start import Wanted


@dataclass(frozen=True)
class Opened:
    """A bundle on this machine, every file but the base model's checked."""

    folder: Path
    """Where its files are."""
    bundle: Bundle
    """What it says."""
    overrides: dict[str, object]
    """Settings for ``Runtime.load``: the base model, and what the bundle sets and nobody here
    does."""
    cache: Path
    """Where base models of object stores are kept."""
    base: str | None = None
    """Where the base model is on this machine, if not where the bundle says."""

    @property
    def wanted(self) -> "Wanted":
        """What a server is to serve. A base model that is elsewhere is fetched now.

        Raises:
            UnknownName: The base model is not where the bundle says.
            AccessDenied: An object store or the hub does not let this machine have it.
            CapacityError: It cannot be reached.
        """
        from glassbox.server.start import Wanted

        bundle = self.bundle
        return Wanted(
            model=locate_base(bundle, self.folder, cache=self.cache, base=self.base),
            name=bundle.name,
            adapters=tuple(
                (name, str(self.folder / part.path)) for name, part in bundle.adapters.items()
            ),
            probes=tuple(self.folder / part.path for part in bundle.probes.values()),
            classifiers=tuple(
                (name, str(self.folder / part.path)) for name, part in bundle.classifiers.items()
            ),
            verifier=None if bundle.verifier is None else self.folder / bundle.verifier.path,
            base_digest=bundle.base.digest,
            bundle_digest=bundle.digest,
        )


def opened(path: Path, *, cache: Path | None = None, base: str | None = None) -> Opened:
    """Return a bundle that can be served from this machine.

    Args:
        path: The folder or the archive.
        cache: Where archives are unpacked and fetched models kept; None takes that of the settings.
        base: Where the base model is on this machine; None takes it from where the bundle says.

    Raises:
        UnknownName: There is no bundle.
        CorruptArtifact: A file is damaged, missing, too much, or would lie outside the folder.
        NoDiskSpace: No room to unpack.
        InvalidSetting: A setting of the bundle that this version does not know.
        InvalidValue: One that belongs to a machine or holds a secret: no bundle may set it.
    """
    path = path.expanduser()
    bundle = read_bundle(path)
    folder = path.parent if path.name == BUNDLE_FILE else path
    cache = cache or load_settings().paths.bundles
    if is_archive(path):
        folder = _unpacked(path, bundle, cache)
    verify_folder(folder, bundle).check(folder)
    return Opened(folder.absolute(), bundle, _overrides(bundle, folder, base), cache, base)


def _overrides(bundle: Bundle, folder: Path, base: str | None) -> dict[str, object]:
    """Return the settings of a bundle that nothing on this machine sets, and its base model."""
    # Whoever made it may have written anything: addresses, a database, who may run functions.
    given = checked_settings(bundle.settings)
    here = {each.key for each in effective() if each.source != "default"}
    model = base or bundle.base.reference
    if base is None and bundle.base.has_weights:
        model = str(folder.absolute() / BASE_FOLDER)
    elif base is None and bundle.base.kind == "embedded":
        model = TINY
    kept = {key: value for key, value in given.items() if key not in here}
    return {**kept, "engine.model": model}


def _unpacked(path: Path, bundle: Bundle, cache: Path) -> Path:
    """Return the folder with an archive's files, which appears whole or not at all."""
    folder = cache / bundle.digest[:32]
    if folder.is_dir():
        return folder
    with disk_errors(folder), unfinished_folder(cache) as unfinished:
        _unpack(path, bundle, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process may have been faster.
            if not folder.is_dir():
                raise
    return folder


def _unpack(path: Path, bundle: Bundle, folder: Path) -> None:
    """Write the files that a description names, and no others, below a folder."""
    missing = set(bundle.files)
    for name, size, content in members_of(path):
        recorded = bundle.files.get(name)
        if recorded is None:
            raise CorruptArtifact(f"{path}/{name}", "it is not in the description")
        if size != recorded.n_bytes or _written(content, folder / name) != recorded:
            raise CorruptArtifact(
                f"{path}/{name}",
                "its content is not what the description says",
                remedy="Fetch the archive again, or make the bundle again.",
            )
        missing.discard(name)
    if missing:
        raise CorruptArtifact(f"{path}/{min(missing)}", "the file is missing")
    write_bytes(folder / BUNDLE_FILE, indented_json(bundle.to_json()))


def _written(content: Reads, target: Path) -> Recorded:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        return Recorded(*hash_of(content, file))
