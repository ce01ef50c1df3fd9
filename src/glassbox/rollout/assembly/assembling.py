"""Puts the parts of one server's side together, from settings and what the front hands in.

Knows no HTTP and no model: an engine comes as what its versions are loaded with.
"""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from glassbox.audit.feature_hash import open_hasher
from glassbox.audit.records import InferenceEvent
from glassbox.audit.ring import AuditRing
from glassbox.audit.store import InferenceStore
from glassbox.engine.protocol import EngineInfo
from glassbox.rollout.alerts.engine import AlertEngine
from glassbox.rollout.alerts.rules_file import AlertFile, read_alert_file
from glassbox.rollout.alerts.signals import flattened
from glassbox.rollout.answering.inference import InferenceService
from glassbox.rollout.answering.labelled_rows import UNREGISTERED
from glassbox.rollout.answering.primary import Champions, bring_where_it_fits
from glassbox.rollout.answering.recording import Recorder
from glassbox.rollout.answering.routing_view import RoutingView, View
from glassbox.rollout.assembly.background import Background, Job
from glassbox.rollout.assembly.lease import Lease
from glassbox.rollout.assembly.looks import Looks, Parts
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.rollout.decisions.controller import Controller
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.rollout.drift.apart import IN_MEMORY, DriftApart
from glassbox.rollout.drift.desk import DriftDesk
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.shadow.in_engine import Busy, in_engine
from glassbox.rollout.shadow.process import Origin
from glassbox.rollout.shadow.shadows import Shadows
from glassbox.rollout.version import CHAMPION
from glassbox.rollout.versions.input_schema import FeatureCheck
from glassbox.rollout.versions.loaders import Loaders
from glassbox.rollout.versions.registering import Registrar
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.settings import Settings, names_in
from glassbox.storage.database import Database, open_database

if TYPE_CHECKING:
    from glassbox.rollout.drift.watch import DriftWatch

RETENTION_S: Final = 60.0
"""Seconds between two removals of what is too old."""

SIGNALS: Final = ("summary", "health", "drift", "rollout", "models")
"""Answers that alert rules look at."""

LEAST_LEASE_S: Final = 10.0
"""Shortest time after which another server takes work over."""

LEASE_TURNS: Final = 3.0
"""Turns of work that a server may miss before another one takes it over."""


@runtime_checkable
class Resident(Busy, Protocol):
    """A resident model, as far as versions share it."""

    @property
    def info(self) -> EngineInfo:
        """What is resident."""
        ...


def _unheard(_signals: Mapping[str, Any]) -> None:
    """Let numbers go."""


@dataclass(frozen=True)
class Watchers:
    """Who is told of what happens."""

    listeners: tuple[Callable[[InferenceEvent], None], ...] = ()
    """Told of every event of this process, on the thread that records it."""
    on_signals: Callable[[Mapping[str, Any]], None] = _unheard
    """Told the answers that gauges are made of, whenever the alert rules are looked at."""


@dataclass(frozen=True)
class Given:
    """What the front hands in."""

    registry: Registry
    """Versions and aliases."""
    registrar: Registrar
    """Registers more."""
    loaders: Loaders
    """Bring versions to life in this process."""
    engine: object = None
    """Resident model; None without one."""
    watchers: Watchers | None = None
    """Who is told; None is nobody."""

    @property
    def resident(self) -> Resident | None:
        """The engine, where it says how much it has to do."""
        return self.engine if isinstance(self.engine, Resident) else None


def assemble_side(settings: Settings, given: Given) -> RolloutSide:
    """Return the parts, nothing of them begun: ``start`` does that.

    Raises:
        CapacityError: The database cannot be reached.
        InvalidSetting: The alert rules are none.
    """
    watchers = given.watchers or Watchers()
    database = open_database(settings.storage.url)
    ring = AuditRing(settings.audit.cap, leaves_out=UNREGISTERED)
    store = InferenceStore(database, durability=settings.audit.durability, on_events=ring.take)
    ring.fill(store.recent(settings.audit.cap))
    recorder = Recorder(
        ring,
        store,
        open_hasher(database, settings.audit.hash_scheme, length=settings.audit.hash_length),
        allowed=names_in(settings.audit.features),
        segments=names_in(settings.audit.segments),
        listeners=watchers.listeners,
    )
    origin = Origin(overrides=_overrides(settings))
    champions = Champions(bring_where_it_fits(given.loaders.load, origin, _digest(given)))
    shadows = _shadows(settings, given, origin, champions, recorder)
    rollouts, drift_store = RolloutStore(database), DriftStore(database)
    controller = Controller(given.registry, store, rollouts)
    view = RoutingView(partial(_looked, given.registry, controller), champions, shadows.reconfigure)
    parts = Parts(
        registry=given.registry,
        view=view,
        ring=ring,
        store=store,
        hosts=champions,
        lanes=shadows.status,
        rollouts=rollouts,
        drift=drift_store,
        alerts=_alerts(settings, database),
        charts=VersionStore(settings.paths.versions).charts,
    )
    watch = _watch_here(settings, store, drift_store)
    apart = DriftApart(settings.storage.url, settings.drift, drift_store, here=watch)
    drift = DriftDesk(apart, drift_store, store)
    looks = Looks(parts)
    lease = _leases(database)
    background = Background(
        _jobs(settings, parts, controller, drift, partial(_alerted, looks, parts, watchers)),
        lambda job: lease(job).take(),
        lambda job: lease(job).give_back(),
    )
    looks.watch_jobs(background.status)
    is_strict = settings.audit.durability == "strict"
    return RolloutSide(
        registry=given.registry,
        registrar=given.registrar,
        view=view,
        champions=champions,
        inference=InferenceService(
            view, champions, shadows, recorder, FeatureCheck(), is_strict=is_strict
        ),
        recorder=recorder,
        ring=ring,
        store=store,
        controller=controller,
        drift=drift,
        looks=looks,
        background=background,
        max_wait_shadow_s=settings.rollout.max_wait_shadow_s,
        closing=(shadows.close, champions.close, store.close, database.close),
    )


