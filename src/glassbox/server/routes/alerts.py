"""``GET /api/v2/models/alerts``: which rules fire, and who was told."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from glassbox.server.access.dependencies import Observing
from glassbox.server.answers.responses import json_response
from glassbox.server.answers.rollout_serving import Side
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.alerts import AlertsAnswered

router = APIRouter(
    prefix="/api/v2/models/alerts",
    tags=["alerts"],
    responses=PROBLEMS,
)


@router.get("", response_model=AlertsAnswered)
def alerts(
    _caller: Observing, side: Side, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """Return the rules that fire and the latest messages."""
    return json_response(side.looks.alerts(limit))
