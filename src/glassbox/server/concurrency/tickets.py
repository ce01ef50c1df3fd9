"""From the engine's threads to the event loop and back: nobody blocks, nobody is forgotten.

A request that is cancelled here (its client went away, its HTTP request was given up) is cancelled
in the engine, and counted when it has ended there. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Self

import anyio

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Generation, Piece, Request, Ticket
from glassbox.errors import GlassboxError, InvalidValue
from glassbox.server.telemetry.metrics import Metrics
from glassbox.server.telemetry.tracing import Span

QUIET_S = 15.0
"""Seconds without anything after which that is said; proxies wait for 30 and more."""


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happened to one of several requests: a step, its end, or nothing for long."""

    index: int
    """Which of them; -1 where nothing has happened."""
    piece: Piece | None = None
    """What a step added."""
    answer: Generation | None = None
    """The whole answer, where this is the end."""


class Running:
    """Some requests on their way; leaving the ``async with`` block cancels what still runs.

    Args:
        engine: Who answers.
        metrics: Told how each of them ended; None counts nothing.
        span: Told the same, and that it is over; None where no trace is kept.
    """

    def __init__(
        self, engine: Engine, metrics: Metrics | None = None, span: Span | None = None
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._span = span
        self._tickets: list[Ticket] = []
        self._uncounted: dict[int, tuple[Ticket, int]] = {}
        """Requests whose end is not counted yet, with the hidden tokens of each: whoever takes one
        out, on whatever thread, counts it."""
        self._n_left = 0
        self._posted: asyncio.Queue[tuple[int, Piece | None]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs; idempotent."""
        self._closed.set()
        for index in range(len(self._tickets)):
            self._let_go(index)
        if self._span is not None:
            self._span.close()

    async def submit(
        self, prepare: Callable[[], Sequence[Request]], *, stream: bool = False
    ) -> list[Request]:
        """Hand requests to the engine and return them; all are taken, or none.

        Args:
            prepare: Makes the requests; runs on a thread of its own, as tokenising takes time.
            stream: Whether each step's piece is wanted as an event.

        Raises:
            InvalidValue: They are more than may ever wait, so that trying again would not help.
            GlassboxError: What ``prepare`` and ``Engine.submit`` raise.
        """

        def work() -> list[Request]:
            requests = list(prepare())
            most = self._engine.most_waiting
            if len(requests) > most:
                raise InvalidValue(
                    "the number of texts, times the answers to each,",
                    len(requests),
                    f"1 to {most}, as many as may wait (server.max_waiting)",
                    remedy="Send them in several requests, one after another.",
                )
            for index, request in enumerate(requests):
                if self._closed.is_set():
                    break
                listen = self._poster(index) if stream else None
                ticket = self._engine.submit(request, listen)
                self._uncounted[index] = ticket, request.n_hidden
                self._tickets.append(ticket)
                if self._closed.is_set():
                    # Closed meanwhile, on the loop's thread, which has not seen this one.
                    self._let_go(index)
            return requests

        try:
            requests = await anyio.to_thread.run_sync(work)
        except BaseException as error:
            self._note_failure(error)
            self.close()
            raise
        self._n_left = len(self._tickets)
        for index, ticket in enumerate(self._tickets):
            ticket.when_done(partial(self._poster(index), None))
        return requests

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, until every request has ended.

        Raises:
            GlassboxError: The first request that failed; the others are cancelled.
        """
        while self._n_left:
            try:
                async with asyncio.timeout(QUIET_S):
                    index, piece = await self._posted.get()
            except TimeoutError:
                yield Event(-1)
                continue
            if piece is not None:
                yield Event(index, piece=piece)
                continue
            self._n_left -= 1
            left = self._uncounted.pop(index, None)
            try:
                answer = self._tickets[index].result(0)
            except GlassboxError as error:
                self._note_failure(error)
                self.close()
                raise
            if left is not None:
                self._note_end(answer, n_hidden=left[1])
            yield Event(index, answer=answer)

    async def answers(self) -> list[Generation]:
        """Return all answers, in the order of the requests.

        Raises:
            GlassboxError: The first request that failed; the others are cancelled.
        """
        found = [(event.index, event.answer) async for event in self.events()]
        return [answer for _, answer in sorted(found, key=itemgetter(0)) if answer is not None]

    def _let_go(self, index: int) -> None:
        """Cancel a request; nobody waits for it any more, so it is counted where it ends."""
        self._tickets[index].cancel()
        left = self._uncounted.pop(index, None)
        if left is not None:
            ticket, n_hidden = left
            ticket.when_done(partial(self._count, ticket, n_hidden))

    def _count(self, ticket: Ticket, n_hidden: int) -> None:
        if self._metrics is None:
            return
        try:
            self._metrics.finished(ticket.result(0), n_hidden)
        except GlassboxError as error:
            self._metrics.failed(error.code)

    def _note_end(self, answer: Generation, n_hidden: int) -> None:
        if self._metrics is not None:
            self._metrics.finished(answer, n_hidden)
        if self._span is not None:
            self._span.finished(answer, n_hidden)

    def _note_failure(self, error: BaseException) -> None:
        if not isinstance(error, GlassboxError):
            return
        if self._metrics is not None:
            self._metrics.failed(error.code)
        if self._span is not None:
            self._span.failed(error.code)

    def _poster(self, index: int) -> Callable[[Piece | None], None]:
        def post(piece: Piece | None = None) -> None:
            # The loop is closed where the server has gone down meanwhile: nobody listens any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._posted.put_nowait, (index, piece))

        return post
