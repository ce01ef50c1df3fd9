"""Where a bundle's base model is: found and named when it is packed, found again to be served.

Knows the four places that a model comes from; loads none into memory.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassbox.deploy.bundle.description import BASE_FOLDER, Base, BaseKind, Bundle
from glassbox.engine.model.files import at_revision, model_digest, model_files
from glassbox.errors import InvalidValue, UnknownName, UnsupportedModel
from glassbox.importing import importing_libraries
from glassbox.types import TINY

LICENCES: Final = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""Files that have to travel with weights although they change no answer."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class FoundBase:
    """A base model on this machine, or the certain name of one elsewhere."""

    base: Base
    """As the bundle will say it."""
    folder: Path | None
    """Its files; None where they are not here."""


def kind_of_base(reference: str) -> BaseKind:
    """Return where a model comes from, by its name and by what is on this machine."""
    if reference == TINY:
        return "embedded"
    if reference.startswith("s3://"):
        return "s3"
    return "folder" if Path(reference).expanduser().is_dir() else "hub"


def find_base(
    reference: str, revision: str | None, *, with_weights: bool | None, cache: Path
) -> FoundBase:
    """Return a base model as a bundle refers to it.

    Args:
        reference: Folder, hub name (or ``NAME@REVISION``), ``s3://`` address or ``tiny``.
        revision: On the hub; None takes that of the name.
        with_weights: Whether its files are packed; None packs those of a folder, because another
            machine does not have it.
        cache: Where models of object stores are kept.

    Raises:
        UnknownName: There is no such model.
        UnsupportedModel: It is none that can be loaded.
        CorruptArtifact: Its files are damaged.
        InvalidValue: A hub model that is neither here nor named by its commit.
    """
    with importing_libraries():
        from glassbox.engine.model.finding import cached_model, check_files, find_model

    kind = kind_of_base(reference)
    packs = kind == "folder" if with_weights is None else with_weights
    if kind == "hub":
        reference, revision = at_revision(reference, revision)
    elif revision is not None:
        raise InvalidValue("revision", revision, "none, because the model is not on the hub")
    if kind == "s3":
        from glassbox.deploy.bundle.model_store import fetch_model

        folder: Path | None = fetch_model(reference, cache)
    elif kind == "hub" and not packs:
        folder = cached_model(reference, revision)
    else:
        folder = find_model(reference, revision)
    if folder is None:
        return FoundBase(_by_commit(reference, revision), None)
    check_files(folder)
    return FoundBase(
        Base(
            kind=kind,
            reference=_said(reference, folder, packs=packs) if kind == "folder" else reference,
            revision=_commit(folder, revision) if kind == "hub" else None,
            digest=model_digest(folder),
            has_weights=packs,
        ),
        folder,
    )


def base_files(folder: Path) -> dict[str, Path]:
    """Return the files of a model that are packed, by their path in the bundle."""
    licences = [each for pattern in LICENCES for each in folder.glob(pattern) if each.is_file()]
    return {f"{BASE_FOLDER}/{each.name}": each for each in [*model_files(folder), *licences]}


def locate_base(bundle: Bundle, folder: Path, *, cache: Path, base: str | None = None) -> str:
    """Return what an engine is to load: the base model of a bundle, fetched if need be.

    Args:
        bundle: The description.
        folder: Where the bundle is.
        cache: Where models of object stores are kept.
        base: Where the model is on this machine; None takes it from where the bundle says.

    Raises:
        UnknownName: The model is not where the bundle says.
        AccessDenied: An object store or the hub does not let this machine have it.
        CapacityError: The store cannot be reached.
    """
    said = bundle.base
    if base is not None:
        return base
    if said.has_weights:
        return str(folder / BASE_FOLDER)
    if said.kind == "embedded":
        return TINY
    if said.kind == "hub":
        from glassbox.engine.model.finding import find_model

        return str(find_model(said.reference, said.revision))
    if said.kind == "s3":
        from glassbox.deploy.bundle.model_store import fetch_model

        return str(fetch_model(said.reference, cache))
    if not Path(said.reference).expanduser().is_dir():
        raise UnknownName(
            "model folder",
            said.reference,
            remedy="The bundle was made without the weights. Put them there, say where they are "
            "(glassbox serve --bundle … --model FOLDER), or make it with --with-weights.",
        )
    return said.reference


def _by_commit(reference: str, revision: str | None) -> Base:
    if revision is None or not _COMMIT.fullmatch(revision):
        raise InvalidValue(
            "revision",
            revision,
            "a commit of 40 hexadecimal digits",
            remedy=f"{reference!r} is not on this machine, and what a branch or a tag means there "
            "can change: name its commit, or fetch the model first ('glassbox generate --model "
            f"{reference}').",
        )
    return Base("hub", reference, revision, digest="", has_weights=False)


def _commit(folder: Path, revision: str | None) -> str | None:
    """Return the commit of a hub model, which is the name of its folder in the hub's cache."""
    return folder.name if _COMMIT.fullmatch(folder.name) else revision


def _said(reference: str, folder: Path, *, packs: bool) -> str:
    """Return how a bundle says a folder: by its name alone where its files travel along.

    The path would tell of this machine then, and help nobody.
    """
    name = folder.resolve().name
    if packs and not name:
        raise UnsupportedModel(
            f"{folder} has no name that a bundle could refer to: give a folder below."
        )
    # A relative path would mean another folder on the target; one of the home folder is meant so.
    return name if packs else reference if reference.startswith("~") else str(folder.absolute())
