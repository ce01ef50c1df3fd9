"""Serves the MCP server over HTTP: behind the same keys as everything else, or a secret of its own.

Nobody comes in without one of them: other users of the machine, and containers that share its
loopback, reach the port as well. Knows keys and sockets; knows none of the tools.
"""

import hmac
import logging
import socket
import sys
from typing import Final

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from glassbox.errors import CapacityError
from glassbox.server.access.entrance import FaultFormatter
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.errors.refusals import Refusal
from glassbox.server.errors.statuses import error_answered, refusal_answered
from glassbox.storage.keys import KeyScope

SCOPE: Final[KeyScope] = "techniques"
"""What a key must allow."""

LOCAL: Final = "local"
"""The caller of a server without keys."""

LAST_ANSWERS_S: Final = 3
"""Seconds that requests get once the server is told to stop."""

_NO_SECRET: Final = (
    "This server asks for its secret: send 'Authorization: Bearer <secret>'. It is in the file "
    "that 'glassbox mcp --http' named when it was started, and is new after each start. A key "
    f"that stays is made by 'glassbox keys create NAME --scope {SCOPE}'."
)

_NO_KEY: Final = (
    "This server needs an API key: send 'Authorization: Bearer <key>'. Make one with "
    f"'glassbox keys create NAME --scope {SCOPE}'."
)


class KeyGuard:
    """Lets a request through that carries a key with the scope ``techniques``.

    As long as there is no key in the database, the secret of this server is asked for in its
    place. From the first key on, it opens nothing any more. Who came in is noted as the SDK does
    it, which lets a session be used by nobody else; the tools keep callers' runs apart by it.

    Args:
        app: What is guarded.
        keys: The keys.
        secret: Of a server without keys; None lets nobody in there.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, secret: str | None = None) -> None:
        self._app = app
        self._keys = keys
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what it lacks."""
        if scope["type"] == "http":
            asked = Request(scope)
            try:
                caller = await self._caller(asked.headers.get("authorization", ""))
            except Refusal as refusal:
                await refusal_answered(asked, refusal)(scope, receive, send)
                return
            except CapacityError as error:
                await error_answered(asked, error)(scope, receive, send)
                return
            scope["user"] = _known(caller)
        await self._app(scope, receive, send)

    async def _caller(self, authorization: str) -> str:
        """Return who asks, or refuse whoever is given nothing."""
        kind, _, given = authorization.partition(" ")
        given = given.strip() if kind.lower() == "bearer" else ""
        if not await self._keys.needs_key():
            if self._is_own(given):
                return LOCAL
            raise _unauthorized(_NO_SECRET)
        key = await self._keys.find(given)
        if key is None:
            raise _unauthorized(_NO_KEY)
        if not key.allows(SCOPE):
            raise Refusal(
                403,
                f"The key {key.prefix}… ({key.name}) has scope {', '.join(key.scopes)}; this needs "
                f"{SCOPE!r}.",
            )
        return key.id

    def _is_own(self, given: str) -> bool:
        return self._secret is not None and hmac.compare_digest(
            given.encode(), self._secret.encode()
        )


def serve_agents(
    app: ASGIApp, listener: socket.socket, keys: KeyRing, secret: str | None = None
) -> None:
    """Serve an MCP app until told to stop.

    Args:
        app: What ``MCPServer.streamable_http_app`` returns.
        listener: Where to listen.
        keys: Who may come in.
        secret: Who may come in as long as there is no key.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FaultFormatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("uvicorn.error", "mcp"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    config = uvicorn.Config(
        KeyGuard(app, keys, secret),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _known(caller: str) -> AuthenticatedUser:
    # Of a token no more than whose it is: what opens the door stays at the door.
    return AuthenticatedUser(AccessToken(token="", client_id=caller, scopes=[SCOPE]))


def _unauthorized(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"www-authenticate": 'Bearer realm="glassbox"'})
