"""``/api/v2/models/versions``: versions, aliases, their history, a version's curves."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from glassbox.rollout.assembly.shown import versions_shown
from glassbox.server.access.dependencies import Administering, Observing
from glassbox.server.answers.responses import json_list, json_response
from glassbox.server.answers.rollout_serving import KeptAnswers, Side, actor_of
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.versions import (
    AliasAsked,
    AliasMoveAnswered,
    CalibrationAnswered,
    RegisterAsked,
    VersionAnswered,
    VersionsAnswered,
)

router = APIRouter(
    prefix="/api/v2/models/versions",
    tags=["versions"],
    responses=PROBLEMS,
)

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("", response_model=VersionsAnswered)
def versions(
    request: Request, _caller: Observing, side: Side, model: str | None = None
) -> Response:
    """Return all versions and what their aliases say."""
    # With ten thousand versions it takes a second to write down, and pages ask every few.
    kept, snapshot = request.app.state.versions, side.registry.snapshot()
    assert isinstance(kept, KeptAnswers)
    return kept.get(snapshot, model, partial(versions_shown, snapshot, model)).answer(request)


@router.post("", response_model=VersionAnswered, status_code=201)
def register(asked: RegisterAsked, caller: Administering, side: Side) -> Response:
    """Register a version of files on the server; the same content again is the same version."""
    version = side.register(asked, actor_of(caller))
    return json_response(side.looks.version(version), 201)


@router.put("/aliases/{alias}", response_model=AliasMoveAnswered)
def move_alias(alias: str, asked: AliasAsked, caller: Administering, side: Side) -> Response:
    """Set or take away an alias, if it is still where the caller believes it to be."""
    move = side.registry.move_alias(
        asked.model,
        alias,
        asked.number,
        expected=asked.expected,
        actor=actor_of(caller),
        reason=asked.reason or "by hand over HTTP",
    )
    side.view.refresh(asked.model)
    return json_response(side.looks.move(move))


@router.get("/history", response_model=list[AliasMoveAnswered])
def history(
    _caller: Observing, side: Side, model: str | None = None, limit: Limit = 100
) -> Response:
    """Return how aliases moved, newest first: who, when, why and on what evidence."""
    return json_list(side.looks.move(each) for each in side.registry.history(model, limit))


@router.get("/{name}/calibration", response_model=CalibrationAnswered)
def calibration(name: str, _caller: Observing, side: Side) -> Response:
    """Return the curves of the evaluation that a version comes from."""
    return json_response(side.looks.calibration(name))
