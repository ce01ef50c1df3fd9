"""Calls that take the model for a while and cannot be taken apart: few at a time, on threads.

Callers take turns, so that one's many calls do not keep the others waiting. Waiting for a place
counts as time; nobody's place is kept once the client has gone away, and the call is told so
between its steps. Knows no route.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from glassbox.engine.batching.line import Line
from glassbox.errors import CapacityError, DeadlineExceeded
from glassbox.server.concurrency.own_thread import on_own_thread
from glassbox.server.concurrency.waiting import unless_gone

T = TypeVar("T")

AT_A_TIME = 4
"""Such calls on the model at a time; the model takes them one after another anyway."""

MAX_WAITING = 256
"""Calls that may wait for a place; one more is told to come back later, but for callers who have
less than their share of the line."""

RETRY_S = 2.0
"""When to come back then."""


@dataclass(frozen=True, eq=False)
class Allowance:
    """How long a call may go on; looked at by the call itself, on its own thread."""

    until_s: float
    """Moment of ``time.monotonic`` at which it has taken too long."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set once nobody waits for the answer any more."""

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 or more."""
        return max(0.0, self.until_s - time.monotonic())

    def check(self) -> None:
        """Do nothing while somebody waits for the answer.

        Raises:
            DeadlineExceeded: The time is over.
            CapacityError: The client has gone away, or the server is about to end.
        """
        if self.ended.is_set():
            raise CapacityError("Nobody waits for the answer any more.")
        if not self.left_s:
            raise DeadlineExceeded("Time ran out between two steps. Ask for less, or allow more.")


class _Places:
    """Places for such calls; the event loop's thread alone uses them."""

    def __init__(self) -> None:
        self._n_free = AT_A_TIME
        self._line: Line[asyncio.Future[None]] = Line(MAX_WAITING)

    async def take(self, client: str) -> None:
        """Wait for a place.

        Raises:
            QueueFull: Too many wait already.
        """
        if self._n_free:
            self._n_free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(turn, client=client, priority=0, retry_after_s=RETRY_S)
        try:
            await turn
        except asyncio.CancelledError:
            self._line.remove(lambda each: each is turn)
            if not turn.cancelled():
                # The place came in the very moment in which nobody wanted it any more.
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hand a place on to whose turn it is."""
        # Some may have been given up a moment ago, and not have left the line yet.
        self._line.remove(asyncio.Future.cancelled)
        turn = self._line.take(lambda _: "now")
        if turn is None:
            self._n_free += 1
        else:
            turn.set_result(None)


async def slow_work(
    http: Request, client: str, deadline_s: float, work: Callable[[Allowance], T]
) -> T:
    """Return what a blocking call comes to.

    Args:
        http: Whose request it is, its body read; its app holds the places.
        client: Who asks: callers take turns.
        deadline_s: Seconds that it may take, the wait for a place included.
        work: What to call, on a thread of its own.

    Raises:
        ClientGone: The client went away first.
        DeadlineExceeded: It took too long.
        QueueFull: Too many such calls wait already.
    """
    state = http.app.state
    places = getattr(state, "slow_work", None)
    if places is None:
        places = state.slow_work = _Places()
    allowance = Allowance(time.monotonic() + deadline_s)
    try:
        async with asyncio.timeout(deadline_s):
            return await unless_gone(http.receive, _in_turn(places, client, allowance, work))
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"There is no answer within {deadline_s:g} s: the model is busy, or too much was "
            "asked. Try again, or allow more time."
        ) from error
    finally:
        allowance.ended.set()


async def _in_turn(
    places: _Places, client: str, allowance: Allowance, work: Callable[[Allowance], T]
) -> T:
    await places.take(client)
    # The place is given back when the call has ended, however long nobody has waited for it.
    return await on_own_thread(lambda: work(allowance), on_end=places.give_back)
