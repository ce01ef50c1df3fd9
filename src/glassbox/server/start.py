"""What a server serves, put together from settings and options; takes as long as a model loads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from glassbox.errors import ConflictError, InvalidValue
from glassbox.introspection.probe import LinearProbe
from glassbox.runtime import Runtime
from glassbox.server.app import create_app
from glassbox.server.key_ring import KeyRing
from glassbox.server.listening import is_loopback
from glassbox.server.routes import sagemaker
from glassbox.server.routes.adapters import load_adapter
from glassbox.server.serving import Guards, Serving
from glassbox.server.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.keys import KeyStore

OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names by which a browser on this machine reaches a server that needs no key."""


@dataclass(frozen=True)
class Wanted:
    """What is to be served."""

    model: str | None = None
    """Base model; None takes that of the settings."""
    name: str | None = None
    """Name that requests give; None takes the model's own."""
    adapters: tuple[tuple[str, str], ...] = ()
    """(name, folder or address) of each adapter."""
    probes: tuple[Path, ...] = ()
    """Folders of trained probes."""
    classifiers: tuple[str, ...] = ()
    """Runs whose classifier answers `/v1/classify`."""
    verifier: Path | None = None
    """Folder of a trained verifier."""
    hidden: str | None = None
    """System prompt in front of every request, never shown."""


def named_path(text: str) -> tuple[str, str]:
    """Return name and path of ``NAME=PATH``.

    Raises:
        InvalidValue: It has another form.
    """
    name, _, path = text.partition("=")
    if not name or not path:
        raise InvalidValue("adapter", text, "NAME=PATH, as in support=runs/support/adapter")
    return name, path


def assemble(runtime: Runtime, wanted: Wanted) -> Serving:
    """Return everything that the routes answer with, the model resident.

    Raises:
        GlassboxError: The model cannot be loaded, or something does not fit it.
    """
    engine = runtime.open_engine(runtime.model_spec(wanted.model))
    name = wanted.name or Path(engine.info.name).name
    reserved = {name, engine.info.digest, *(Path(run).name for run in wanted.classifiers)}
    for adapter, path in wanted.adapters:
        load_adapter(engine, adapter, path, reserved=reserved)
    probes: dict[str, LinearProbe] = {}
    for folder in wanted.probes:
        probe = runtime.probe(engine, folder)
        if probe.name in probes:
            raise ConflictError(f"Two probes are called {probe.name!r}: requests could not choose.")
        probes[probe.name] = probe
    speaker = Speaker(engine, name, hidden=wanted.hidden, probes=probes)
    labellers = {
        Path(run).name: runtime.labeller_on(engine, runtime.run_folder(run))
        for run in wanted.classifiers
    }
    verifier = None
    if wanted.verifier is not None or runtime.ships_verifier_for(engine):
        verifier = runtime.verifier(engine, wanted.verifier, encode=speaker.question)
    return Serving(speaker, labellers, verifier)


def whole_app(limits: ServerSettings, keys: KeyStore) -> FastAPI:
    """Return the whole app, its model yet to come.

    Args:
        limits: Sizes and times.
        keys: Who may use it.
    """
    is_own = is_loopback(limits.host)
    # Where others reach the server, it never opens: not even when the last key is revoked.
    ring = KeyRing(keys, always=not is_own)
    own_names = OWN_NAMES | {limits.host} if is_own else None
    return create_app(None, Guards(limits=limits, keys=ring, hosts=own_names))


def sagemaker_app(limits: ServerSettings) -> FastAPI:
    """Return the app of a SageMaker container: two routes, no keys, because the platform guards."""
    return create_app(None, Guards(limits=limits), routers=[sagemaker.router], is_described=False)
