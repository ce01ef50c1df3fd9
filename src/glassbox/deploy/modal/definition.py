"""What there will be at Modal, as values: from a bundle and settings to one definition.

Pure apart from reading the bundle: nothing of Modal is needed to make one, to show it or to test
it. ``app`` turns it into Modal's own objects.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from glassbox.deploy.bundle import BUNDLE_FILE, Bundle, opened
from glassbox.deploy.bundle.bases import base_files
from glassbox.deploy.bundle.description import Value
from glassbox.deploy.modal.plan import ContainerPlan
from glassbox.engine.model.files import model_digest
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName, UsageError
from glassbox.settings import ModalSettings, names_in
from glassbox.storage.key_record import KeyRecord
from glassbox.techniques.container_spec import gpu_named
from glassbox.techniques.remote.modal_account import Upload
from glassbox.techniques.remote.modal_image import (
    STARTUP_S,
    VOLUME_NAME,
    WEIGHTS,
    python_version,
    requirements,
)

CLASS_NAME: Final = "Server"
"""Name of the class in the app."""

WEB_LIMIT_S: Final = 150
"""Seconds after which Modal answers a web request with a redirect instead.

Source: Modal's guide "Request timeouts".
"""

DEADLINE_S: Final = 140.0
"""Seconds after which the server ends any request, before Modal does."""

STORAGE_VARIABLE: Final = "GLASSBOX_STORAGE__URL"
"""Key that the secret with the database's address must have."""

CACHE: Final = f"{WEIGHTS}/cache"
"""Where a container keeps base models of object stores."""

_APP = re.compile(r"[a-z](-?[a-z0-9]){0,39}")


@dataclass(frozen=True)
class Secret:
    """A secret of your account that the container gets as environment."""

    name: str
    """Its name at Modal."""
    keys: tuple[str, ...] = ()
    """Keys that it must have."""


