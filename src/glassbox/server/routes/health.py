"""``/livez``, ``/readyz`` and ``/metrics``: what machines ask about the server."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import require
from glassbox.server.access.guards import Guarded
from glassbox.server.errors.refusals import PROBLEMS, not_ready
from glassbox.server.serving import LOADING_RETRY_S, Serving
from glassbox.server.techniques.entries import Failing
from glassbox.server.telemetry.metrics import CONTENT_TYPE
from glassbox.wire.health import HealthAnswered

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> HealthAnswered:
    """Return 200 as long as the process answers."""
    return HealthAnswered(status="alive")


@router.get("/readyz", responses=PROBLEMS)
async def readyz(http: Request, guards: Guarded) -> HealthAnswered:
    """Return 200 while requests for the model are taken, else 503."""
    lifecycle = guards.lifecycle
    if not lifecycle.is_ready:
        detail = lifecycle.failure or f"The server is {lifecycle.stage}."
        raise not_ready(detail, LOADING_RETRY_S)
    serving = http.app.state.serving
    engine: object = serving.engine if isinstance(serving, Serving) else None
    # A model that a function has changed for good, or that has failed, answers nobody.
    if isinstance(engine, Failing) and engine.failure:
        raise not_ready(engine.failure, LOADING_RETRY_S)
    return HealthAnswered(status="ready")


@router.get(
    "/metrics",
    dependencies=[Depends(require("observe"))],
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {}}}, **PROBLEMS},
)
async def metrics(guards: Guarded) -> Response:
    """Return the counters in Prometheus's text format."""
    return Response(guards.metrics.text(), media_type=CONTENT_TYPE)
