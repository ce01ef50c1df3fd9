"""Requests as a server would have recorded them, without a server: events in a list."""

import sqlite3
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from glassbox.audit.log import Head
from glassbox.audit.record_queries import EventPlace
from glassbox.audit.records import (
    InferenceEvent,
    InferenceRecord,
    LabelEvent,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.rollout.decisions.controller import Controller
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.rollout.routing import Routing
from glassbox.rollout.versions.registry import Registry
from glassbox.storage.database import Database, open_database


class FakeLog:
    """The log's reading methods over a list."""

    def __init__(self, events: list[InferenceEvent] | None = None):
        self.events: list[InferenceEvent] = [] if events is None else events

    def read(self, after: int = 0, limit: int = 1000) -> list[tuple[int, InferenceEvent]]:
        page = self.events[after : after + limit]
        return [(after + place, each) for place, each in enumerate(page, start=1)]

    def find(self, request_id: str) -> InferenceRecord | None:
        mine = [each for each in self.events if each.request_id == request_id]
        primary = next((each for each in mine if isinstance(each, PrimaryEvent)), None)
        if primary is None:
            return None
        shadows = tuple(each for each in mine if isinstance(each, ShadowEvent))
        labels = [each for each in mine if isinstance(each, LabelEvent)]
        return InferenceRecord(primary, shadows, labels[-1] if labels else None)

    def places(self, request_id: str) -> list[EventPlace]:
        kinds = {PrimaryEvent: "primary", ShadowEvent: "shadow", LabelEvent: "label"}
        return [
            EventPlace(place, kinds[type(each)], each.time_s, False)
            for place, each in enumerate(self.events, start=1)
            if each.request_id == request_id
        ]

    def head(self) -> Head:
        return Head(len(self.events), "")


@dataclass(frozen=True)
class Behaviour:
    """How a version answers."""

    error_rate: float = 0.0
    latency_ms: float = 10.0
    shift: float = 0.0
    noise: float = 0.0


@dataclass
class Clock:
    """A clock that is set by hand."""

    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class World:
    """A registry with three versions, a log, a controller, and requests that come when told."""

    database: Database
    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    seed: int = 0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self):
        self._assemble(FakeLog(), np.random.default_rng(self.seed), 0)
        for number in range(1, 4):
            self.registry.register(
                "default", "callable", f"m:f{number}", f"{number:064x}", name=f"v{number}"
            )
        self.registry.move_alias("default", "champion", 1, expected=None, actor="t", reason="seed")

    def _assemble(self, log: FakeLog, rng: np.random.Generator, n: int) -> None:
        self.registry = Registry(self.database, clock=self.clock)
        self.log = log
        self.store = RolloutStore(self.database)
        self.controller = self.another()
        self._rng = rng
        self._n = n

    def copied(self) -> "World":
        """A world in memory where everything is as it is in this one now, after a restart."""
        other = replace(self, database=open_database("sqlite://"), clock=replace(self.clock))
        other.become(self)
        return other

    def become(self, other: "World") -> None:
        """Be as another world is now, both of them in memory, after a restart."""
        _raw(self.database).deserialize(_raw(other.database).serialize())
        self.clock.now_s = other.clock.now_s
        self._assemble(FakeLog(list(other.log.events)), deepcopy(other._rng), other._n)

    def another(self) -> Controller:
        """One more server on the same database."""
        return Controller(
            Registry(self.database, clock=self.clock), self.log, self.store, clock=self.clock
        )

    @property
    def champion(self) -> str:
        version = self.registry.snapshot(is_fresh=True).aliased("champion")
        assert version is not None
        return version.name

    def ask(self, n: int, *, labels: bool = False, seconds: float = 0.0) -> None:
        """Let some requests come under the routing of now."""
        routing = self.controller.routing("default", self.registry.snapshot(is_fresh=True))
        for _ in range(n):
            self._one(routing, labels=labels)
            self.clock.now_s += seconds / n

    def tick(self, seconds: float = 2.0):
        self.clock.now_s += seconds
        return self.controller.tick()

    def _one(self, routing: Routing, *, labels: bool) -> None:
        self._n += 1
        key, now_s = f"q{self._n}", self.clock.now_s
        version = routing.answering(key)
        mine = self.behaviours.get(version.name, Behaviour())
        failed = self._rng.random() < mine.error_rate
        truth = float(self._rng.random())
        answer = None if failed else self._said(truth, mine)
        self.log.events.append(
            PrimaryEvent(
                request_id=key,
                time_s=now_s,
                model="default",
                model_version=version.name,
                feature_hash=f"v1:k1:{self._n:032x}",
                latency_ms=mine.latency_ms,
                status="error" if failed else "success",
                prediction=answer,
                confidence=None if answer is None else max(answer, 1 - answer),
                label_probs=None if answer is None else {"a": answer, "b": 1 - answer},
                arm="challenger" if version == routing.canary else "champion",
                rollout_id=routing.rollout_id,
            )
        )
        if version == routing.canary or answer is None:
            return
        for shadow in routing.shadows:
            self._shadow(shadow.name, key, truth, answer)
        if self._n % 10 == 0:
            again = self._said(truth, mine)
            self._copy(version.name, key, again, abs(again - answer), role="noise_floor")
        if labels:
            label = "a" if self._rng.random() < truth else "b"
            self.log.events.append(LabelEvent(key, now_s, label, "t"))

    def _shadow(self, name: str, key: str, truth: float, answer: float) -> None:
        theirs = self.behaviours.get(name, Behaviour())
        if self._rng.random() < theirs.error_rate:
            self.log.events.append(ShadowEvent(key, self.clock.now_s, name, "error"))
            return
        other = self._said(truth, theirs)
        self._copy(name, key, other, abs(other - answer), latency_ms=theirs.latency_ms)

    def _copy(self, name, key, other, diff, *, role="challenger", latency_ms=10.0):
        self.log.events.append(
            ShadowEvent(
                request_id=key,
                time_s=self.clock.now_s,
                shadow_version=name,
                status="ok",
                role=role,
                prediction=other,
                confidence=max(other, 1 - other),
                label_probs={"a": other, "b": 1 - other},
                diff=diff,
                latency_ms=latency_ms,
            )
        )

    def _said(self, truth: float, mine: Behaviour) -> float:
        noisy = truth + mine.shift + mine.noise * float(self._rng.standard_normal())
        return min(max(noisy, 0.0), 1.0)


def _raw(database: Database) -> sqlite3.Connection:
    connection = database._engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


def new_world(behaviours: Mapping[str, Behaviour] | None = None, seed: int = 0) -> World:
    """A world of its own, in memory."""
    return World(open_database("sqlite://"), behaviours or {}, seed)
