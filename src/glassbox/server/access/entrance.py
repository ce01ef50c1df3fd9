"""The door that every request comes through: its name, its size, its type, its line in the log.

The log names method, route, status, time, key id and the error's code; bodies, prompts, texts and
keys are never in it. Knows no route.
"""

import asyncio
import hashlib
import importlib.metadata
import logging
import re
import secrets
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassbox.errors import CapacityError
from glassbox.server.access.dependencies import check_body, identify, signed_caller
from glassbox.server.access.guards import Guards
from glassbox.server.concurrency.waiting import CLIENT_GONE, ClientGone
from glassbox.server.errors.refusals import Refusal, not_ready
from glassbox.server.errors.statuses import refusal_answered
from glassbox.server.telemetry.tracing import QUIET, trace_id_of
from glassbox.wire.headers import ERROR_HEADER, ID_HEADER, REPLICA_HEADER, VERSION_HEADER
from glassbox.wire.techniques import RUN_TYPE

ACCESS_LOG: Final = "glassbox.access"
"""Name of the logger with a line for each request."""

VERSION: Final = importlib.metadata.version("glassbox-llm").encode()
"""Of this Glassbox; sent with answers, so that clients can tell when theirs is another."""

UNKNOWN_CALLER: Final = 401
"""Status of the answer to a stranger, who is told neither version nor server."""

FIRST_REFUSAL: Final = 400
"""Statuses from here on are errors, whose code the log names."""

OPEN: Final = QUIET - {"/metrics"}
"""Routes that ask for no key."""

BODY_S: Final = 60.0
"""Seconds in which a request's body must have come: 8 MiB take 1.1 megabits a second."""

MOST_OPENED: Final = 2**18
"""Brackets that may open in the body of one request, those within texts counted too.

A list of nothing is two bytes, and is read for a hundred times as long as two bytes of text, while
nobody else is answered. Source: 8 MiB of empty lists, two AVX2 cores shared with others: 7.7 s in
which `/livez` got no answer.
"""

BUSY_RETRY_S: Final = 1.0
"""When to come back where too many requests are being answered."""

JSON_TYPE: Final = "application/json"
"""The only type of a request's body, but for calls of functions."""

TECHNIQUES: Final = "/v1/techniques"
"""Routes below this one are for those who sign what they ask."""

LARGE_BODY_S: Final = 600.0
"""Seconds in which a function and its arguments must have come: 256 MiB take 3.6 megabits."""

_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_log = logging.getLogger(ACCESS_LOG)


