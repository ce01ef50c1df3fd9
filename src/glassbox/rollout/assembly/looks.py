"""Answers to those who look at the service: the same values for HTTP, events, alerts and metrics.

Each method asks what it needs and returns what travels. Knows no HTTP.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from glassbox.audit.records import InferenceRecord, segment_of
from glassbox.audit.ring import AuditRing
from glassbox.audit.store import InferenceStore
from glassbox.errors import ConflictError, CorruptArtifact, UnknownName
from glassbox.rollout.alerts.engine import AlertEngine
from glassbox.rollout.answering.routing_view import RoutingView
from glassbox.rollout.assembly.background import JobStatus
from glassbox.rollout.assembly.health import audit_health, health_of
from glassbox.rollout.assembly.shown import (
    audit_entry,
    move_shown,
    summary_shown,
    version_shown,
    whole_record,
)
from glassbox.rollout.assembly.shown_drift import (
    brief_shown,
    firing_shown,
    message_shown,
    point_shown,
    reference_shown,
    report_shown,
    rollout_shown,
)
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.shadow.lane import LaneStatus
from glassbox.rollout.version import CHAMPION, DEFAULT_MODEL, AliasMove, Version
from glassbox.rollout.versions.registry import Registry
from glassbox.wire.alerts import AlertsAnswered
from glassbox.wire.audit import (
    AuditEntry,
    BreakAnswered,
    HeadAnswered,
    RecentQuery,
    RecordAnswered,
    SummaryAnswered,
    VerificationAnswered,
)
from glassbox.wire.drift import DriftAnswered, DriftPoint, ReferenceAnswered
from glassbox.wire.inference import (
    InferenceHealth,
    RegistryAnswered,
)
from glassbox.wire.rollouts import RolloutsAnswered, RolloutStatus
from glassbox.wire.versions import (
    AliasMoveAnswered,
    CalibrationAnswered,
    VersionAnswered,
)

if TYPE_CHECKING:
    from glassbox.rollout.answering.primary import Champions

MOST_ROLLOUTS: Final = 50
"""Earlier rollouts in one answer."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What is looked at."""

    registry: Registry
    """Versions and aliases."""
    view: RoutingView
    """Routings in force."""
    ring: AuditRing
    """Latest predictions."""
    store: InferenceStore
    """Durable log."""
    hosts: "Champions"
    """Versions that answer."""
    lanes: Callable[[], tuple[LaneStatus, ...]]
    """How each challenger is doing."""
    rollouts: RolloutStore
    """Rollouts."""
    drift: DriftStore
    """References and comparisons."""
    alerts: AlertEngine
    """Rules and messages."""
    charts: Callable[[Version], Mapping[str, Any]]
    """Curves of the evaluation that a version comes from, by name."""


