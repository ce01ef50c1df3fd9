"""What this server says of itself to the others: its stage, its routing, its counters, its load.

Everything is at hand: neither the database nor the model is asked. Knows no route.
"""

import importlib.metadata
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import psutil

from glassbox.engine.protocol import Engine
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.rollout.routing import Routing
from glassbox.server.access.guards import Guards
from glassbox.server.fleet.counters import Counters, read_counters
from glassbox.server.fleet.member import BEAT_S, FleetMember, Said
from glassbox.server.telemetry.metrics import Busy
from glassbox.settings import Settings
from glassbox.storage.replicas import Replica, ReplicaStage, ReplicaStore

ALIKE: Final = ("audit", "rollout", "drift")
"""Sections of the settings that all servers of one database should share."""

ALIKE_TOO: Final = (
    "server.max_body_bytes",
    "server.max_deadline_s",
    "server.rate_limit",
    "server.observe_rate_limit",
    "techniques.mode",
    "techniques.allowed",
)
"""Settings of other sections likewise."""


class ModelSide(Protocol):
    """What is told of the model's side."""

    @property
    def name(self) -> str:
        """Name of the base model that requests give."""
        ...

    @property
    def bundle_digest(self) -> str:
        """Digest of the bundle that all of it comes from (hex); empty without one."""
        ...

    @property
    def engine(self) -> Engine:
        """The resident model."""
        ...

    @property
    def rollout(self) -> RolloutSide | None:
        """Versions and predictions; None where none are kept."""
        ...


class FleetFacts:
    """What one server says of itself.

    Args:
        guards: Its stage and its counters.
        settings: Those in force.
    """

    def __init__(self, guards: Guards, settings: Settings) -> None:
        self._guards = guards
        self._settings = shared_settings(settings)
        self._serving: ModelSide | None = None
        self._first_revision: int | None = None
        self._last: tuple[float, Counters] | None = None
        self._per_s: float | None = None

    def serve(self, serving: ModelSide) -> None:
        """Tell of what is served from now on."""
        self._serving = serving

    def say(self) -> Said:
        """Return what is to be said now."""
        counters = read_counters(self._guards.metrics.registry)
        stage: ReplicaStage = self._guards.lifecycle.stage
        serving = self._serving
        body: dict[str, Any] = {"settings": self._settings, "load": self._load(counters)}
        if serving is None:
            return Said(stage, "", "", counters, body)
        info = serving.engine.info
        adapters = sorted(each.name for each in serving.engine.adapters)
        body |= {"model_digest": info.digest, "adapters": adapters}
        if serving.rollout is not None:
            body |= self._seen(serving.rollout)
        return Said(stage, serving.name, serving.bundle_digest, counters, body)

    def mark(self) -> object:
        """Return something that is another when there is news."""
        serving = self._serving
        if serving is None or serving.rollout is None:
            return self._guards.lifecycle.stage, serving is None
        view = serving.rollout.view
        return self._guards.lifecycle.stage, view.adopted_s, len(view.failures)

    def _seen(self, side: RolloutSide) -> dict[str, Any]:
        view = side.view
        revision = view.snapshot.revision
        if self._first_revision is None:
            self._first_revision = revision
        health = side.looks.health().components
        return {
            "revision": revision,
            "adopted_s": view.adopted_s,
            "adopted_running": revision != self._first_revision,
            "routings": {model: routing_said(each) for model, each in view.routings.items()},
            "failures": dict(view.failures),
            "jobs": sorted(side.background.done_for_all()),
            "degraded": {
                name: each.reason or ""
                for name, each in health.items()
                # Told by itself, as what the routing lacks.
                if each.status == "degraded" and name not in ("registry", "primary")
            },
        }

    def _load(self, counters: Counters) -> dict[str, Any]:
        engine: object = None if self._serving is None else self._serving.engine
        n_running, n_waiting = 0, 0
        if isinstance(engine, Busy):
            n_running, n_waiting = engine.n_running, engine.n_waiting
        moment = time.monotonic()
        if self._last is None:
            self._last = (moment, counters)
        elif moment - self._last[0] >= BEAT_S:
            n_new = counters.n_requests - self._last[1].n_requests
            self._per_s = n_new / (moment - self._last[0])
            self._last = (moment, counters)
        return {
            "running": n_running,
            "waiting": n_waiting,
            "requests_per_s": self._per_s,
            "resident_bytes": int(psutil.Process().memory_info().rss),
        }


def join_fleet(
    store: ReplicaStore, guards: Guards, settings: Settings, address: str = ""
) -> tuple[FleetMember, FleetFacts]:
    """Return a server's place among those of its database, taken, and what it says there.

    Args:
        store: Where all of them are.
        guards: Its id, stage and counters.
        settings: Those in force.
        address: Where it listens, as far as that is known.
    """
    facts = FleetFacts(guards, settings)
    replica = Replica(
        id=guards.replica_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        address=address,
        version=importlib.metadata.version("glassbox-llm"),
        bundle="",
        model="",
        started_s=time.time(),
        status="loading",
        body={},
    )
    member = FleetMember(store, replica, facts.say, facts.mark)
    member.start()
    return member, facts


def shared_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings, by dotted name, that all servers of one database should share."""
    values: Mapping[str, Mapping[str, Any]] = settings.model_dump(mode="json")
    found = {f"{name}.{key}": value for name in ALIKE for key, value in values[name].items()}
    for each in ALIKE_TOO:
        section, _, key = each.partition(".")
        found[each] = values[section][key]
    return found


def routing_said(routing: Routing) -> dict[str, Any]:
    """Return who answers for a model, as JSON values."""
    return {
        "champion": routing.champion.name,
        "challengers": [each.name for each in routing.shadows],
        "canary": None if routing.canary is None else routing.canary.name,
        "canary_weight": routing.canary_weight,
        "rollout_id": routing.rollout_id or None,
    }
