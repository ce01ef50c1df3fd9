"""``POST /v1/completions``: OpenAI's completions, with the model's internals beside them."""

import secrets

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.completing import Completing
from glassbox.server.answers.responses import answer
from glassbox.server.concurrency.event_stream import EVENT_TYPE
from glassbox.server.errors.refusals import OPENAI_ERRORS
from glassbox.server.serving import Served
from glassbox.server.translation.speech import Terms
from glassbox.wire.openai_completions import Completion, CompletionAsked

router = APIRouter(tags=["text"])


@router.post(
    "/v1/completions",
    response_model=None,
    responses={200: {"model": Completion, "content": {EVENT_TYPE: {}}}, **OPENAI_ERRORS},
)
async def completions(
    http: Request,
    asked: CompletionAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Continue prompts; with `stream`, as server-sent events."""
    work = Completing(serving.speaker, asked, f"cmpl-{secrets.token_hex(12)}")
    terms = Terms(caller.client, deadline_s)
    return await answer(http, serving, guards, work, terms, stream=bool(asked.stream))
