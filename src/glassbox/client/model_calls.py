"""What the methods about versions and predictions send: pure functions.

Knows the wire; sends nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar
from urllib.parse import quote, urlencode

import httpx
import orjson

from glassbox.client import given
from glassbox.client.answers import reader
from glassbox.client.calls import Call
from glassbox.errors import InvalidValue
from glassbox.wire.alerts import AlertsAnswered
from glassbox.wire.audit import (
    AuditEntry,
    EraseAnswered,
    RecordAnswered,
    SummaryAnswered,
    VerificationAnswered,
)
from glassbox.wire.drift import (
    DriftAnswered,
    DriftPoint,
    DriftReportAnswered,
    ReferenceAnswered,
    ReferencesAnswered,
)
from glassbox.wire.fleet import FleetAnswered
from glassbox.wire.headers import ID_HEADER
from glassbox.wire.inference import (
    BatchAnswered,
    InferenceHealth,
    LabelsAnswered,
    PredictAnswered,
    RegistryAnswered,
)
from glassbox.wire.rollouts import RolloutsAnswered, RolloutStatus
from glassbox.wire.shapes import Answered
from glassbox.wire.versions import (
    AliasMoveAnswered,
    CalibrationAnswered,
    VersionAnswered,
    VersionsAnswered,
)
from glassbox.wording import counted

M = TypeVar("M", bound=Answered)

BASE = "/api/v2/models"
"""Path that all of these are below."""


class RegisterOptions(TypedDict, total=False):
    """What is to be said of a version; all of it may be left out."""

    model: str
    """Registered model that it becomes a version of."""
    name: str
    """Unique name; the server makes one otherwise."""
    kind: str
    """``llm-classifier``, ``sklearn`` or ``callable``; found out otherwise."""
    input_schema: Mapping[str, Any]
    """Names, types and ranges of its features."""
    trusted_types: Sequence[str]
    """Types that a ``.skops`` file may make beside those that skops trusts."""
    example: Mapping[str, Any]
    """Features asked once before it is registered."""
    metadata: Mapping[str, Any]
    """More to keep with it."""


class RecentOptions(TypedDict, total=False):
    """Which predictions to list; all of them may be left out."""

    limit: int
    """Most entries; 100."""
    before: int
    """Only those before this ``sequence``: the next page."""
    model: str
    """Only those that were asked of this registered model."""
    model_version: str
    """Only those that this version answered."""
    status: Literal["success", "error"]
    """Only those that ended so."""
    label: str
    """Only those with this most probable class."""
    min_diff: float
    """Only those whose challenger differed by at least this."""
    segment: str
    """Only those of one segment, as ``country=SE``."""
    request_id: str
    """Only this one."""


def predict(
    features: Mapping[str, Any],
    *,
    model: str,
    wait_shadow_s: float,
    request_id: str | None,
    segment_key: str | None,
) -> Call[PredictAnswered]:
    """Return the request for one prediction."""
    body = _given(
        {"features": given.features(features), "model": model, "segment_key": segment_key}
    )
    path = _path("/predict", wait_shadow_s=wait_shadow_s or None)
    headers = {} if request_id is None else {ID_HEADER: request_id}
    return Call("POST", path, reader(PredictAnswered), body, headers)


def predict_batch(
    rows: Sequence[Mapping[str, Any]], *, model: str, segment_keys: Sequence[str | None] | None
) -> Call[BatchAnswered]:
    """Return the request for several predictions.

    Raises:
        InvalidValue: There is not one segment key for each row.
    """
    asked = [{"features": given.features(each)} for each in given.many("rows", rows)]
    if segment_keys is not None:
        keys = given.many("segment_keys", segment_keys)
        if len(keys) != len(asked):
            raise InvalidValue(
                "segment_keys", f"{counted(len(keys), 'key')} for {counted(len(asked), 'row')}",
                "one for each row, None where it has none",
            )  # fmt: skip
        asked = [_given({**row, "segment_key": key}) for row, key in zip(asked, keys, strict=True)]
    body = {"rows": asked, "model": model}
    return Call("POST", f"{BASE}/predict/batch", reader(BatchAnswered), body)


def tell_labels(labels: Mapping[str, str | float]) -> Call[LabelsAnswered]:
    """Return the request that tells the truth about predictions."""
    body = {"labels": [{"request_id": name, "label": each} for name, each in labels.items()]}
    return Call("POST", f"{BASE}/labels", reader(LabelsAnswered), body)


def audit_summary(model: str) -> Call[SummaryAnswered]:
    """Return the request for the aggregates of the latest predictions."""
    return Call("GET", _path("/audit/summary", model=model), reader(SummaryAnswered))


def audit_recent(query: Mapping[str, Any]) -> Call[list[AuditEntry]]:
    """Return the request for the latest predictions."""
    given.known_options(query, RecentOptions)
    return Call("GET", _path("/audit/recent", **query), _many(AuditEntry))


def audit_record(request_id: str) -> Call[RecordAnswered]:
    """Return the request for everything that is kept of one prediction."""
    return Call("GET", f"{BASE}/audit/records/{_name(request_id)}", reader(RecordAnswered))


def erase_record(request_id: str, reason: str) -> Call[EraseAnswered]:
    """Return the request that removes what is kept of one prediction."""
    path = f"{BASE}/audit/records/{_name(request_id)}"
    return Call("DELETE", path, reader(EraseAnswered), {"reason": reason}, is_once=True)


def audit_verification() -> Call[VerificationAnswered]:
    """Return the request that has the whole log checked."""
    return Call("GET", f"{BASE}/audit/verification", reader(VerificationAnswered))


def registry(model: str) -> Call[RegistryAnswered]:
    """Return the request for who answers and who sees copies."""
    return Call("GET", _path("/registry", model=model), reader(RegistryAnswered))


def inference_health() -> Call[InferenceHealth]:
    """Return the request for how every part does."""
    return Call("GET", f"{BASE}/health", reader(InferenceHealth))


def versions(model: str | None) -> Call[VersionsAnswered]:
    """Return the request for all versions."""
    return Call("GET", _path("/versions", model=model), reader(VersionsAnswered))


def register_version(source: str, options: RegisterOptions) -> Call[VersionAnswered]:
    """Return the request that registers files on the server."""
    given.known_options(options, RegisterOptions)
    body = _given({"source": source, **options})
    return Call("POST", f"{BASE}/versions", reader(VersionAnswered), body, is_once=True)


def move_alias(
    alias: str, number: int | None, *, expected: int | None, model: str, reason: str
) -> Call[AliasMoveAnswered]:
    """Return the request that sets or takes away an alias."""
    body = {"number": number, "expected": expected, "model": model, "reason": reason}
    path = f"{BASE}/versions/aliases/{_name(alias)}"
    return Call("PUT", path, reader(AliasMoveAnswered), body, is_once=True)


def version_history(model: str | None, limit: int) -> Call[list[AliasMoveAnswered]]:
    """Return the request for how aliases moved."""
    return Call(
        "GET", _path("/versions/history", model=model, limit=limit), _many(AliasMoveAnswered)
    )


def calibration(name: str) -> Call[CalibrationAnswered]:
    """Return the request for the curves of a version's evaluation."""
    return Call("GET", f"{BASE}/versions/{_name(name)}/calibration", reader(CalibrationAnswered))