class Looks:
    """What is answered to those who look.

    Args:
        parts: What is looked at.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._jobs: Callable[[], tuple[JobStatus, ...]] = tuple
        self._verifying = threading.Lock()

    def watch_jobs(self, status: Callable[[], tuple[JobStatus, ...]]) -> None:
        """Show the work beside requests in health from now on; it looks here itself."""
        self._jobs = status

    def summary(self, model: str = DEFAULT_MODEL) -> SummaryAnswered:
        """Return the aggregates of the window of latest predictions.

        Raises:
            UnknownName: No such model.
        """
        return summary_shown(self._parts.ring.summary(model), self.registry(model))

    def newest(self) -> AuditEntry | None:
        """Return the newest prediction, None before the first."""
        found = self._parts.ring.records(1)
        return self._entry(found[0]) if found else None

    def recent(self, query: RecentQuery) -> list[AuditEntry]:
        """Return predictions in one line each, newest first.

        Raises:
            InvalidValue: A segment that is not ``NAME=VALUE``.
        """
        store = self._parts.store
        if query.request_id is not None:
            found = self._found(query.request_id)
            return [] if found is None else [self._entry(found)]
        wanted = query.model_dump(exclude={"limit", "request_id", "segment"})
        segment = None if query.segment is None else segment_of(query.segment)
        given = {name for name, value in wanted.items() if value is not None}
        # What is newest may still be on its way to the disk: the window has it.
        is_newest = segment is None and given <= {"model"}
        waiting = self._waiting(query.limit, query.model) if is_newest else []
        stored = store.recent(query.limit, segment=segment, **wanted)
        if is_newest:
            stored = _merged(waiting, stored, query.limit)
        return [self._entry(each) for each in stored]

    def record(self, request_id: str) -> RecordAnswered:
        """Return everything that is kept of one prediction.

        Raises:
            UnknownName: There is none of that name, or it was erased.
        """
        found = self._found(request_id)
        if found is None:
            raise UnknownName("prediction", request_id)
        places = self._parts.store.places(request_id)
        return whole_record(found, places, awaits_shadow=self._awaits(found))

    def verification(self) -> VerificationAnswered:
        """Return whether every byte of the log is as it was written; once at a time.

        Raises:
            ConflictError: Someone else's walk over the log has not ended.
        """
        if not self._verifying.acquire(blocking=False):
            # A walk takes a thread for as long as the log is; others need theirs.
            raise ConflictError("The log is being verified already; ask again when that has ended.")
        try:
            self._parts.store.flush()
            seen = self._parts.store.verify()
        finally:
            self._verifying.release()
        broken = seen.broken
        return VerificationAnswered(
            n_events=seen.n_events,
            n_erased=seen.n_erased,
            n_removed=seen.n_removed,
            broken=None if broken is None else BreakAnswered(**vars(broken)),
            head=HeadAnswered(sequence=seen.head.sequence, hash=seen.head.hash),
        )

    def registry(self, model: str = DEFAULT_MODEL) -> RegistryAnswered:
        """Return which versions there are, who answers and who sees copies.

        Raises:
            UnknownName: No such model.
        """
        snapshot = self._parts.registry.snapshot()
        champion = snapshot.aliased(CHAMPION, model)
        if champion is None:
            raise UnknownName("registered model", model, snapshot.aliases)
        shadows = [each for each in snapshot.challengers(model) if each.name != champion.name]
        return RegistryAnswered(
            available_versions=[each.name for each in snapshot.versions if each.model == model],
            active_version=champion.name,
            shadow_version=shadows[0].name if shadows else None,
            shadow_enabled=bool(shadows),
        )

    def version(self, version: Version) -> VersionAnswered:
        """Return one version with its aliases."""
        return version_shown(version, self._parts.registry.snapshot())

    def move(self, move: AliasMove) -> AliasMoveAnswered:
        """Return one line of the history."""
        return move_shown(move)

    def calibration(self, name: str) -> CalibrationAnswered:
        """Return the curves of the evaluation that a version comes from.

        Raises:
            UnknownName: No such version, or it comes from no evaluation.
        """
        version = self._parts.registry.version(name)
        return CalibrationAnswered(version=version.name, charts=dict(self._parts.charts(version)))

    def rollouts(self, model: str | None = None) -> RolloutsAnswered:
        """Return the rollout under way, in full, and the latest ones in short."""
        store = self._parts.rollouts
        active, _ = store.watched(model)
        current = rollout_shown(store.status(active[0])) if active else None
        latest = store.briefs(model, MOST_ROLLOUTS)
        return RolloutsAnswered(current=current, rollouts=[brief_shown(each) for each in latest])

    def rollout(self, rollout_id: str) -> RolloutStatus:
        """Return one rollout in full.

        Raises:
            UnknownName: There is none of that id.
        """
        store = self._parts.rollouts
        return rollout_shown(store.status(store.load(rollout_id)))

    def drift(self, model: str = DEFAULT_MODEL) -> DriftAnswered:
        """Return the latest comparison and the reference in force."""
        store = self._parts.drift
        report = store.latest(model)
        current = next((each for each in store.references(model) if each.is_current), None)
        return DriftAnswered(
            report=None if report is None else report_shown(report),
            reference=None if current is None else reference_shown(current),
        )

    def drift_history(self, model: str, feature: str | None, limit: int) -> list[DriftPoint]:
        """Return how features stood at earlier comparisons, newest first."""
        found = self._parts.drift.history(model, feature=feature, limit=limit)
        return [point_shown(each) for each in found]

    def references(self, model: str | None = None) -> list[ReferenceAnswered]:
        """Return all references, or those of one model, newest first."""
        return [reference_shown(each) for each in self._parts.drift.references(model)]

    def alerts(self, limit: int = 100) -> AlertsAnswered:
        """Return which rules fire, and who was told."""
        engine = self._parts.alerts
        return AlertsAnswered(
            firing=[firing_shown(each) for each in engine.firing()],
            history=[message_shown(each) for each in engine.history(limit)],
            waiting=dict(engine.waiting()),
        )

    def health(self) -> InferenceHealth:
        """Return how every part does."""
        parts = self._parts
        audit = audit_health(
            parts.store.status(),
            ring_utilisation=parts.ring.utilisation,
            n_held=parts.ring.n_held,
            durability=parts.store.durability,
        )
        return health_of(parts.view, parts.hosts.status(), parts.lanes(), audit, self._jobs())

    def signals(self) -> dict[str, Any]:
        """Return the answers that alert rules and gauges are made of, by name.

        ``summary`` and ``drift`` are the default model's, ``rollout`` is of whichever model has one
        under way; ``models`` has the three of each model that has a champion.
        """
        models = {model: self._signals_of(model) for model in self._parts.view.routings}
        found: dict[str, Any] = {
            "health": self.health().model_dump(),
            "rollout": self._latest_rollout(),
            "drift": self._latest_report(DEFAULT_MODEL),
            "alerts": self.alerts(1).model_dump() | {"waiting": self._parts.alerts.waiting()},
            "models": models,
        }
        if DEFAULT_MODEL in models:
            found["summary"] = models[DEFAULT_MODEL]["summary"]
        return found

    def _signals_of(self, model: str) -> dict[str, Any]:
        return {
            "summary": self.summary(model).model_dump(),
            "rollout": self._latest_rollout(model),
            "drift": self._latest_report(model),
        }

    def _latest_report(self, model: str) -> dict[str, Any]:
        # One that cannot be read must not blind the rules about everything else.
        with suppress(CorruptArtifact):
            report = self.drift(model).report
            return {} if report is None else report.model_dump()
        return {}

    def _latest_rollout(self, model: str | None = None) -> dict[str, Any]:
        """Return the rollout under way, or else the latest: how it ended is worth telling."""
        store = self._parts.rollouts
        active, _ = store.watched(model)
        latest = active[:1] or store.latest(model, 1)
        return rollout_shown(store.status(latest[0])).model_dump() if latest else {}

    def _waiting(self, limit: int, model: str | None) -> list[InferenceRecord]:
        """Return what of the newest in the window is not in the log; its end is read afterwards."""
        held = self._parts.ring.records(limit, model)
        known = self._parts.store.known(each.primary.request_id for each in held)
        return [each for each in held if each.primary.request_id not in known]

    def _found(self, request_id: str) -> InferenceRecord | None:
        return self._parts.store.find(request_id) or self._parts.ring.find(request_id)

    def _entry(self, record: InferenceRecord) -> AuditEntry:
        return audit_entry(record, awaits_shadow=self._awaits(record))

    def _awaits(self, record: InferenceRecord) -> bool:
        return self._parts.ring.awaits(record.primary.request_id)


def _merged(
    waiting: list[InferenceRecord], stored: list[InferenceRecord], limit: int
) -> list[InferenceRecord]:
    """Return what waited for the log and the end of the log, each once, newest first.

    The first in the log are the ones that are left out, whatever their times are: a page then goes
    on where the log was cut, and time and place differ where many answer at once.
    """
    written = {each.primary.request_id for each in stored}
    still = [each for each in waiting if each.primary.request_id not in written][:limit]
    page = [*still, *stored[: limit - len(still)]]
    return sorted(page, key=lambda each: each.primary.time_s, reverse=True)
