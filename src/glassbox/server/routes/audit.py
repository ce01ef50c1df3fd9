"""``/api/v2/models``: what is kept of predictions, in sum and one by one; registry, health."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Administering, Observing
from glassbox.server.answers.responses import json_list, json_response
from glassbox.server.answers.rollout_serving import Model, Side, actor_of, tagged_answer
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.audit import (
    AuditEntry,
    EraseAnswered,
    EraseAsked,
    RecentQuery,
    RecordAnswered,
    SummaryAnswered,
    VerificationAnswered,
)
from glassbox.wire.inference import (
    InferenceHealth,
    RegistryAnswered,
)

router = APIRouter(
    prefix="/api/v2/models",
    tags=["audit"],
    responses=PROBLEMS,
)


@router.get("/audit/summary", response_model=SummaryAnswered)
def summary(request: Request, _caller: Observing, side: Side, model: Model = "default") -> Response:
    """Return exact aggregates over the latest predictions; 304 where nothing has changed."""
    return tagged_answer(request, side.looks.summary(model))


@router.get("/audit/recent", response_model=list[AuditEntry])
def recent(_caller: Observing, side: Side, query: Annotated[RecentQuery, Query()]) -> Response:
    """Return predictions, newest first; `before` is the lowest `sequence` seen."""
    return json_list(side.looks.recent(query))


@router.get("/audit/records/{request_id}", response_model=RecordAnswered)
def record(request_id: str, _caller: Observing, side: Side) -> Response:
    """Return everything that is kept of one prediction."""
    return json_response(side.looks.record(request_id))


@router.delete("/audit/records/{request_id}", response_model=EraseAnswered)
def erase(request_id: str, asked: EraseAsked, caller: Administering, side: Side) -> Response:
    """Remove what is kept of one prediction; its place in the log stays, and says who and why."""
    n_events = side.store.erase(request_id, actor=actor_of(caller), reason=asked.reason)
    side.ring.erase(request_id)
    return json_response(EraseAnswered(request_id=request_id, erased_events=n_events))


@router.get("/audit/verification", response_model=VerificationAnswered)
def verification(_caller: Observing, side: Side) -> Response:
    """Read the whole log and say whether every byte is as it was written."""
    return json_response(side.looks.verification())


@router.get("/registry", response_model=RegistryAnswered)
def registry(
    request: Request, _caller: Observing, side: Side, model: Model = "default"
) -> Response:
    """Return which versions there are, who answers and who sees copies."""
    return tagged_answer(request, side.looks.registry(model))


@router.get("/health", response_model=InferenceHealth)
def health(_caller: Observing, side: Side) -> Response:
    """Return how every part does; 200 also where a challenger fails, which hurts nobody."""
    return json_response(side.looks.health())
