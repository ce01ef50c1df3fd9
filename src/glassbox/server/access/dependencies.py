"""Who may call what: the dependencies that routes put in front of their work.

A key travels as ``Authorization: Bearer …``, as OpenAI's clients send it. Knows no route.
"""

import hmac
import math
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from glassbox.errors import AccessDenied, InvalidValue
from glassbox.server.access.guards import Guarded, guards_of
from glassbox.server.access.host_names import check_host, check_origin
from glassbox.server.access.key_ring import Caller
from glassbox.server.errors.refusals import Refusal
from glassbox.storage.keys import KeyScope
from glassbox.wire.headers import TIMEOUT_HEADER

_BEARER = HTTPBearer(
    auto_error=False, scheme_name="key", description="A key that 'glassbox keys create' made."
)


def require(scope: KeyScope) -> Callable[..., Awaitable[Caller]]:
    """Return the dependency that lets a request through whose key has a scope.

    Args:
        scope: What the route needs; a key of scope ``admin`` may do everything.
    """

    async def allowed(
        request: Request, _documented: Annotated[object, Depends(_BEARER)] = None
    ) -> Caller:
        caller = await identify(request)
        if not caller.allows(scope):
            assert caller.key is not None
            raise AccessDenied(
                f"The key {caller.key.prefix}… ({caller.key.name}) has scope "
                f"{', '.join(caller.key.scopes)}; this call needs {scope!r}. "
                f"Make one with 'glassbox keys create NAME --scope {scope}'."
            )
        await guards_of(request).rates.take(caller.client, scope)
        return caller

    return allowed


async def identify(request: Request) -> Caller:
    """Return who asks.

    Raises:
        Refusal: 401 where a key is needed and none, or none of this server, was given; 421 and 403
            where none is needed and a page from elsewhere asks.
        CapacityError: The database of keys does not answer.
    """
    guards = guards_of(request)
    if not await guards.keys.needs_key():
        check_host(request, guards.hosts)
        check_origin(request, guards.hosts, guards.limits.cors_origins)
        host = request.client.host if request.client else "local"
        return Caller(client=host, key=None)
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if not secret or kind.lower() != "bearer":
        raise _unknown("This server needs an API key: send 'Authorization: Bearer <key>'.")
    key = await guards.keys.find(secret.strip())
    if key is None:
        raise _unknown("The API key is not one of this server, or was revoked.")
    request.state.key_id = key.id
    return Caller(client=key.id, key=key)


async def signed_caller(request: Request) -> Caller:
    """Return who signed a request; looked at once for each request, however often it is asked.

    Raises:
        Refusal: Functions are not run here, or the signature is not good.
        CapacityError: The database of keys does not answer.
    """
    known = getattr(request.state, "signed", None)
    if known is None:
        guards = guards_of(request)
        if guards.techniques is None:
            raise Refusal(
                403,
                "This server runs no functions. Start it with 'glassbox serve --techniques "
                "process' if those who may call it may run code there.",
                code="techniques-off",
            )
        signatures = guards.techniques.signatures
        known = await signatures.caller(request, guards.keys, guards.hosts)
        request.state.signed = known
    caller, _ = known
    assert isinstance(caller, Caller)
    return caller


def check_body(request: Request, digest: str) -> None:
    """Do nothing if a body is the one that was signed.

    Args:
        request: Its signature was looked at.
        digest: SHA-256 of the body (hex).

    Raises:
        Refusal: It is another one.
    """
    _, signature = request.state.signed
    if not hmac.compare_digest(signature.body, digest):
        raise Refusal(
            401, "The body is not the one that was signed; it was changed.", code="bad-signature"
        )


def _unknown(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"www-authenticate": 'Bearer realm="glassbox"'})


async def deadline_of(request: Request, guards: Guarded) -> float:
    """Return the seconds that a request may take, from its header, at most the server's own limit.

    Raises:
        InvalidValue: The header holds no number of seconds.
    """
    most = guards.limits.max_deadline_s
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return most
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidValue(TIMEOUT_HEADER, text, "a number of seconds above 0")
    return min(seconds, most)


Deadline = Annotated[float, Depends(deadline_of)]
"""Seconds that a request may take, as a route's parameter."""

Predicting = Annotated[Caller, Depends(require("predict"))]
"""A caller who may ask the model."""

Observing = Annotated[Caller, Depends(require("observe"))]
"""A caller who may read metrics and records."""

Administering = Annotated[Caller, Depends(require("admin"))]
"""A caller who may change what is served."""

Signing = Annotated[Caller, Depends(signed_caller)]
"""A caller who may run functions, and has signed the request."""
