"""Waiting for an answer while listening for the client going away. Knows no route."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

T = TypeVar("T")

CLIENT_GONE = 499
"""Status logged for a request whose client closed its connection. Source: nginx."""


class ClientGone(HTTPException):
    """The client closed its connection before the answer was there.

    The framework takes any other kind of error, where a body is read, for a body that is no JSON.
    """

    def __init__(self) -> None:
        super().__init__(CLIENT_GONE)


async def gone_answered(_request: Request, _error: Exception) -> Response:
    """Return the answer to a client that has gone: nobody reads it, its status is logged."""
    return Response(status_code=CLIENT_GONE)


async def until_gone(receive: Receive) -> None:
    """Return once the client has closed its connection."""
    with suppress(ClientGone):
        while (await receive())["type"] != "http.disconnect":
            pass


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what some work comes to; it is cancelled when the client goes away.

    Args:
        receive: Of the HTTP request, its body read.
        work: What is waited for.

    Raises:
        ClientGone: The client went away first.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(until_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
