"""How every part of the service does, as one answer. A failing challenger degrades it, no more.

Pure but for asking each part; knows no HTTP.
"""

from collections.abc import Sequence
from typing import Any

from glassbox.audit.group_writer import WriterStatus
from glassbox.rollout.answering.primary import HostStatus
from glassbox.rollout.answering.routing_view import RoutingView
from glassbox.rollout.assembly.background import JobStatus
from glassbox.rollout.shadow.lane import LaneStatus
from glassbox.rollout.version import CHAMPION
from glassbox.wire.inference import (
    Component,
    InferenceHealth,
)
from glassbox.wording import counted


def health_of(
    view: RoutingView,
    hosts: Sequence[HostStatus],
    lanes: Sequence[LaneStatus],
    audit: Component,
    jobs: Sequence[JobStatus],
) -> InferenceHealth:
    """Return how every part does.

    Args:
        view: Routings in force.
        hosts: Versions that answer.
        lanes: Challengers.
        audit: How recording does.
        jobs: Work beside requests.
    """
    components = {
        "registry": _registry(view),
        "primary": _primary(view, hosts),
        "shadow": _shadow(lanes),
        "audit": audit,
        **{each.name: _job(each) for each in jobs},
    }
    is_bad = any(each.status == "degraded" for each in components.values())
    return InferenceHealth(status="degraded" if is_bad else "ok", components=components)


def audit_health(
    writer: WriterStatus, *, ring_utilisation: float, n_held: int, durability: str
) -> Component:
    """Return how recording does.

    Args:
        writer: The thread that writes.
        ring_utilisation: How full the fullest model's window is, [0, 1].
        n_held: Predictions in all of them.
        durability: The promise in force.
    """
    reason = writer.problem
    if not reason and writer.n_overflowed:
        lost = counted(writer.n_overflowed, "event was lost", "events were lost")
        reason = f"{lost}: more came than the disk could take."
    return _component(
        reason,
        ring_utilisation=ring_utilisation,
        ring_count=n_held,
        queue=writer.n_waiting,
        written=writer.n_written,
        overflowed=writer.n_overflowed,
        durable=not writer.problem,
        durability=durability,
        last_commit_s=writer.last_commit_s,
    )


def _registry(view: RoutingView) -> Component:
    snapshot, failures = view.snapshot, view.failures
    return _component(
        failures.get("", ""),
        revision=snapshot.revision,
        models=sorted(snapshot.aliases),
        n_versions=len(snapshot.versions),
    )


def _primary(view: RoutingView, hosts: Sequence[HostStatus]) -> Component:
    reasons = [f"{model}: {why}" for model, why in view.failures.items() if model]
    reasons += [
        f"{model} has no version {CHAMPION!r}"
        for model in view.snapshot.aliases
        if view.snapshot.aliased(CHAMPION, model) is None
    ]
    return _component(
        "; ".join(reasons),
        champions={model: each.champion.name for model, each in view.routings.items()},
        waiting={each.version: each.n_waiting for each in hosts},
    )


def _shadow(lanes: Sequence[LaneStatus]) -> Component:
    challengers = [each for each in lanes if each.role == "challenger"]
    if not challengers:
        return Component(status="off", reason="There is no challenger.", details={})
    broken = [each for each in lanes if _is_failing(each)]
    reasons = [f"{each.version}: {each.last_error or 'it fails'}" for each in broken]
    reasons += [
        _falling_behind(each)
        for each in challengers
        if each.counts.get("dropped", 0) > each.counts.get("ok", 0)
    ]
    shown: dict[str, Any] = {}
    for each in lanes:
        name = each.version if each.role == "challenger" else f"{each.version} (noise floor)"
        shown[name] = {
            "state": each.state,
            "breaker": each.circuit,
            "pid": each.pid,
            "resident_bytes": each.resident_bytes,
            "queue": each.n_waiting,
            "counts": dict(each.counts),
            "replaced": each.n_lost,
            "last_error": each.last_error or None,
        }
    return _component("; ".join(reasons), challengers=shown)


def _falling_behind(lane: LaneStatus) -> str:
    dropped = f"{counted(lane.counts['dropped'], 'copy was', 'copies were')} dropped"
    if lane.state == "loading":
        return f"{lane.version} is loading: {dropped} until now"
    return (
        f"{lane.version} is slower than the traffic: {dropped}, "
        f"{lane.counts.get('ok', 0)} answered; lower rollout.shadow_sampling"
    )


def _is_failing(lane: LaneStatus) -> bool:
    has_never_answered = bool(lane.last_error) and not lane.counts.get("ok")
    return lane.state == "broken" or lane.circuit != "closed" or has_never_answered


def _job(job: JobStatus) -> Component:
    return _component(job.failure, is_ours=job.is_ours, last_s=job.last_s)


def _component(reason: str, **details: Any) -> Component:
    status = "degraded" if reason else "ok"
    return Component.model_validate(
        {"status": status, "reason": reason or None, "details": details}
    )
