"""Where a server is between its start and its end, and how many requests it is answering.

Knows no HTTP; the event loop's thread alone changes it.
"""

import asyncio
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

    async def idle(self, timeout_s: float) -> bool:
        """Wait until no request is being answered; return False where that takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
