"""Records, versions and moves as they travel. Pure; knows no database and no HTTP."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from glassbox.audit.record_queries import EventPlace
from glassbox.audit.records import InferenceRecord, ShadowEvent
from glassbox.audit.summary import Group, Summary
from glassbox.rollout.version import AliasMove, Snapshot, Version
from glassbox.wire.audit import (
    AuditEntry,
    DiffHistogram,
    EventAnswered,
    PercentilesAnswered,
    RecordAnswered,
    SegmentSummary,
    ShadowAnswered,
    ShadowCounts,
    ShadowSummary,
    SummaryAnswered,
    VersionSummary,
    WindowAnswered,
)
from glassbox.wire.inference import (
    RegistryAnswered,
)
from glassbox.wire.versions import AliasMoveAnswered, VersionAnswered, VersionsAnswered

_KINDS: Final[dict[str, Literal["primary", "shadow", "label", "erasure"]]] = {
    "primary": "primary",
    "shadow": "shadow",
    "label": "label",
    "erasure": "erasure",
}


def audit_entry(record: InferenceRecord, *, awaits_shadow: bool = False) -> AuditEntry:
    """Return a record in one line, with its first challenger.

    Args:
        record: The record.
        awaits_shadow: Whether a challenger was given a copy that has not ended yet.
    """
    primary = record.primary
    shadow = next((each for each in record.shadows if each.role == "challenger"), None)
    return AuditEntry(
        request_id=primary.request_id,
        timestamp=primary.time_s,
        model=primary.model,
        model_version=primary.model_version,
        feature_hash=primary.feature_hash,
        latency_ms=primary.latency_ms,
        prediction=finite(primary.prediction),
        confidence=finite(primary.confidence),
        shadow_version=None if shadow is None else shadow.shadow_version,
        shadow_prediction=None if shadow is None else finite(shadow.prediction),
        shadow_diff=None if shadow is None else finite(shadow.diff),
        shadow_latency_ms=None if shadow is None else finite(shadow.latency_ms),
        status=primary.status,
        label=primary.label,
        label_probs=_probs(primary.label_probs),
        shadow_status="pending" if shadow is None and awaits_shadow else _status(shadow),
        arm=primary.arm,
        true_label=None if record.label is None else record.label.label,
        error_code=primary.error_code or None,
        sequence=record.sequence,
    )


def whole_record(
    record: InferenceRecord, places: Sequence[EventPlace], *, awaits_shadow: bool = False
) -> RecordAnswered:
    """Return everything that is kept of one prediction.

    Args:
        record: The record.
        places: Where its events stand in the log; none where they are on their way to it.
        awaits_shadow: As of ``audit_entry``.
    """
    primary = record.primary
    return RecordAnswered(
        entry=audit_entry(record, awaits_shadow=awaits_shadow),
        shadows=[_shadow(each) for each in record.shadows],
        events=[
            EventAnswered(sequence=each.sequence, kind=_KINDS[each.kind], timestamp=each.time_s)
            for each in places
        ],
        segments=dict(primary.segments),
        features=dict(primary.features),
        summaries={
            name: value for name, value in primary.summaries.items() if math.isfinite(value)
        },
        rollout_id=primary.rollout_id or None,
        true_label=None if record.label is None else record.label.label,
    )


def summary_shown(summary: Summary, registry: RegistryAnswered) -> SummaryAnswered:
    """Return the window's numbers, and whose they are."""
    differences = summary.differences
    return SummaryAnswered(
        rolling_count=summary.rolling_count,
        avg_latency_ms=finite(summary.avg_latency_ms),
        shadow_avg_diff=summary.shadow_avg_diff,
        prediction_mean=finite(summary.prediction_mean),
        confidence_histogram=dict(summary.confidence_histogram),
        shadow_enabled=registry.shadow_enabled,
        active_model=registry.active_version,
        shadow_model=registry.shadow_version,
        success_rate=summary.success_rate,
        error_count=summary.error_count,
        shadow_min_diff=summary.shadow_min_diff,
        shadow_max_diff=summary.shadow_max_diff,
        ring_utilisation=summary.ring_utilisation,
        n_without_confidence=summary.n_without_confidence,
        latency_percentiles_ms=PercentilesAnswered(**asdict(summary.latency_percentiles_ms)),
        shadow=ShadowSummary(
            ema_diff=None if differences is None else differences.ema,
            histogram=DiffHistogram(
                edges=[] if differences is None else list(differences.histogram.edges),
                counts=[] if differences is None else list(differences.histogram.counts),
            ),
            n_outliers=0 if differences is None else differences.n_outliers,
            counts=ShadowCounts.model_validate(dict(summary.shadow_counts)),
            noise_floor=finite(summary.noise_floor),
        ),
        versions=[
            VersionSummary(model_version=each.value, **_group(each)) for each in summary.versions
        ],
        segments={
            name: [SegmentSummary(value=each.value, **_group(each)) for each in groups]
            for name, groups in summary.segments.items()
        },
        lifetime=dict(summary.lifetime),
        window=WindowAnswered(from_s=summary.from_s, to_s=summary.to_s),
    )


def version_shown(version: Version, snapshot: Snapshot) -> VersionAnswered:
    """Return a version with the aliases that name it."""
    return VersionAnswered(
        model=version.model,
        number=version.number,
        name=version.name,
        kind=version.kind,
        digest=version.digest,
        uri=version.uri,
        created_s=version.created_s,
        aliases=snapshot.aliases_of(version),
        metadata=dict(version.metadata),
    )


def versions_shown(snapshot: Snapshot, model: str | None = None) -> VersionsAnswered:
    """Return all versions, or those of one model."""
    return VersionsAnswered(
        revision=snapshot.revision,
        versions=[
            version_shown(each, snapshot)
            for each in snapshot.versions
            if model in (None, each.model)
        ],
        aliases={
            name: dict(aliases)
            for name, aliases in snapshot.aliases.items()
            if model in (None, name)
        },
    )


def move_shown(move: AliasMove) -> AliasMoveAnswered:
    """Return one line of the history."""
    return AliasMoveAnswered.model_validate({**vars(move), "evidence": dict(move.evidence)})


def finite(value: float | None) -> float | None:
    """Return a number, None where it is none: NaN has no place in JSON."""
    return value if value is not None and math.isfinite(value) else None


def _probs(probs: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if probs is None else dict(probs)


def _status(shadow: ShadowEvent | None) -> Any:
    return None if shadow is None else shadow.status


def _group(group: Group) -> dict[str, Any]:
    return {
        "count": group.count,
        "avg_latency_ms": finite(group.avg_latency_ms),
        "prediction_mean": finite(group.prediction_mean),
        "success_rate": group.success_rate,
        "error_count": group.error_count,
    }


def _shadow(event: ShadowEvent) -> ShadowAnswered:
    return ShadowAnswered(
        shadow_version=event.shadow_version,
        role=event.role,
        status=event.status,
        prediction=finite(event.prediction),
        confidence=finite(event.confidence),
        label=event.label,
        label_probs=_probs(event.label_probs),
        diff=finite(event.diff),
        latency_ms=finite(event.latency_ms),
        timestamp=event.time_s,
    )
