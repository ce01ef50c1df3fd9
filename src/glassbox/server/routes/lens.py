"""``POST /v1/lens``: what each layer would have said next."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.lens_reading import LensReading
from glassbox.server.answers.responses import large_response
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.serving import Served
from glassbox.wire.lens import LensAnswered, LensAsked

router = APIRouter(tags=["internals"])


@router.post(
    "/v1/lens",
    response_model=None,
    responses={
        200: {"model": LensAnswered},
        **PROBLEMS,
    },
)
async def lens(
    http: Request,
    asked: LensAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Apply the model's own final norm and unembedding to every layer, along some tokens."""
    reading = LensReading(serving.speaker, asked)
    answer = await guards.slow_calls.run(
        http.receive, caller.client, deadline_s, lambda _: reading.read()
    )
    return await large_response(answer.to_json, "application/json")
