"""``GET /ping`` and ``POST /invocations``: what SageMaker asks of a container."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.engine.requests import Request as EngineRequest
from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.responses import large_response
from glassbox.server.concurrency.tickets import Running
from glassbox.server.concurrency.waiting import unless_gone
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.sagemaker.invocations import (
    Invocation,
    chosen_adapter,
    echoed,
    invocation,
    invocation_answered,
)
from glassbox.server.sagemaker.stream import LineStream, lines
from glassbox.server.serving import Served
from glassbox.server.translation.speech import check_ended
from glassbox.wire.invocation_attributes import (
    ADAPTER,
    ATTRIBUTES_HEADER,
    INVOCATIONS,
    read_attributes,
)
from glassbox.wire.sagemaker import (
    NDJSON_TYPE,
    InvocationAnswered,
    InvocationAsked,
    PingAnswered,
)

router = APIRouter(tags=["sagemaker"])


@router.get("/ping", responses=PROBLEMS)
async def ping(_serving: Served) -> PingAnswered:
    """Return 200 while requests are taken, else 503."""
    return PingAnswered()


@router.post(
    INVOCATIONS,
    response_model=None,
    responses={
        200: {"model": InvocationAnswered, "content": {NDJSON_TYPE: {}}},
        **PROBLEMS,
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
    named = read_attributes(http.headers.get(ATTRIBUTES_HEADER, "")).get(ADAPTER)
    prepared: list[Invocation] = []

    def prepare() -> list[EngineRequest]:
        adapter = chosen_adapter(asked, speaker, named)
        prepared.append(
            invocation(
                asked,
                speaker.prompter,
                speaker.engine.info,
                adapter=adapter,
                client=caller.client,
                deadline_s=deadline_s,
            )
        )
        return [prepared[0].request]

    running = Running(serving.engine, guards.metrics)
    is_stream = asked.parameters.stream or _wants_lines(http.headers.get("accept", ""))
    await running.submit(prepare, stream=is_stream)
    if is_stream:
        digest = speaker.digest_of(prepared[0].request.adapter)
        headers = {ATTRIBUTES_HEADER: echoed(serving.bundle_digest, digest)}
        return LineStream(lines(prepared[0], running), running.close, headers)

    async def work() -> InvocationAnswered:
        (answer,) = await running.answers()
        return invocation_answered(prepared[0], check_ended(answer))

    async with running:
        answer = await unless_gone(http.receive, work())
    response = await large_response(answer.to_json, "application/json")
    response.headers[ATTRIBUTES_HEADER] = echoed(serving.bundle_digest, answer.adapter_digest)
    return response


def _wants_lines(accept: str) -> bool:
    kinds = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return kinds[0] == NDJSON_TYPE
