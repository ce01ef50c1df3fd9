"""What Ray's HTTP proxies put around every request: errors in our form, one request id.

A proxy answers by itself when a replica went away, when none is there and when too many wait: as
plain text, or with a bare 500. Clients of Glassbox read problem+json. Runs in Ray's proxies.
"""

from typing import Final

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassbox.server.errors.refusals import LOST_CODE, Refusal
from glassbox.server.errors.statuses import refusal_answered
from glassbox.wire.headers import ID_HEADER

LOST: Final = (
    "The replica that had the request went away before it answered. Its work is not "
    "acknowledged: ask again."
)
ABSENT: Final = "No replica can take the request now; the cluster is starting or full. Try again."
UNKNOWN: Final = "Nothing is deployed here under this path."
LATE: Final = "No answer within the proxy's request_timeout_s."

OWN: Final = "/-/"
"""Paths below this one are Ray's own: health and routes."""

_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    404: ("no-such-route", UNKNOWN),
    408: ("deadline-exceeded", LATE),
    429: ("not-ready", ABSENT),
    503: ("not-ready", ABSENT),
}
"""Statuses that a proxy answers with, in plain text: our code, and what to do."""

_RETRY: Final = {"retry-after": "1"}


def middlewares() -> list[Middleware]:
    """Return what Ray's proxies are to put around every request."""
    return [Middleware(ProxyFace)]


class ProxyFace:
    """Middleware around one of Ray's proxies.

    Args:
        app: The proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; what the proxy answers by itself is said in our form."""
        if scope["type"] != "http" or scope["path"].startswith(OWN):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        await self._app(scope, receive, answer)
        if answer.refusal is None and not answer.is_begun:
            answer.refusal = Refusal(503, LOST, code=LOST_CODE, headers=_RETRY)
        if answer.refusal is not None:
            # Ray has named the request by now, where the caller had not.
            name = Request(scope).headers.get(ID_HEADER, "-")
            request = Request({**scope, "state": {"request_id": name}})
            response = refusal_answered(request, answer.refusal)
            response.headers[ID_HEADER] = name
            await response(scope, receive, send)


class _Answer:
    """Hands an answer's messages on, and keeps back one that is the proxy's own."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_begun = False
        self.refusal: Refusal | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            ids = [value for name, value in headers if name.lower() == ID_HEADER.encode()]
            self.refusal = _proxy_refusal(message["status"], headers)
            if self.refusal is None:
                self.is_begun = True
                # Ray's proxy and Glassbox's entrance have each named the request, alike.
                message = {**message, "headers": _once(headers, ids)}
        if self.refusal is None:
            await self._send(message)


def _once(headers: list[tuple[bytes, bytes]], ids: list[bytes]) -> list[tuple[bytes, bytes]]:
    name = ID_HEADER.encode()
    kept = [each for each in headers if each[0].lower() != name]
    # The first is that of the app, which may have given the request another name.
    return [*kept, *([(name, ids[0])] if ids else [])]


def _proxy_refusal(status: int, headers: list[tuple[bytes, bytes]]) -> Refusal | None:
    """Return what a proxy's own answer says; None for the app's, which is never plain text."""
    found = {name.lower(): value for name, value in headers}
    if status not in _PROBLEMS or not found.get(b"content-type", b"").startswith(b"text/plain"):
        return None
    code, detail = _PROBLEMS[status]
    asked = found.get(b"retry-after")
    wait = {"retry-after": asked.decode("latin-1")} if asked else _RETRY
    return Refusal(status, detail, code=code, headers=wait if status in (429, 503) else {})
