"""A definition sent to Modal, or rehearsed in this process.

Needs a token and the network to deploy; a rehearsal needs neither. Not exercised: Modal's cloud.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from glassbox.deploy.modal.app import modal_app
from glassbox.deploy.modal.definition import Definition, Source, rehearsed
from glassbox.errors import GlassboxError
from glassbox.progress import Say
from glassbox.settings import ModalSettings, names_in
from glassbox.storage.key_record import KeyRecord
from glassbox.techniques.container_spec import container
from glassbox.techniques.remote.modal_account import modal_errors, put_folders
from glassbox.techniques.remote.modal_app import ModalApp, define
from glassbox.techniques.remote.modal_image import VOLUME_NAME
from glassbox.techniques.worker_spec import WorkerSpec

N_TAG: Final = 12
"""Digits of the bundle's digest by which Modal's history tells deployments apart."""


@dataclass(frozen=True)
class Deployed:
    """What answers from now on."""

    app: str
    """Name of the app."""
    address: str
    """Where the server is."""
    bundle_digest: str
    """Digest of what is served (hex)."""
    techniques: str | None
    """Name of the app that runs functions; None where there is none."""


@dataclass(frozen=True)
class Rehearsal:
    """What the very class that would be deployed answered in this process."""

    model: str
    """Name of the base model that it serves."""
    names: tuple[str, ...]
    """Every name that a request may give."""
    refuses_strangers: bool
    """Whether a request without a key was turned away."""
    text: str
    """What the model wrote."""


@dataclass(frozen=True, eq=False)
class Functions:
    """The app that runs functions beside a bundle's base model."""

    app: ModalApp
    """As it would be deployed."""
    call: str
    """How a program reaches it, as Python."""


def technique_spec(source: Source, wanted: ModalSettings) -> WorkerSpec:
    """Return which model functions run beside, as ``InterpClient`` asks for it."""
    said = source.bundle.base
    model = said.reference
    if source.base is not None:
        model = str(source.base)
    elif said.has_weights:
        model = str(source.folder / "base")
    return WorkerSpec(model=model, app_name=wanted.app)


def technique_app(source: Source, wanted: ModalSettings) -> Functions:
    """Return the app that runs functions beside a bundle's base model.

    Raises:
        UnknownName: No such GPU.
        DependencyMissing: Modal is not installed.
    """
    place, _ = container(gpu=wanted.gpu or None, scaledown_window=wanted.scaledown_window_s)
    spec = technique_spec(source, wanted)
    gpu = f", gpu={wanted.gpu!r}" if wanted.gpu else ""
    return Functions(
        define(spec, place, secrets=names_in(wanted.secrets)),
        f"InterpClient({spec.app_name!r}, {spec.model!r}, backend='modal'{gpu})",
    )


def deploy(definition: Definition, *, techniques: Functions | None = None, report: Say) -> Deployed:
    """Put a definition into your account, and return where it answers.

    What is there already is not sent again, and running containers finish what they have begun;
    after a failure the same call goes on.

    Args:
        definition: What there will be.
        techniques: The app that runs functions, where there is to be one.
        report: Told what is being done.

    Raises:
        AccessDenied: No token of Modal's on this machine, or one that is not valid.
        UnknownName: A secret, or the environment, is not there.
        Unreachable: Modal cannot be reached.
        GlassboxError: Modal refused.
    """
    made = modal_app(definition)
    environment = definition.environment or None
    remedy = "Make the secrets first (modal secret create), in the same environment"
    kept: list[str] = []
    with _saying_what_is_kept(kept, report):
        with modal_errors(definition.app, remedy):
            digest = definition.bundle_digest[:N_TAG]
            report(f"Putting {definition.bundle} ({digest}) into the volume.")
            put_folders(definition.uploads, environment=environment)
            kept.append(f"{definition.bundle} ({digest}) is in the volume {VOLUME_NAME}")
            report(f"Deploying {definition.app}; the first time Modal builds the image.")
            made.app.deploy(environment_name=environment, tag=digest, strategy="rolling")
            address = _address(made.server) or definition.address
            kept.append(f"{definition.app} is deployed, at {address}")
        if techniques is not None:
            functions = techniques.app
            with modal_errors(functions.name, remedy):
                report(f"Deploying {functions.name}, which runs functions.")
                put_folders(functions.uploads, environment=environment)
                functions.app.deploy(environment_name=environment)
    return Deployed(
        definition.app,
        address,
        definition.bundle_digest,
        None if techniques is None else techniques.app.name,
    )


@contextmanager
def _saying_what_is_kept(kept: Sequence[str], report: Say) -> Iterator[None]:
    """Say what stays of a deployment that stops before its end."""
    try:
        yield
    except (GlassboxError, KeyboardInterrupt):
        if kept:
            report(f"Done and kept: {'; '.join(kept)}. The same command goes on from there.")
        raise


def rehearse(definition: Definition, source: Source) -> Rehearsal:
    """Return what the class that would be deployed answers, run by Modal's own ``.local()``.

    Both of its steps of starting run, then its app is asked; everything but the cloud.

    Args:
        definition: What there will be.
        source: The bundle on this machine.

    Raises:
        GlassboxError: Whatever was in the way of starting.
    """
    from glassbox.storage.database import open_database
    from glassbox.storage.keys import KeyStore

    with tempfile.TemporaryDirectory(prefix="glassbox") as folder:
        keys = KeyStore(open_database(f"sqlite:///{Path(folder)}/keys.db"))
        _, secret = keys.create("rehearsal")
        obj = modal_app(_let_in(rehearsed(definition, source), keys.records())).server()
        app = obj.web.local()
        try:
            return asyncio.run(_ask(app, secret))
        finally:
            # Modal calls the exit hook itself, and lets nobody else.
            obj.residence.close()


def _let_in(definition: Definition, records: list[KeyRecord]) -> Definition:
    return replace(definition, plan=replace(definition.plan, keys=tuple(records)))


async def _ask(app: Any, secret: str) -> Rehearsal:
    transport = httpx.ASGITransport(app)
    key = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://rehearsal") as http:
        stranger = await http.get("/v1/models")
        models = _said(await http.get("/v1/models", headers=key))["data"]
        greedy = {"max_tokens": 8, "temperature": 0}
        asked = {"model": models[0]["id"], "prompt": "The film was", **greedy}
        written = _said(await http.post("/v1/completions", headers=key, json=asked))
    return Rehearsal(
        model=models[0]["id"],
        names=tuple(each["id"] for each in models),
        refuses_strangers=stranger.status_code == httpx.codes.UNAUTHORIZED,
        text=written["choices"][0]["text"],
    )


def _said(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise GlassboxError(f"The rehearsed server answers {answer.status_code}: {answer.text}")
    return answer.json()


def _address(server: Any) -> str | None:
    """Return the address that Modal gave a deployed server, where its library says it."""
    found = server().web.get_web_url()
    return None if found is None else str(found)