@dataclass(frozen=True)
class Definition:
    """An app at Modal with one class whose containers each are a whole server."""

    app: str
    """Its name; equal names replace one another."""
    environment: str
    """Environment of the workspace; empty is that of Modal's own profile."""
    bundle: str
    """Name of what is served."""
    bundle_digest: str
    """Digest of that (hex)."""
    options: Mapping[str, Any]
    """What ``App.cls`` takes as plain values."""
    concurrency: Mapping[str, int]
    """What ``modal.concurrent`` takes."""
    python: str
    """Python of the image."""
    requirements: tuple[str, ...]
    """What is installed in it, beside this package."""
    extras: tuple[str, ...]
    """Extras of this package whose requirements those are."""
    volumes: Mapping[str, str]
    """Modal Volume by the place where it is mounted."""
    secrets: tuple[Secret, ...]
    """What the container gets as environment."""
    uploads: tuple[Upload, ...]
    """What is put into the volume first."""
    plan: ContainerPlan
    """What the container is told."""
    notes: tuple[str, ...] = ()
    """What whoever deploys it should know."""

    @property
    def address(self) -> str:
        """Where it will answer; the workspace's name is known to Modal alone."""
        inside = f"-{self.environment}" if self.environment else ""
        return f"https://WORKSPACE{inside}--{self.app}.modal.run"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; of keys their ids and names."""
        content = asdict(self)
        keys = [{"id": each.id, "name": each.name} for each in self.plan.keys]
        uploads = [
            {"folder": str(each.folder), "place": each.place, "n_bytes": each.n_bytes}
            for each in self.uploads
        ]
        plan = {**content["plan"], "keys": keys}
        return {**content, "address": self.address, "uploads": uploads, "plan": plan}


@dataclass(frozen=True)
class Source:
    """A bundle as it is on this machine, and where it will be."""

    folder: Path
    """Its files here."""
    bundle: Bundle
    """What it says."""
    base: Path | None = field(default=None)
    """Folder of the base model, where it is here and not in the bundle."""


def source_of(path: Path) -> Source:
    """Return a bundle that can be sent, every file but the base model's checked.

    Raises:
        UnknownName: There is no bundle, or its base model is a folder that is not here.
        CorruptArtifact: A file is damaged, or the base model is another one.
    """
    found = opened(path)
    said = found.bundle.base
    if said.has_weights or said.kind != "folder":
        return Source(found.folder, found.bundle)
    folder = Path(said.reference).expanduser()
    if not folder.is_dir():
        raise UnknownName(
            "model folder",
            said.reference,
            remedy="The bundle was made without the weights, and a container has no such folder. "
            "Make it with --with-weights, or on the machine that has the model.",
        )
    if model_digest(folder) != said.digest:
        raise CorruptArtifact(
            folder,
            f"the bundle was made for the model {said.digest[:12]}, which this is not",
            remedy="Bring that model there, or make the bundle again.",
        )
    return Source(found.folder, found.bundle, folder)


def define_server(
    source: Source, wanted: ModalSettings, keys: Sequence[KeyRecord] = ()
) -> Definition:
    """Return what there will be; nothing is sent anywhere.

    Args:
        source: The bundle.
        wanted: Name, machine, scaling, secrets.
        keys: Keys that are let in, where the containers share no database.

    Raises:
        InvalidValue: A value that Modal does not allow.
        UsageError: No key, and no database that has some.
        UnknownName: No such GPU.
    """
    check(wanted, keys)
    uploads = _uploads(source)
    shares = bool(wanted.database_secret)
    settings: dict[str, Value] = {
        "server.host": "0.0.0.0",
        "server.max_deadline_s": min(
            float(source.bundle.settings.get("server.max_deadline_s") or DEADLINE_S), DEADLINE_S
        ),
    }
    if shares:
        # Every container reads the versions that one of them registered.
        settings["paths.versions"] = f"{WEIGHTS}/versions"
    dtype = _dtype(source.bundle, wanted)
    if dtype is not None:
        settings["engine.dtype"] = dtype
    extras = _extras(source.bundle, wanted)
    return Definition(
        app=wanted.app,
        environment=wanted.environment,
        bundle=source.bundle.name,
        bundle_digest=source.bundle.digest,
        options=_options(wanted),
        concurrency=_concurrency(wanted),
        python=python_version(),
        requirements=requirements(extras),
        extras=extras,
        volumes={WEIGHTS: VOLUME_NAME},
        secrets=_secrets(wanted),
        uploads=uploads,
        plan=ContainerPlan(
            bundle=WEIGHTS + uploads[0].place,
            base=None if source.base is None else WEIGHTS + uploads[1].place,
            settings=settings,
            keys=() if shares else tuple(keys),
            has_own_database=not shares,
            has_snapshot=wanted.snapshot,
        ),
        notes=_notes(source.bundle, wanted, keys),
    )


def rehearsed(definition: Definition, source: Source) -> Definition:
    """Return the same for this process, which has neither the volume nor the secrets."""
    plan = replace(
        definition.plan,
        bundle=str(source.folder),
        base=None if source.base is None else str(source.base),
        settings={
            key: value
            for key, value in definition.plan.settings.items()
            if key not in ("paths.versions", "engine.dtype")
        },
        has_own_database=True,
        writes_log=False,
    )
    return replace(definition, plan=plan, volumes={}, secrets=(), uploads=())


def check(wanted: ModalSettings, keys: Sequence[KeyRecord]) -> None:
    """Check what Modal would refuse only when it is deployed, or not at all.

    Raises:
        InvalidValue: A value that is not allowed.
        UsageError: Nobody could be told from a stranger.
    """
    if not _APP.fullmatch(wanted.app):
        raise InvalidValue(
            "modal.app",
            wanted.app,
            "lower-case letters, digits and single dashes, at most 40 of them, beginning with a "
            "letter, because it becomes part of an address",
        )
    if wanted.min_containers > wanted.max_containers:
        raise InvalidValue(
            "modal.min_containers",
            wanted.min_containers,
            f"at most modal.max_containers, which is {wanted.max_containers}",
        )
    if wanted.target_inputs is not None and wanted.target_inputs > wanted.max_inputs:
        raise InvalidValue(
            "modal.target_inputs",
            wanted.target_inputs,
            f"at most modal.max_inputs, which is {wanted.max_inputs}",
        )
    if not keys and not wanted.database_secret:
        raise UsageError(
            "No API key is there, and everyone who finds the address could use the server. Make "
            "one first (glassbox keys create NAME): its digest goes along, the key stays with you. "
            "Or name a Modal secret with a database that has keys (--database-secret)."
        )


def _uploads(source: Source) -> tuple[Upload, ...]:
    bundle, folder = source.bundle, source.folder
    packed = tuple(folder / path for path in (BUNDLE_FILE, *bundle.files))
    found = [Upload(folder, f"/bundles/{bundle.digest[:32]}", packed)]
    if source.base is not None:
        weights = tuple(base_files(source.base).values())
        found.append(Upload(source.base, f"/models/{bundle.base.digest[:16]}", weights))
    return tuple(found)


def _options(wanted: ModalSettings) -> dict[str, Any]:
    memory = None if wanted.memory_bytes is None else -(-wanted.memory_bytes // 2**20)
    return {
        "gpu": list(gpu_named(wanted.gpu).modal) if wanted.gpu else None,
        "cpu": wanted.cpu,
        "memory": memory,
        "region": list(names_in(wanted.region)) or None,
        "min_containers": wanted.min_containers,
        "max_containers": wanted.max_containers,
        "scaledown_window": wanted.scaledown_window_s,
        "timeout": WEB_LIMIT_S,
        "startup_timeout": STARTUP_S,
        "enable_memory_snapshot": wanted.snapshot,
    }


def _concurrency(wanted: ModalSettings) -> dict[str, int]:
    target = {} if wanted.target_inputs is None else {"target_inputs": wanted.target_inputs}
    return {"max_inputs": wanted.max_inputs, **target}


def _secrets(wanted: ModalSettings) -> tuple[Secret, ...]:
    named = [Secret(name) for name in names_in(wanted.secrets)]
    if wanted.database_secret:
        named.append(Secret(wanted.database_secret, (STORAGE_VARIABLE,)))
    return tuple(named)


def _extras(bundle: Bundle, wanted: ModalSettings) -> tuple[str, ...]:
    stored = bundle.base.kind == "s3" and not bundle.base.has_weights
    return (
        "serve",
        *(("postgres",) if wanted.database_secret else ()),
        *(("sagemaker",) if stored else ()),
    )


def _dtype(bundle: Bundle, wanted: ModalSettings) -> str | None:
    """Return the number format of a GPU; loading is on the CPU, whose own must not decide."""
    if not wanted.gpu or bundle.settings.get("engine.dtype", "auto") != "auto":
        return None
    return "float16" if gpu_named(wanted.gpu).name == "T4" else "bfloat16"


def _notes(bundle: Bundle, wanted: ModalSettings, keys: Sequence[KeyRecord]) -> tuple[str, ...]:
    notes = [
        f"Any request ends after {DEADLINE_S:g} s, because Modal lets none take longer than "
        f"{WEB_LIMIT_S} s."
    ]
    if not wanted.database_secret:
        notes.append(
            "Each container has a database of its own, which goes with it: what was predicted is "
            "not kept, a version that is registered there is forgotten, and a key that is revoked "
            "here works there until the next deployment."
        )
        if any("techniques" in each.scopes for each in keys):
            notes.append("Keys with the scope techniques go along; no functions run there.")
    if wanted.max_containers > 1 and not wanted.database_secret:
        notes.append(
            f"Up to {wanted.max_containers} containers that know nothing of one another: name a "
            "database that they share (--database-secret) before you roll out versions."
        )
    stays = bundle.base.has_weights or bundle.base.kind in ("embedded", "folder")
    if not stays and not wanted.secrets:
        needs = "AWS credentials" if bundle.base.kind == "s3" else "HF_TOKEN, if it is gated"
        notes.append(
            f"The base model {bundle.base.reference} is fetched by the first container: name a "
            f"Modal secret (--secret) with {needs}."
        )
    return tuple(notes)
