"""``/api/v2/models/drift``: what comes now against a frozen reference."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from glassbox.rollout.assembly.shown_drift import reference_shown, report_shown
from glassbox.server.access.dependencies import Administering, Deadline, Observing
from glassbox.server.answers.responses import json_list, json_response
from glassbox.server.answers.rollout_serving import Model, Side, actor_of, tagged_answer
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.drift import (
    DriftAnswered,
    DriftPoint,
    DriftReportAnswered,
    ReferenceAnswered,
    ReferenceAsked,
    ReferencesAnswered,
)

router = APIRouter(
    prefix="/api/v2/models/drift",
    tags=["drift"],
    responses=PROBLEMS,
)


@router.get("", response_model=DriftAnswered)
def drift(request: Request, _caller: Observing, side: Side, model: Model = "default") -> Response:
    """Return the latest comparison and what it was made against."""
    return tagged_answer(request, side.looks.drift(model))


@router.get("/history", response_model=list[DriftPoint])
def history(
    _caller: Observing,
    side: Side,
    feature: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    model: Model = "default",
) -> Response:
    """Return how far features lay from the reference at each comparison, newest first."""
    return json_list(side.looks.drift_history(model, feature, limit))


@router.post("/run", response_model=DriftReportAnswered)
def run(
    _caller: Administering, side: Side, deadline_s: Deadline, model: Model = "default"
) -> Response:
    """Compare now."""
    return json_response(report_shown(side.drift.run(model, within_s=deadline_s)))


@router.get("/references", response_model=ReferencesAnswered)
def references(
    _caller: Observing,
    side: Side,
    model: Annotated[str | None, Query(max_length=200, description="Registered model.")] = None,
) -> Response:
    """Return the references, or those of one model, newest first."""
    return json_response(ReferencesAnswered(references=side.looks.references(model)))


@router.post("/references", response_model=ReferenceAnswered, status_code=201)
def make_reference(
    asked: ReferenceAsked, caller: Administering, side: Side, deadline_s: Deadline
) -> Response:
    """Freeze a span of predictions as what later ones are compared with."""
    made = side.drift.freeze(actor_of(caller), within_s=deadline_s, **asked.model_dump())
    return json_response(reference_shown(made), 201)
