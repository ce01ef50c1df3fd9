"""``POST /v1/chat/completions``: OpenAI's chat, with the model's internals beside it."""

import secrets

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.chatting import Chatting
from glassbox.server.answers.responses import answer
from glassbox.server.concurrency.event_stream import EVENT_TYPE
from glassbox.server.errors.refusals import OPENAI_ERRORS
from glassbox.server.serving import Served
from glassbox.server.translation.speech import Terms
from glassbox.wire.openai_chat import ChatAsked, ChatCompletion

router = APIRouter(tags=["text"])


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses={200: {"model": ChatCompletion, "content": {EVENT_TYPE: {}}}, **OPENAI_ERRORS},
)
async def chat(
    http: Request,
    asked: ChatAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Answer a conversation; with `stream`, as server-sent events."""
    work = Chatting(serving.speaker, asked, f"chatcmpl-{secrets.token_hex(12)}")
    terms = Terms(caller.client, deadline_s)
    return await answer(http, serving, guards, work, terms, stream=bool(asked.stream))
