"""``GET /ping`` and ``POST /invocations``: what SageMaker asks of a container."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.engine.requests import Request as EngineRequest
from glassbox.server.access import Deadline, Predicting
from glassbox.server.answering import large_response
from glassbox.server.invocations import Invocation, invocation, invocation_answered
from glassbox.server.serving import Guarded, Served
from glassbox.server.speech import check_ended
from glassbox.server.tickets import Running
from glassbox.server.waiting import CLIENT_GONE, ClientGone, unless_gone
from glassbox.wire.problem import PROBLEM_TYPE, Problem
from glassbox.wire.sagemaker import InvocationAnswered, InvocationAsked, PingAnswered

router = APIRouter(tags=["sagemaker"])


@router.get("/ping")
async def ping(_serving: Served) -> PingAnswered:
    """Return 200 while requests are taken, else 503."""
    return PingAnswered()


@router.post(
    "/invocations",
    response_model=None,
    responses={
        200: {"model": InvocationAnswered},
        "4XX": {"model": Problem, "content": {PROBLEM_TYPE: {}}},
    },
)
async def invocations(
    http: Request,
    asked: InvocationAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Continue a prompt; return the text, its probabilities and the prompt's hidden states."""
    speaker = serving.speaker
    prepared: list[Invocation] = []

    def prepare() -> list[EngineRequest]:
        info = speaker.engine.info
        prepared.append(
            invocation(asked, speaker.prompter, info, client=caller.client, deadline_s=deadline_s)
        )
        return [prepared[0].request]

    async def work(running: Running) -> InvocationAnswered:
        await running.submit(prepare)
        (answer,) = await running.answers()
        return invocation_answered(prepared[0], check_ended(answer))

    async with Running(serving.engine, guards.metrics) as running:
        try:
            answer = await unless_gone(http.receive, work(running))
        except ClientGone:
            return Response(status_code=CLIENT_GONE)
    return await large_response(answer.to_json, "application/json")
