"""What a server serves, put together from settings and options; takes as long as a model loads."""

import logging
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from glassbox.engine.model.files import short_name
from glassbox.engine.model.load import LoadedModel
from glassbox.engine.protocol import Engine
from glassbox.errors import ConflictError, CorruptArtifact
from glassbox.introspection.probes.probe import LinearProbe
from glassbox.rollout.assembly.assembling import Watchers
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.runtime import Runtime
from glassbox.server.access.guards import Guards, TechniqueGate
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.access.rates import Rates
from glassbox.server.access.signatures import Signatures
from glassbox.server.app import create_app
from glassbox.server.fleet.facts import join_fleet
from glassbox.server.fleet.member import FleetMember
from glassbox.server.process.supervisor import STUCK
from glassbox.server.routes import (
    classify,
    lens,
    models,
    openai_chat,
    openai_completions,
    sagemaker,
    states,
    verify,
)
from glassbox.server.routes.adapters import load_adapter
from glassbox.server.sagemaker.door import PlatformDoor
from glassbox.server.sagemaker.large_answers import LargeAnswers
from glassbox.server.serving import Serving
from glassbox.server.study_shelf import StudyShelf
from glassbox.server.techniques.record import TechniqueRecord
from glassbox.server.techniques.runs import TechniqueService
from glassbox.server.techniques.terms import Terms, allowed_digests
from glassbox.server.telemetry.tracing import Tracing
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.keys import KeyStore
from glassbox.techniques.remote.local_secret import local_secret
from glassbox.wire.addresses import is_loopback

_log = logging.getLogger("glassbox.server")

OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names by which a browser on this machine reaches a server that needs no key."""


CARRIED_ROUTERS: Final = (
    sagemaker.router,
    classify.router,
    lens.router,
    models.router,
    openai_chat.router,
    openai_completions.router,
    states.router,
    verify.router,
)
"""Routes of a SageMaker container; the door in front of them lets through what predicts."""


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
    classifiers: tuple[tuple[str, str], ...] = ()
    """(name, run) of each classifier that answers `/v1/classify`."""
    verifier: Path | None = None
    """Folder of a trained verifier."""
    hidden: str | None = None
    """System prompt in front of every request, never shown."""
    gate: TechniqueGate | None = None
    """Who may run functions; None runs none."""
    is_supervised: bool = False
    """Whether a parent starts the server again when a function took it down."""
    base_digest: str = ""
    """Digest that the base model must have (hex); empty takes any."""
    bundle_digest: str = ""
    """Digest of the bundle that all of it comes from (hex); empty without one."""
    address: str = ""
    """Where the server listens, as the others are told; empty where that is not known."""


def assemble(
    runtime: Runtime,
    wanted: Wanted,
    guards: Guards | None = None,
    *,
    loaded: LoadedModel | None = None,
) -> Serving:
    """Return everything that the routes answer with, the model resident.

    Args:
        runtime: Settings.
        wanted: What is to be served.
        guards: Of the app, whose counters and traces follow predictions; None keeps no versions
            and no predictions.
        loaded: The base model, in memory already; None reads its files.

    Raises:
        GlassboxError: The model cannot be loaded, or something does not fit it.
    """
    if guards is None:
        return _assembled(runtime, wanted, None, loaded, None)
    member, facts = join_fleet(runtime.replica_store(), guards, runtime.settings, wanted.address)
    guards.early.callback(member.close)
    try:
        serving = _assembled(runtime, wanted, guards, loaded, member)
    except BaseException:
        # The others are told why one less comes than was started.
        member.close("failed")
        raise
    facts.serve(serving)
    return serving


def _assembled(
    runtime: Runtime,
    wanted: Wanted,
    guards: Guards | None,
    loaded: LoadedModel | None,
    member: FleetMember | None,
) -> Serving:
    engine = runtime.open_engine(runtime.model_spec(wanted.model), loaded=loaded)
    _check_base(engine, wanted)
    name = wanted.name or short_name(engine.info.name)
    reserved = {name, engine.info.digest, *dict(wanted.classifiers)}
    for adapter, path in wanted.adapters:
        load_adapter(engine, adapter, path, reserved=reserved)
    probes: dict[str, LinearProbe] = {}
    for folder in wanted.probes:
        probe = runtime.probe(engine, folder)
        if probe.name in probes:
            raise ConflictError(
                f"Two probes are called {probe.name!r}: requests could not choose. Leave one out, "
                "or train it with another --name."
            )
        probes[probe.name] = probe
    speaker = Speaker(engine, name, hidden=wanted.hidden, probes=probes)
    runs = {each: runtime.finished_run(run) for each, run in wanted.classifiers}
    labellers = {each: runtime.labeller_on(engine, run) for each, run in runs.items()}
    verifier = None
    if wanted.verifier is not None or runtime.ships_verifier_for(engine):
        verifier = runtime.verifier(engine, wanted.verifier, encode=speaker.question)
    return Serving(
        speaker,
        labellers,
        verifier,
        techniques=_techniques(runtime, engine, wanted, guards),
        bundle_digest=wanted.bundle_digest,
        rollout=None if guards is None else _rollout(runtime, engine, list(runs.values()), guards),
        fleet=member,
    )


def _check_base(engine: Engine, wanted: Wanted) -> None:
    if wanted.base_digest not in ("", engine.info.digest):
        raise CorruptArtifact(
            engine.info.name,
            f"the base model here has digest {engine.info.digest[:12]}; the bundle was made for "
            f"{wanted.base_digest[:12]}",
            remedy="Its adapters, probes and calibrators would mean nothing on it: bring the model "
            "that it was made for, or make the bundle again on this one.",
        )


def _rollout(runtime: Runtime, engine: Engine, runs: Sequence[Path], guards: Guards) -> RolloutSide:
    counters = guards.metrics.inference
    watchers = Watchers((counters.observe, guards.tracing.observe), counters.show)
    side = runtime.rollout_side(engine, runs, watchers=watchers)
    side.start()
    for model, reason in side.view.failures.items():
        _log.warning("%s answers no predictions yet: %s", model or "the registry", reason)
    return side


def _techniques(
    runtime: Runtime, engine: Engine, wanted: Wanted, guards: Guards | None
) -> TechniqueService | None:
    if wanted.gate is None:
        return None
    settings = runtime.settings.techniques
    backend = runtime.technique_backend(engine, model=wanted.model, hidden=wanted.hidden)
    # A process that cannot load its model is found out now, not by the first caller.
    backend.start(lambda _what, _share: None)
    terms = Terms(runtime.technique_limits(), allowed_digests(settings.allowed))
    on_stuck = _give_up if wanted.is_supervised else None
    record = wanted.gate.record
    if guards is not None:
        record = replace(record, count=guards.metrics.ran)
    return TechniqueService(backend, record, terms, on_stuck=on_stuck)


def _give_up(reason: str) -> None:
    """End the process: a function does not let go of the model, or has changed it for good."""
    _log.error("%s: the server starts again", reason)
    logging.shutdown()
    os._exit(STUCK)


def open_gate(
    runtime: Runtime, keys: KeyStore, port: int, at_end: ExitStack
) -> TechniqueGate | None:
    """Return who may run functions on a server; None where its settings allow nobody.

    Args:
        runtime: Settings.
        keys: Keys of the server. Without any, a secret is put in a file of this account.
        port: Where it listens.
        at_end: Removes that file.

    Raises:
        CapacityError: The secret or the audit log cannot be written.
        InvalidValue: The list of allowed functions is none.
    """
    settings = runtime.settings.techniques
    if settings.mode == "off":
        return None
    allowed_digests(settings.allowed)
    secret = None
    if not keys.any_active():
        secret = at_end.enter_context(local_secret(settings.folder, port))
    record = TechniqueRecord(
        runtime.audit_log(), settings.mode, server=f"{socket.gethostname()}:{port}"
    )
    return TechniqueGate(Signatures(secret), record, settings.max_body_bytes)


def whole_app(
    limits: ServerSettings,
    keys: KeyStore,
    gate: TechniqueGate | None = None,
    tracing: Tracing | None = None,
    studies: Path | None = None,
) -> FastAPI:
    """Return the whole app, its model yet to come.

    Args:
        limits: Sizes and times.
        keys: Who may use it.
        gate: Who may run functions; None lets nobody.
        tracing: Traces that others collect; None keeps none.
        studies: Folder of finished studies of pathways; None shows none.
    """
    is_own = is_loopback(limits.host)
    # Where others reach the server, it never opens: not even when the last key is revoked.
    ring = KeyRing(keys, always=not is_own)
    own_names = OWN_NAMES | {limits.host} if is_own else None
    rates = Rates(limits.rate_limit, limits.observe_rate_limit)
    guards = Guards(
        limits=limits,
        keys=ring,
        hosts=own_names,
        rates=rates,
        tracing=tracing or Tracing(),
        techniques=gate,
        studies=StudyShelf(studies),
    )
    return create_app(None, guards)


def sagemaker_app(limits: ServerSettings) -> FastAPI:
    """Return the app of a SageMaker container: two routes, no keys, because the platform guards.

    The routes for predictions are behind ``/invocations``, for requests that name one.

    Raises:
        InvalidValue: The place for large answers is no address in an object store.
    """
    store = LargeAnswers(limits.large_answers) if limits.large_answers else None
    app = create_app(None, Guards(limits=limits), routers=CARRIED_ROUTERS, is_described=False)
    app.add_middleware(PlatformDoor, most_bytes=limits.max_answer_bytes, store=store)
    return app
