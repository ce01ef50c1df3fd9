"""The adapter that a request's header names, told to Ray as a hint where to send the next one.

Ray prefers replicas that have lately answered for the same id. The hint decides nothing else: which
adapter answers is what the request's body says, and one that no replica has is an error.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from glassbox.deploy.ray.asgi import App, Receive, Scope, Send

HEADERS: Final = (b"serve_multiplexed_model_id", b"serve-multiplexed-model-id")
"""Names of Ray's header; some proxies drop those with underscores.
Source: Ray Serve 2.60, ``_private/proxy.py``."""

MOST_HINTS: Final = 64
"""Adapters by which one replica is found again; it may hold more."""

Note = Callable[[str], Awaitable[object]]
"""Tells Ray that this replica has answered for an id."""


class RoutingHint:
    """Middleware that notes for whom this replica answers.

    Args:
        app: The whole app.
        names: Returns the adapters that the replica has; others are not noted, so that nobody can
            fill Ray's memory with names.
        note: Tells Ray.
    """

    def __init__(self, app: App, names: Callable[[], Collection[str]], note: Note) -> None:
        self._app = app
        self._names = names
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the hint of a request and hand it on unchanged."""
        if scope["type"] == "http":
            hint = next((value for name, value in scope["headers"] if name in HEADERS), b"")
            name = hint.decode("latin-1")
            if name and name in self._names():
                await self._note(name)
        await self._app(scope, receive, send)
