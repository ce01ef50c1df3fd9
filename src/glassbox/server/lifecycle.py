"""Where a server is between its start and its end, and how many requests it is answering.

Knows no HTTP; the event loop's thread alone changes it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Stage = Literal["loading", "ready", "failed", "draining"]


class Lifecycle:
    """The stage a server is in."""

    def __init__(self) -> None:
        self.stage: Stage = "loading"
        """The present one."""
        self.failure = ""
        """What callers are told where the model could not be loaded."""
        self.n_running = 0
        """Requests being answered, those of the health routes left out."""
        self.is_over = False
        """Whether bodies that have not come whole are not waited for any more."""
        self._bodies: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_ready(self) -> bool:
        """Whether requests for the model are taken."""
        return self.stage == "ready"

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to end."""
        return self.stage == "draining"

    def ready(self) -> None:
        """Take requests from now on; a server that drains already goes on draining."""
        if self.stage == "loading":
            self.stage = "ready"

    def fail(self, reason: str) -> None:
        """Say that the model could not be loaded."""
        self.failure = reason
        self.stage = "failed"

    def drain(self) -> None:
        """Take no new requests from now on."""
        self.stage = "draining"

    def enter(self) -> None:
        """Note that a request is being answered."""
        self.n_running += 1
        self._idle.clear()

    def leave(self) -> None:
        """Note that it has been."""
        self.n_running -= 1
        if not self.n_running:
            self._idle.set()

    @asynccontextmanager
    async def awaiting(self, until_s: float) -> AsyncIterator[None]:
        """Give a block in which a piece of a body is waited for.

        Args:
            until_s: Moment of the loop's clock at which it has taken too long.

        Raises:
            TimeoutError: It has, or the server ends first.
        """
        async with asyncio.timeout_at(0.0 if self.is_over else until_s) as patience:
            self._bodies.add(patience)
            try:
                yield
            finally:
                self._bodies.discard(patience)

    def end_bodies(self) -> None:
        """Wait no more for bodies: who sends one slowly must not hold up the end."""
        self.is_over = True
        for each in self._bodies:
            if not each.expired():
                each.reschedule(0.0)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until no request is being answered; return False where that takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
