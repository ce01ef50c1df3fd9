"""Server-sent events that end when the client goes away.

Source: WHATWG HTML, section 9.2 "Server-sent events"; the last event's data is ``[DONE]``, as
OpenAI's clients expect.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from glassbox.server.concurrency.waiting import until_gone
from glassbox.wire.shapes import Answered

EVENT_TYPE = "text/event-stream"
"""Media type of a stream of events."""

DONE = b"data: [DONE]\n\n"
"""Ends a stream."""


WAITING = b": waiting\n\n"
"""A comment, which clients pass over: proxies cut streams in which nothing comes for long."""


def event(content: Answered, *, no_usage: bool = False) -> bytes:
    """Return one answer as an event.

    Args:
        content: The answer.
        no_usage: Say ``"usage": null``, as OpenAI does in a stream that counts at its end.
    """
    shown = content.to_json()
    if no_usage:
        shown = shown[:-1] + b',"usage":null}'
    return b"data: " + shown + b"\n\n"


class EventStream(Response):
    """A response that is written while it comes about.

    Args:
        events: What to send, each whole.
        on_end: Called once at the end, also when the client has gone away before it.
        headers: More of them; None for none.
    """

    media_type = EVENT_TYPE

    def __init__(
        self,
        events: AsyncIterator[bytes],
        on_end: Callable[[], None],
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache", **(headers or {})})
        # The length is not known; the base class has put that of an empty body.
        del self.headers["content-length"]
        self._events = events
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; stop when the client goes away."""
        del scope
        try:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    await until_gone(receive)
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                await self._send(send)
                group.cancel_scope.cancel()
        finally:
            self._on_end()

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async with aclosing(self._events) as events:  # type: ignore[type-var]
            async for each in events:
                await send({"type": "http.response.body", "body": each, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
