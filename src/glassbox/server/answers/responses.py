"""What all routes that write text do: submit, wait or stream, let go when nobody listens."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import anyio
from fastapi import Request
from starlette.responses import Response

from glassbox.server.access.guards import Guards
from glassbox.server.concurrency.event_stream import EventStream
from glassbox.server.concurrency.tickets import Running
from glassbox.server.concurrency.waiting import unless_gone
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Terms
from glassbox.wire.openai_sampling import SamplingAsked
from glassbox.wire.shapes import Answered


class Work(Protocol):
    """One request for text."""

    @property
    def asked(self) -> SamplingAsked:
        """What was asked for."""
        ...

    async def begin(self, running: Running, terms: Terms) -> None:
        """Hand it to the engine."""
        ...

    async def whole(self, running: Running) -> Answered:
        """Return the answer once all of it is there."""
        ...

    def events(self, running: Running) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events."""
        ...


async def answer(
    http: Request,
    serving: Serving,
    guards: Guards,
    work: Work,
    terms: Terms,
    *,
    stream: bool,
) -> Response:
    """Return the response to one request for text.

    Args:
        http: The HTTP request, its body read.
        serving: The model's side.
        guards: Counts what becomes of it.
        work: The request.
        terms: On whose behalf, and how long it may take.
        stream: Whether to send the text as it comes.

    Raises:
        GlassboxError: The request is refused or failed; not once a stream has begun.
    """
    span = guards.tracing.generation(http.scope, work.asked)
    running = Running(serving.engine, guards.metrics, span)
    await work.begin(running, terms)
    if stream:
        return EventStream(work.events(running), running.close)
    async with running:
        whole = await unless_gone(http.receive, work.whole(running))
    return await large_response(whole.to_json, "application/json")


async def large_response(content: Callable[[], bytes], media_type: str) -> Response:
    """Return an answer that takes a while to write down; the event loop does not wait for it."""
    return Response(await anyio.to_thread.run_sync(content), media_type=media_type)


def json_response(content: Answered, status: int = 200) -> Response:
    """Return an answer as JSON."""
    return Response(content.to_json(), status, media_type="application/json")


def json_list(contents: Iterable[Answered]) -> Response:
    """Return answers as one JSON list."""
    content = b"[" + b",".join(each.to_json() for each in contents) + b"]"
    return Response(content, media_type="application/json")