def _shadows(
    settings: Settings, given: Given, origin: Origin, champions: Champions, recorder: Recorder
) -> Shadows:
    place, engine = None, given.resident
    if settings.rollout.shadow_in_engine and engine is not None:
        place = in_engine(engine, engine.info.digest, given.loaders.load, lambda: champions.is_idle)
    return Shadows(
        origin, settings.rollout, recorder.shadow, in_engine=place, again=champions.again
    )


def _looked(registry: Registry, controller: Controller) -> View:
    """Return the routing of every model that has a champion."""
    snapshot = registry.snapshot()
    models = [each for each in snapshot.aliases if snapshot.aliased(CHAMPION, each) is not None]
    return View({each: controller.routing(each, snapshot) for each in models}, snapshot)


def _alerts(settings: Settings, database: Database) -> AlertEngine:
    given = settings.alerts
    file = AlertFile() if given.rules is None else read_alert_file(given.rules)
    return AlertEngine(database, file.rules, file.receivers(), interval_s=given.interval_s)


def _watch_here(
    settings: Settings, store: InferenceStore, drifts: DriftStore
) -> "DriftWatch | None":
    """Return what compares in this process: only a database in memory is seen by no other."""
    if settings.storage.url not in IN_MEMORY:
        return None
    from glassbox.rollout.drift.watch import DriftWatch

    return DriftWatch(store, drifts, settings.drift)


def _alerted(looks: Looks, parts: Parts, watchers: Watchers) -> None:
    """Look at the rules; the gauges of every server show the same numbers."""
    signals = looks.signals()
    watchers.on_signals(signals)
    parts.alerts.look(flattened({name: signals.get(name, {}) for name in SIGNALS}))


def _jobs(
    settings: Settings,
    parts: Parts,
    controller: Controller,
    drift: DriftDesk,
    alerted: Callable[[], None],
) -> list[Job]:
    audit, alerts_s = settings.audit, settings.alerts.interval_s
    jobs = [
        Job("rollout", settings.rollout.interval_s, controller.tick),
        Job("drift", settings.drift.interval_s, drift.look),
        # Each server looks: it is where its gauges come from, and tells nothing twice.
        Job("alerts", alerts_s, alerted, is_shared=False),
        Job("alerts_sent", alerts_s, parts.alerts.deliver, is_shared=False),
    ]
    if audit.retention_s is not None or audit.retention_bytes is not None:
        retain = partial(
            parts.store.retain, max_age_s=audit.retention_s, max_bytes=audit.retention_bytes
        )
        jobs.append(Job("retention", RETENTION_S, retain))
    return jobs


def _leases(database: Database) -> Callable[[Job], Lease]:
    # Containers on one machine may have one name, and number 1 each.
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def lease(job: Job) -> Lease:
        # A turn may take as long as it likes: another server joins in only once this one is silent.
        ttl_s = max(LEAST_LEASE_S, LEASE_TURNS * job.every_s)
        return Lease(database, f"background:{job.name}", holder, ttl_s)

    return lease


def _digest(given: Given) -> str:
    return given.resident.info.digest if given.resident is not None else ""


def _overrides(settings: Settings) -> dict[str, Any]:
    """Return what differs from the defaults, by dotted name: other processes start from it."""
    given = settings.model_dump(mode="json")
    plain = type(settings).model_construct().model_dump(mode="json")
    return {
        f"{section}.{key}": value
        for section, keys in given.items()
        for key, value in keys.items()
        if value is not None and plain.get(section, {}).get(key) != value
    }
