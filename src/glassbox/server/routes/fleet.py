"""``GET /v1/fleet``: the servers that share this one's database."""

from fastapi import APIRouter
from starlette.responses import Response

from glassbox.errors import UnknownName
from glassbox.server.access.dependencies import Observing
from glassbox.server.answers.responses import json_response
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.fleet.view import fleet_shown
from glassbox.server.serving import Served
from glassbox.wire.fleet import FleetAnswered

router = APIRouter(
    prefix="/v1/fleet",
    tags=["fleet"],
    responses=PROBLEMS,
)


@router.get("", response_model=FleetAnswered)
def fleet(_caller: Observing, serving: Served) -> Response:
    """Return every server, what it sees, what all of them counted, and where they differ."""
    member = serving.fleet
    if member is None:
        raise UnknownName(
            "fleet", "this server", remedy="It was started without a database: it knows no others."
        )
    return json_response(fleet_shown(member.store.fleet(), member.id))
