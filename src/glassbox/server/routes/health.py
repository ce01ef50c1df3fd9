"""``/livez``, ``/readyz`` and ``/metrics``: what machines ask about the server."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from glassbox.server.access import require
from glassbox.server.metrics import CONTENT_TYPE
from glassbox.server.refusals import not_ready
from glassbox.server.serving import LOADING_RETRY_S, Guarded
from glassbox.wire.health import HealthAnswered

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> HealthAnswered:
    """Return 200 as long as the process answers."""
    return HealthAnswered(status="alive")


@router.get("/readyz")
async def readyz(guards: Guarded) -> HealthAnswered:
    """Return 200 while requests for the model are taken, else 503."""
    lifecycle = guards.lifecycle
    if not lifecycle.is_ready:
        detail = lifecycle.failure or f"The server is {lifecycle.stage}."
        raise not_ready(detail, LOADING_RETRY_S)
    return HealthAnswered(status="ready")


@router.get("/metrics", dependencies=[Depends(require("observe"))], response_class=Response)
async def metrics(guards: Guarded) -> Response:
    """Return the counters in Prometheus's text format."""
    return Response(guards.metrics.text(), media_type=CONTENT_TYPE)
