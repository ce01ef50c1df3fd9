"""What changes in the service, as server-sent events for pages that watch.

Looks a few times a second at what is cheap and every few seconds at what asks the database; sends
what is new. Works over several servers on one database, because it reads what they share. Ends
when the server is about to, so that nobody who watches delays it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import anyio
import orjson

from glassbox.errors import GlassboxError
from glassbox.wire.shapes import Answered

STEP_S: Final = 0.2
"""Seconds between two looks at the newest prediction: at most five events a second."""

SLOW_STEPS: Final = 10
"""Looks at the newest prediction between two at everything else."""

HEARTBEAT_S: Final = 15.0
"""Seconds after which a comment would be due; a heartbeat tells the page that all is well."""


class Looks(Protocol):
    """What is looked at."""

    def newest(self) -> Answered | None:
        """Return the newest prediction in one line."""
        ...

    def summary(self) -> Answered:
        """Return the aggregates of the window."""
        ...

    def rollouts(self) -> Answered:
        """Return the rollout under way."""
        ...

    def drift(self) -> Answered:
        """Return the latest comparison."""
        ...

    def alerts(self) -> Answered:
        """Return what fires."""
        ...


async def events(looks: Looks, is_ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield events until the server is about to end.

    Args:
        looks: What is looked at; asked on threads.
        is_ending: Whether the server is.
    """
    sent: dict[str, bytes] = {}
    slow: dict[str, Callable[[], Answered | None]] = {
        "summary": looks.summary,
        "rollout": looks.rollouts,
        "drift": looks.drift,
        "alert": looks.alerts,
    }
    n_steps, last_s = 0, time.monotonic()
    while not is_ending():
        due: dict[str, Callable[[], Answered | None]] = {"inference": looks.newest}
        if n_steps % SLOW_STEPS == 0:
            due = {**slow, **due}
        for name, content in (await anyio.to_thread.run_sync(_looked, due)).items():
            if sent.get(name) != content:
                sent[name] = content
                last_s = time.monotonic()
                yield named_event(name, content)
        if time.monotonic() - last_s >= HEARTBEAT_S:
            last_s = time.monotonic()
            yield named_event("heartbeat", orjson.dumps({"time_s": time.time()}))
        n_steps += 1
        await asyncio.sleep(STEP_S)


def named_event(name: str, content: bytes) -> bytes:
    """Return one event of a name. Source: WHATWG HTML, section 9.2.6."""
    return b"event: " + name.encode() + b"\ndata: " + content + b"\n\n"


def _looked(due: dict[str, Callable[[], Answered | None]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, look in due.items():
        try:
            answered = look()
        except GlassboxError:
            # The database is away for a while, or there is no champion yet: the page keeps what
            # it has, and its own requests say what is wrong.
            continue
        if answered is not None:
            found[name] = answered.to_json()
    return found
