"""Calls that take the model for a while and cannot be taken apart: few at a time, on threads.

Callers take turns, and whoever has none under way finds a place beyond the few, so that one's many
or long calls do not keep the others waiting. Before each of its steps a call pauses while its
caller has more of them going than another; those of one caller take turns then, too. Waiting for a
place and pausing count as time; nobody's place is kept once the client has gone away, and the call
is told so between its steps. Knows no route.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.types import Receive

from glassbox.engine.batching.line import Line, Verdict
from glassbox.errors import CapacityError, DeadlineExceeded
from glassbox.server.concurrency.own_thread import on_own_thread
from glassbox.server.concurrency.waiting import unless_gone

T = TypeVar("T")

AT_A_TIME = 4
"""Such calls on the model at a time; the model takes them one after another anyway. Callers that
have none under way add up to as many again."""

MAX_WAITING = 256
"""Calls that may wait for a place; one more is told to come back later, but for callers who have
less than their share of the line."""

RETRY_S = 2.0
"""When to come back then."""

LOOK_S = 0.05
"""How often a call that pauses looks whether anybody still waits for it."""


@dataclass(frozen=True, eq=False)
class Allowance:
    """How long a call may go on; looked at by the call itself, on its own thread."""

    until_s: float
    """Moment of ``time.monotonic`` at which it has taken too long."""
    pause: Callable[["Allowance"], None] = lambda _: None
    """Lets others go first for as long as that is their due."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set once nobody waits for the answer any more."""

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 or more."""
        return max(0.0, self.until_s - time.monotonic())

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits, and there is time left."""
        return bool(self.left_s) and not self.ended.is_set()

    def check(self) -> None:
        """Let others go first where they have less; then do nothing while somebody waits.

        Raises:
            DeadlineExceeded: The time is over.
            CapacityError: The client has gone away, or the server is about to end.
        """
        self.pause(self)
        if self.ended.is_set():
            raise CapacityError("Nobody waits for the answer any more.")
        if not self.left_s:
            raise DeadlineExceeded("Time ran out between two steps. Ask for less, or allow more.")


class _Going:
    """Calls that go on, each caller's in turn; any thread may ask.

    A caller has no more of them between two pauses than another one has calls at all: beside one
    who has a single call, each makes one step after another. Rows of the running batch are shared
    by the same rule; see ``engine.batching.shares``.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[Allowance]] = {}
        """By caller: those that began or paused first come first."""
        self._going: set[Allowance] = set()
        """Those that do not pause."""
        self._changed = threading.Condition()

    @contextmanager
    def call(self, client: str, allowance: "Allowance") -> Iterator[None]:
        """Count a call inside the block, which begins with a pause.

        Raises:
            GlassboxError: As ``Allowance.check``.
        """
        with self._changed:
            self._calls.setdefault(client, []).append(allowance)
        try:
            allowance.check()
            yield
        finally:
            with self._changed:
                self._going.discard(allowance)
                self._calls[client].remove(allowance)
                if not self._calls[client]:
                    del self._calls[client]
                self._changed.notify_all()

    def pause(self, client: str, allowance: "Allowance") -> None:
        """Wait behind those of the same caller that wait, while it has as many going as it may."""
        with self._changed:
            self._going.discard(allowance)
            own = self._calls[client]
            own.remove(allowance)
            own.append(allowance)
            self._changed.notify_all()
            while not self._may_go(client, allowance) and allowance.is_wanted:
                self._changed.wait(LOOK_S)
            self._going.add(allowance)

    def _may_go(self, client: str, allowance: "Allowance") -> bool:
        own = self._calls[client]
        fewest = min(
            (len(calls) for other, calls in self._calls.items() if other != client),
            default=len(own),
        )
        before = own[: own.index(allowance)]
        return len(self._going.union(before).intersection(own)) < fewest


class SlowCalls:
    """Such calls of one server; the event loop's thread alone uses it."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._line: Line[tuple[str, asyncio.Future[None]]] = Line(MAX_WAITING)
        self._going = _Going()

    async def run(
        self, receive: Receive, client: str, deadline_s: float, work: Callable[[Allowance], T]
    ) -> T:
        """Return what a blocking call comes to.

        Args:
            receive: Of the HTTP request, its body read.
            client: Who asks: callers take turns.
            deadline_s: Seconds that it may take, the wait for a place included.
            work: What to call, on a thread of its own.

        Raises:
            ClientGone: The client went away first.
            DeadlineExceeded: It took too long.
            QueueFull: Too many such calls wait already.
        """
        pause = partial(self._going.pause, client)
        allowance = Allowance(time.monotonic() + deadline_s, pause)
        try:
            async with asyncio.timeout(deadline_s):
                return await unless_gone(receive, self._in_turn(client, allowance, work))
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"There is no answer within {deadline_s:g} s: the model is busy, or too much was "
                "asked. Try again, or allow more time."
            ) from error
        finally:
            allowance.ended.set()

    async def _in_turn(
        self, client: str, allowance: Allowance, work: Callable[[Allowance], T]
    ) -> T:
        await self._take_place(client)

        def call() -> T:
            with self._going.call(client, allowance):
                return work(allowance)

        # Given back when the call has ended, however long nobody has waited for it.
        return await on_own_thread(call, on_end=lambda: self._give_back(client))

    async def _take_place(self, client: str) -> None:
        """Wait for a place.

        Raises:
            QueueFull: Too many wait already.
        """
        if self._has_place(client):
            self._held[client] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add((client, turn), client=client, priority=0, retry_after_s=RETRY_S)
        try:
            await turn
        except asyncio.CancelledError:
            self._line.remove(lambda each: each[1] is turn)
            if not turn.cancelled():
                # The place came in the very moment in which nobody wanted it any more.
                self._give_back(client)
            raise

    def _give_back(self, client: str) -> None:
        """Hand a caller's place on to whose turn it is."""
        self._held -= Counter([client])
        # Some may have been given up a moment ago, and not have left the line yet.
        self._line.remove(lambda each: each[1].cancelled())
        while (found := self._line.take(self._judge, self._held)) is not None:
            whose, turn = found
            self._held[whose] += 1
            turn.set_result(None)

    def _has_place(self, client: str) -> bool:
        n = self._held.total()
        return n < AT_A_TIME or (not self._held[client] and n < 2 * AT_A_TIME)

    def _judge(self, waiting: tuple[str, asyncio.Future[None]]) -> Verdict:
        return "now" if self._has_place(waiting[0]) else "later"
