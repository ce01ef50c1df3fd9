"""``POST /v1/states``: hidden states of given texts, as JSON or safetensors."""

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.errors import InvalidValue
from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.responses import large_response
from glassbox.server.answers.state_reading import StateReading, states_as_safetensors
from glassbox.server.concurrency.tickets import Running
from glassbox.server.concurrency.waiting import unless_gone
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.serving import Served
from glassbox.server.translation.speech import Terms
from glassbox.server.translation.state_sizes import MAX_JSON_STATES_BYTES, MAX_STATES_BYTES
from glassbox.wire.states import (
    SAFETENSORS_TYPE,
    SAFETENSORS_TYPES,
    StatesAsked,
    StatesListAnswered,
)

router = APIRouter(tags=["internals"])


@router.post(
    "/v1/states",
    response_model=None,
    responses={
        200: {"model": StatesListAnswered, "content": {SAFETENSORS_TYPE: {}}},
        **PROBLEMS,
    },
)
async def states(
    http: Request,
    asked: StatesAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Read texts and return their hidden states; `Accept` decides between JSON and safetensors."""
    as_tensors = wants_safetensors(http.headers.get("accept", ""))
    if "none" in asked.capture.pooling and not as_tensors and not asked.raw_as_json:
        raise InvalidValue(
            "pooling",
            "none",
            "mean, last, norm as JSON",
            remedy=f"Ask for safetensors (Accept: {SAFETENSORS_TYPE}), or set raw_as_json.",
        )
    most_bytes = MAX_STATES_BYTES if as_tensors else MAX_JSON_STATES_BYTES
    reading = StateReading(serving.speaker, asked, most_bytes=most_bytes)
    async with Running(serving.engine, guards.metrics) as running:
        work = reading.read(running, Terms(caller.client, deadline_s))
        answer = await unless_gone(http.receive, work)
    if as_tensors:
        return await large_response(partial(states_as_safetensors, answer), SAFETENSORS_TYPE)
    return await large_response(answer.to_json, "application/json")


def wants_safetensors(accept: str) -> bool:
    """Whether an ``Accept`` header asks for safetensors before JSON."""
    ranked = []
    for number, each in enumerate(accept.split(",")):
        kind, _, rest = each.partition(";")
        quality = rest.replace(" ", "").partition("q=")[2].partition(";")[0]
        ranked.append((-_quality(quality), number, kind.strip().lower()))
    for _, _, kind in sorted(ranked):
        if kind in SAFETENSORS_TYPES:
            return True
        if kind in ("application/json", "application/*", "*/*"):
            return False
    return False


def _quality(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
