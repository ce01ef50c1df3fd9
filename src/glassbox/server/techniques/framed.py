"""Frames over HTTP: large bodies in, large answers out, neither held twice.

A body is read into one piece of memory of its announced size, and tensors are views into it. An
answer is sent from where its tensors are, in pieces small enough that the socket's own buffer never
holds much more. Knows no route.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from anyio import CapacityLimiter
from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from glassbox.server.concurrency.waiting import until_gone
from glassbox.server.errors.refusals import Refusal
from glassbox.techniques.calls import Packed
from glassbox.techniques.carrying.calls_and_runs import pieces_of
from glassbox.techniques.packed.framing import frame
from glassbox.wire.techniques import RUN_TYPE

LARGE_BYTES: Final = 2**20
"""Bodies above this are read a few at a time."""


async def read_frame(request: Request, large_bodies: CapacityLimiter) -> bytearray:
    """Return the body of a request.

    Args:
        request: It is on its way.
        large_bodies: How many large ones are read at a time.

    Raises:
        Refusal: 415 where it is no frame.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != RUN_TYPE:
        raise Refusal(
            415,
            f"The body has content-type {kind[:80]!r}; a call travels as {RUN_TYPE}, which "
            "InterpClient writes.",
            headers={"accept": RUN_TYPE},
        )
    announced = request.headers.get("content-length", "")
    n_bytes = int(announced) if announced.isascii() and announced.isdigit() else 0
    if n_bytes <= LARGE_BYTES and announced:
        return await _read(request, n_bytes)
    async with large_bodies:
        return await _read(request, n_bytes)


async def _read(request: Request, n_bytes: int) -> bytearray:
    body, at = bytearray(n_bytes), 0
    async for chunk in request.stream():
        # One that is longer than announced, or of unknown length, makes room for itself.
        body[at : at + len(chunk)] = chunk
        at += len(chunk)
    del body[at:]
    return body


class Framed(Response):
    """A packed value as an answer.

    Args:
        packed: What to send; not copied.
        on_sent: Called once all of it was handed to the connection, and the client still there.
    """

    media_type = RUN_TYPE

    def __init__(self, packed: Packed, on_sent: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._parts = frame(packed)
        self.headers["content-length"] = str(sum(map(len, self._parts)))
        self.headers["cache-control"] = "no-store"
        self._on_sent = on_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, piece by piece; stop where the client goes away."""
        del scope
        gone = asyncio.create_task(until_gone(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            pieces = list(pieces_of(self._parts))
            for number, piece in enumerate(pieces):
                if gone.done():
                    return
                is_last = number == len(pieces) - 1
                if is_last:
                    # The connection counts as gone once its last piece was sent.
                    gone.cancel()
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            self._on_sent()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