class Entrance:
    """Middleware around the whole app.

    Args:
        app: The app.
        guards: Its limits and counters.
    """

    def __init__(self, app: ASGIApp, guards: Guards) -> None:
        self._app = app
        self._guards = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        given = Request(scope).headers.get(ID_HEADER, "")
        state["given_id"] = given if _HARMLESS.fullmatch(given) else None
        state["request_id"] = state["given_id"] or f"req-{secrets.token_hex(8)}"
        state["trace_id"] = trace_id_of(scope)
        status, code, started = 0, "-", time.monotonic()
        is_quiet = scope["path"] in QUIET

        async def named(message: Message) -> None:
            nonlocal status, code
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= FIRST_REFUSAL:
                    code = Headers(raw=message["headers"]).get(ERROR_HEADER, "-")
                # A route may have given the request another name, because its own was taken.
                name = state["request_id"].encode()
                message["headers"] = [*message["headers"], (ID_HEADER.encode(), name)]
                if status != UNKNOWN_CALLER and scope["path"] not in OPEN:
                    message["headers"] += [
                        (VERSION_HEADER.encode(), VERSION),
                        (REPLICA_HEADER.encode(), self._guards.replica_id.encode()),
                    ]
            await send(message)

        lifecycle = self._guards.lifecycle
        most = self._guards.limits.max_connections
        is_full = not is_quiet and lifecycle.n_running >= most
        if not is_quiet:
            lifecycle.enter()
        try:
            if is_full:
                await refusal_answered(Request(scope), _too_many(most))(scope, receive, named)
                return
            await self._app(scope, self._limited(scope, receive), named)
        finally:
            if not is_quiet:
                lifecycle.leave()
            # A client that went away before the answer began, as other servers log it.
            self._note(scope, status or CLIENT_GONE, code, time.monotonic() - started)

    def _note(self, scope: Scope, status: int, code: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._guards.metrics.answered(route, scope["method"], status, seconds)
        if scope["path"] not in QUIET:
            state = scope["state"]
            _log.info(
                "%s %s %d %.1f ms request=%s trace=%s key=%s error=%s",
                scope["method"],
                route,
                status,
                1000 * seconds,
                state["request_id"],
                state["trace_id"],
                state.get("key_id", "-"),
                code,
            )

    def _too_slow(self, seconds: float) -> Refusal:
        """Return why a body is not waited for any more."""
        if self._guards.lifecycle.is_over:
            return not_ready("The server ends, and the body has not come whole.", BUSY_RETRY_S)
        return Refusal(
            408,
            f"The body did not come within {seconds:g} s.",
            headers={"connection": "close"},
        )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that hands out a body only to whom it may, in size and time.

        Who asks is looked at before the first byte is read: strangers cannot make the server hold
        bodies.
        """
        is_signed = _is_signed(scope["path"])
        gate, request = self._guards.techniques, Request(scope)
        is_large = is_signed and gate is not None
        most = gate.max_body_bytes if is_large and gate else self._guards.limits.max_body_bytes
        body_s = LARGE_BODY_S if is_large else BODY_S
        digest = hashlib.sha256() if is_signed else None
        announced = request.headers.get("content-length", "0")
        n_announced = int(announced) if announced.isascii() and announced.isdigit() else 0
        taken = _Taken(most, is_json=not is_signed)
        is_whole, until_s = False, 0.0

        async def limited() -> Message:
            nonlocal is_whole, until_s
            if is_whole:
                return await receive()
            if not until_s:
                if n_announced > most:
                    raise _too_large(most)
                await _check_caller(request)
                _check_type(request.headers, is_signed=is_signed)
                until_s = asyncio.get_running_loop().time() + body_s
            try:
                async with self._guards.lifecycle.awaiting(until_s):
                    message = await receive()
            except TimeoutError as error:
                raise self._too_slow(body_s) from error
            if message["type"] == "http.disconnect" and _has_body(request.headers):
                raise ClientGone
            if message["type"] == "http.request":
                body = message.get("body", b"")
                is_whole = not message.get("more_body", False)
                taken.add(body)
                if digest is not None:
                    digest.update(body)
                    if is_whole:
                        check_body(request, digest.hexdigest())
            return message

        return limited


class _Taken:
    """What has come of a body so far.

    Args:
        most_bytes: How large it may be.
        is_json: Whether it is JSON, whose parts are counted.
    """

    def __init__(self, most_bytes: int, *, is_json: bool) -> None:
        self._most_bytes = most_bytes
        self._is_json = is_json
        self._n_bytes = 0
        self._n_opened = 0

    def add(self, body: bytes) -> None:
        """Count a further piece.

        Raises:
            Refusal: It is too large, or has too many parts.
        """
        self._n_bytes += len(body)
        if self._n_bytes > self._most_bytes:
            raise _too_large(self._most_bytes)
        if self._is_json:
            self._n_opened += body.count(b"[") + body.count(b"{")
            if self._n_opened > MOST_OPENED:
                raise _too_many_parts()


def _is_signed(path: str) -> bool:
    return path == TECHNIQUES or path.startswith(f"{TECHNIQUES}/")


async def _check_caller(request: Request) -> None:
    if request.scope["path"] in OPEN:
        return
    try:
        if _is_signed(request.scope["path"]):
            await signed_caller(request)
        else:
            await identify(request)
    except CapacityError as error:
        # The framework takes other errors than its own here for a body that is no JSON.
        raise Refusal(503, str(error), code=error.code, headers={"retry-after": "1"}) from error


def given_request_id(request: Request) -> str | None:
    """Return the name that a caller gave to a request; None without one that is harmless."""
    given: str | None = request.scope["state"]["given_id"]
    return given


def _check_type(headers: Headers, *, is_signed: bool) -> None:
    """Refuse a body of a type that no route takes; looked at when a route reads the body."""
    if not _has_body(headers):
        return
    given = headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind != JSON_TYPE and not (is_signed and kind == RUN_TYPE):
        raise Refusal(
            415,
            f"The body has content-type {given[:80]!r}; allowed: {JSON_TYPE}. With curl: "
            f"-H 'content-type: {JSON_TYPE}'.",
            headers={"accept": JSON_TYPE},
        )


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _too_many(most: int) -> Refusal:
    return Refusal(
        503,
        f"{most:,} requests are being answered already, the most that this server takes "
        "(server.max_connections). Try again.",
        code="too-many-connections",
        headers={"retry-after": str(round(BUSY_RETRY_S))},
    )


def _too_large(most: int) -> Refusal:
    return Refusal(
        413,
        f"The body is larger than {most:,} bytes, the most that this server takes "
        "(server.max_body_bytes; for functions techniques.max_body_bytes). Send less at a time.",
        headers={"connection": "close"},
    )


def _too_many_parts() -> Refusal:
    return Refusal(
        413,
        f"The body has more than {MOST_OPENED:,} brackets that open a list or an object. Send less "
        "at a time.",
        headers={"connection": "close"},
    )


class FaultFormatter(logging.Formatter):
    """Formats a fault without its message, which may quote what a user wrote."""

    def formatException(self, ei: object) -> str:  # noqa: N802  named by logging
        """Return where a fault happened and its type."""
        assert isinstance(ei, tuple)
        kind, _, trace = ei
        lines = []
        while trace is not None:
            code = trace.tb_frame.f_code
            lines.append(f"  {code.co_filename}:{trace.tb_lineno} {code.co_qualname}")
            trace = trace.tb_next
        lines.append(getattr(kind, "__name__", str(kind)))
        return "\n".join(lines)