def rollouts(model: str | None) -> Call[RolloutsAnswered]:
    """Return the request for all rollouts."""
    return Call("GET", _path("/rollouts", model=model), reader(RolloutsAnswered))


def rollout(rollout_id: str) -> Call[RolloutStatus]:
    """Return the request for one rollout."""
    return Call("GET", f"{BASE}/rollouts/{_name(rollout_id)}", reader(RolloutStatus))


def start_rollout(
    challenger: str, *, model: str, plan: Mapping[str, Any] | None, dry_run: bool, reason: str
) -> Call[RolloutStatus]:
    """Return the request that begins to try a version."""
    body = {
        "challenger": challenger,
        "model": model,
        "plan": None if plan is None else dict(plan),
        "dry_run": dry_run,
        "reason": reason,
    }
    return Call("POST", f"{BASE}/rollouts", reader(RolloutStatus), body, is_once=True)


def move_rollout(rollout_id: str, verb: str, reason: str, **further: bool) -> Call[RolloutStatus]:
    """Return the request that pauses, resumes, promotes, finishes or aborts."""
    path = f"{BASE}/rollouts/{_name(rollout_id)}/{verb}"
    body: dict[str, Any] = {"reason": reason, **further}
    return Call("POST", path, reader(RolloutStatus), body, is_once=True)


def drift(model: str) -> Call[DriftAnswered]:
    """Return the request for the latest comparison."""
    return Call("GET", _path("/drift", model=model), reader(DriftAnswered))


def drift_history(model: str, feature: str | None, limit: int) -> Call[list[DriftPoint]]:
    """Return the request for earlier comparisons."""
    path = _path("/drift/history", model=model, feature=feature, limit=limit)
    return Call("GET", path, _many(DriftPoint))


def run_drift(model: str) -> Call[DriftReportAnswered]:
    """Return the request for a comparison now."""
    path = _path("/drift/run", model=model)
    return Call("POST", path, reader(DriftReportAnswered), is_once=True)


def drift_references(model: str | None) -> Call[list[ReferenceAnswered]]:
    """Return the request for all references, or those of one model."""
    return Call(
        "GET",
        _path("/drift/references", model=model),
        lambda answer: reader(ReferencesAnswered)(answer).references,
    )


def make_reference(
    *, model: str, last_n: int | None, since_s: float | None, until_s: float | None
) -> Call[ReferenceAnswered]:
    """Return the request that freezes a span of predictions."""
    body = _given({"model": model, "last_n": last_n, "since_s": since_s, "until_s": until_s})
    path = f"{BASE}/drift/references"
    return Call("POST", path, reader(ReferenceAnswered), body, is_once=True)


def alerts(limit: int) -> Call[AlertsAnswered]:
    """Return the request for what fires."""
    return Call("GET", _path("/alerts", limit=limit), reader(AlertsAnswered))


def fleet() -> Call[FleetAnswered]:
    """Return the request for the servers of one database."""
    return Call("GET", "/v1/fleet", reader(FleetAnswered))


def _many(model: type[M]) -> Callable[[httpx.Response], list[M]]:
    return lambda response: [model.model_validate(each) for each in orjson.loads(response.content)]


def _path(path: str, **query: Any) -> str:
    asked = _given(query)
    return f"{BASE}{path}?{urlencode(asked)}" if asked else f"{BASE}{path}"


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _name(text: str) -> str:
    return quote(text, safe="")
