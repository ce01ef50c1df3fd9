"""``GET /api/v2/models/events``: what changes, as server-sent events."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Observing
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.rollout_pulse import events
from glassbox.server.answers.rollout_serving import Side
from glassbox.server.concurrency.event_stream import EVENT_TYPE, EventStream
from glassbox.server.errors.refusals import PROBLEMS

router = APIRouter(
    prefix="/api/v2/models",
    tags=["audit"],
    responses=PROBLEMS,
)


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"content": {EVENT_TYPE: {}}}},
)
async def stream(request: Request, _caller: Observing, side: Side, guards: Guarded) -> Response:
    """Stream `summary`, `inference`, `rollout`, `drift`, `alert` and `heartbeat` as they come."""
    del request
    return EventStream(events(side.looks, lambda: guards.lifecycle.is_draining), lambda: None)
