"""``/api/v2/models/rollouts``: start, watch, hold, promote and abort a rollout."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.rollout.decisions.status import RolloutBrief
from glassbox.server.access.dependencies import Administering, Observing
from glassbox.server.answers.responses import json_response
from glassbox.server.answers.rollout_serving import Side, actor_of, tagged_answer
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.rollouts import (
    PromoteAsked,
    RolloutAsked,
    RolloutsAnswered,
    RolloutStatus,
    VerbAsked,
)

router = APIRouter(
    prefix="/api/v2/models/rollouts",
    tags=["rollouts"],
    responses=PROBLEMS,
)


@router.get("", response_model=RolloutsAnswered)
def rollouts(
    request: Request, _caller: Observing, side: Side, model: str | None = None
) -> Response:
    """Return the rollout under way, gate by gate, and all earlier ones in short."""
    return tagged_answer(request, side.looks.rollouts(model))


@router.get("/{rollout_id}", response_model=RolloutStatus)
def rollout(rollout_id: str, _caller: Observing, side: Side) -> Response:
    """Return one rollout in full: why it did what it did."""
    return json_response(side.looks.rollout(rollout_id))


@router.post("", response_model=RolloutStatus, status_code=201)
def start(asked: RolloutAsked, caller: Administering, side: Side) -> Response:
    """Begin to try a version beside the champion."""
    rollout_id = side.start_rollout(asked, actor_of(caller))
    return json_response(side.looks.rollout(rollout_id), 201)


@router.post("/{rollout_id}/pause", response_model=RolloutStatus)
def pause(rollout_id: str, asked: VerbAsked, caller: Administering, side: Side) -> Response:
    """Hold a rollout where it is; a breach of a gate still ends it."""
    return _done(side.controller.pause, rollout_id, asked, caller, side)


@router.post("/{rollout_id}/resume", response_model=RolloutStatus)
def resume(rollout_id: str, asked: VerbAsked, caller: Administering, side: Side) -> Response:
    """Let a held rollout go on."""
    return _done(side.controller.resume, rollout_id, asked, caller, side)


@router.post("/{rollout_id}/promote", response_model=RolloutStatus)
def promote(rollout_id: str, asked: PromoteAsked, caller: Administering, side: Side) -> Response:
    """Confirm a rollout that waits, or with `force` promote in spite of doubt."""
    verb = partial(side.controller.promote, force=asked.force)
    return _done(verb, rollout_id, asked, caller, side)


@router.post("/{rollout_id}/finish", response_model=RolloutStatus)
def finish(rollout_id: str, asked: VerbAsked, caller: Administering, side: Side) -> Response:
    """End the bake of a rollout: its challenger stays champion."""
    return _done(side.controller.finish, rollout_id, asked, caller, side)


@router.post("/{rollout_id}/abort", response_model=RolloutStatus)
def abort(rollout_id: str, asked: VerbAsked, caller: Administering, side: Side) -> Response:
    """End a rollout: the champion answers all requests again."""
    return _done(side.controller.abort, rollout_id, asked, caller, side)


def _done(
    verb: Callable[..., RolloutBrief],
    rollout_id: str,
    asked: VerbAsked,
    caller: Administering,
    side: Side,
) -> Response:
    said = verb(rollout_id, actor=actor_of(caller), reason=asked.reason or "by hand over HTTP")
    side.view.refresh(said.model)
    return json_response(side.looks.rollout(rollout_id))
