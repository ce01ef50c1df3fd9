"""``POST /v1/lens``: what each layer would have said next."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.answers.lens_reading import LensReading
from glassbox.server.answers.responses import large_response
from glassbox.server.concurrency.slow_work import slow_work
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
    deadline_s: Deadline,
) -> Response:
    """Apply the model's own final norm and unembedding to every layer, along some tokens."""
    reading = LensReading(serving.speaker, asked)
    answer = await slow_work(http, caller.client, deadline_s, lambda _: reading.read())
    return await large_response(answer.to_json, "application/json")
