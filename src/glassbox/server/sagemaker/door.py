"""What stands between SageMaker and the app in its container: two routes for the platform.

A request to ``/invocations`` that names a route in its custom attributes goes to that route, if it
is one for predictions. Answers that the platform would not carry are put into an object store, or
refused in words; streams pass. Everything else is not there.

Source: Amazon SageMaker, "Custom Inference Code with Hosting Services".
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassbox.errors import GlassboxError, InvalidValue, UnknownName
from glassbox.server.errors.refusals import Refusal
from glassbox.server.errors.statuses import error_answered, refusal_answered
from glassbox.server.sagemaker.invocations import echoed
from glassbox.server.sagemaker.large_answers import LargeAnswers
from glassbox.wire.headers import TIMEOUT_HEADER
from glassbox.wire.invocation_attributes import (
    ADAPTER,
    ASKED,
    ATTRIBUTES_HEADER,
    CARRIED,
    INVOCATIONS,
    LOCATION,
    METHOD,
    PATH,
    PREFIX,
    TIMEOUT,
    TYPE,
    read_attributes,
    write_attributes,
)
from glassbox.wire.sagemaker import NDJSON_TYPE

STREAMS: Final = ("text/event-stream", NDJSON_TYPE)
"""Types of answers that come in parts, which have no largest size."""


class PlatformDoor:
    """Middleware around the routes of a container.

    Args:
        app: All routes that predict.
        most_bytes: Largest answer that the platform carries.
        store: Where larger ones go; None refuses them.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, store: LargeAnswers | None = None) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) == ("GET", "/ping"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            if scope["path"] != INVOCATIONS:
                raise Refusal(
                    404,
                    f"No route {scope['path']!r}: this is a container of SageMaker, which has "
                    "GET /ping and POST /invocations.",
                )
            receive = _led(scope, receive, self._asked(request))
        except Refusal as refusal:
            await refusal_answered(request, refusal)(scope, receive, send)
            return
        except GlassboxError as error:
            await error_answered(request, error)(scope, receive, send)
            return
        answer = _Answer(scope, send, self._most_bytes)
        await self._app(scope, receive, answer.take)
        if answer.is_held:
            await self._finish(scope, receive, send, answer)

    def _asked(self, request: Request) -> dict[str, str]:
        """Return our custom attributes of a request.

        Raises:
            UnknownName: A route that is not carried, or a key of ours that nothing reads.
            InvalidValue: A key stands there twice, or does not go with another.
        """
        said = read_attributes(request.headers.get(ATTRIBUTES_HEADER, ""))
        ours = {key: value for key, value in said.items() if key.startswith(PREFIX)}
        for key in ours:
            if key not in ASKED:
                raise UnknownName("custom attribute", key, sorted(ASKED))
        if PATH not in ours and METHOD in ours:
            raise InvalidValue(METHOD, ours[METHOD], f"nothing without {PATH}")
        if PATH in ours and ADAPTER in ours:
            # The route would not read it, and the base model would answer in the adapter's stead.
            allowed = f"nothing with {PATH}: there the body's field model names the adapter"
            raise InvalidValue(ADAPTER, ours[ADAPTER], allowed)
        if PATH in ours and (ours.get(METHOD, "POST"), ours[PATH]) not in CARRIED:
            carried = sorted(f"{method} {path}" for method, path in CARRIED)
            wanted = f"{ours.get(METHOD, 'POST')} {ours[PATH]}"
            raise UnknownName("route that SageMaker carries", wanted, carried)
        return ours

    async def _finish(self, scope: Scope, receive: Receive, send: Send, answer: "_Answer") -> None:
        """Send an answer that was held back because of its size."""
        request, content = Request(scope), answer.content
        if self._store is None:
            too_large = Refusal(
                413,
                f"The answer has {len(content):,} bytes; the platform carries "
                f"{self._most_bytes:,} (server.max_answer_bytes). Ask for less at a time: fewer "
                "texts or layers, pooled states, parameters.encoding 'float16' of /invocations; or "
                "let the container put large answers into an object store "
                "(server.large_answers = s3://bucket/prefix/).",
                code="answer-too-large",
            )
            await refusal_answered(request, too_large)(scope, receive, send)
            return
        kind = answer.headers.get("content-type", "application/octet-stream")
        try:
            stored = await anyio.to_thread.run_sync(partial(self._store.put, content, kind))
        except GlassboxError as error:
            failed = Refusal(
                502,
                f"The answer has {len(content):,} bytes, more than the platform carries, and could "
                f"not be put into the object store: {error} The container's role needs "
                "s3:PutObject below server.large_answers.",
                code="answer-not-stored",
            )
            await refusal_answered(request, failed)(scope, receive, send)
            return
        attributes = read_attributes(answer.headers.get(ATTRIBUTES_HEADER, ""))
        attributes |= {LOCATION: stored.location, TYPE: kind}
        headers = {ATTRIBUTES_HEADER: write_attributes(attributes)}
        response = Response(stored.to_json(), headers=headers, media_type="application/json")
        await response(scope, receive, send)


class _Answer:
    """An answer on its way out: held back while it is not known to be small enough."""

    def __init__(self, scope: Scope, send: Send, most_bytes: int) -> None:
        self._scope = scope
        self._send = send
        self._most_bytes = most_bytes
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self.headers: Mapping[str, str] = {}
        self.is_held = False
        """Whether all of it is here and too large."""

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body" or self._start is None:
            await self._send(message)
        else:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._end()

    async def _begin(self, message: Message) -> None:
        headers = [(name.lower(), value) for name, value in message["headers"]]
        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        if ATTRIBUTES_HEADER not in said:
            said[ATTRIBUTES_HEADER] = self._echoed()
            headers.append((ATTRIBUTES_HEADER.encode(), said[ATTRIBUTES_HEADER].encode()))
        message = {**message, "headers": headers}
        self.headers = said
        kind = said.get("content-type", "").partition(";")[0].strip().lower()
        if kind in STREAMS:
            await self._send(message)
        else:
            self._start = message

    async def _end(self) -> None:
        assert self._start is not None
        if sum(map(len, self._parts)) > self._most_bytes:
            self.is_held = True
            return
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": self.content})

    def _echoed(self) -> str:
        serving = self._scope["app"].state.serving
        return echoed("" if serving is None else serving.bundle_digest)


def _led(scope: Scope, receive: Receive, asked: Mapping[str, str]) -> Receive:
    """Lead a request to the route that it names; return where its body comes from.

    The scope is changed in place, so that the log and the counters tell of that route.
    """
    if TIMEOUT in asked:
        name = TIMEOUT_HEADER.encode()
        kept = [each for each in scope["headers"] if each[0] != name]
        scope["headers"] = [*kept, (name, asked[TIMEOUT].encode())]
    if PATH not in asked:
        return receive
    scope["path"], scope["raw_path"] = asked[PATH], asked[PATH].encode()
    scope["method"] = asked.get(METHOD, "POST")
    if scope["method"] != "GET":
        return receive
    left_out = (b"content-length", b"content-type", b"transfer-encoding")
    scope["headers"] = [each for each in scope["headers"] if each[0] not in left_out]
    return _without_body(receive)


def _without_body(receive: Receive) -> Receive:
    """Return a ``receive`` that passes over a body which the platform has to send."""
    is_read = False

    async def passed() -> Any:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return passed
