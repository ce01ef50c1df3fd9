"""Requests on their way: sent at given times or as others come back, with what each one took.

Times are those of ``time.perf_counter``, in seconds. Knows no engine: ``Start`` sends a request.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.apparatus.arrivals import Span, n_late_allowed
from glassbox.errors import QueueFull

LOOK_S = 0.005
"""How often an open loop looks whether too many are late."""


@dataclass(frozen=True)
class Times:
    """What a request took, in seconds from when it was sent."""

    begun_s: float
    """Until work on it began."""
    first_s: float
    """Until its first token was there."""


class Pending(Protocol):
    """A request that was sent."""

    def times(self) -> Times:
        """Wait for it, and return what it took.

        Raises:
            GlassboxError: It was not answered.
        """
        ...

    def cancel(self) -> None:
        """Give it up."""
        ...

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once when it has ended, however it did."""
        ...


Start = Callable[[int], Pending]
"""Sends the request of a number; raises ``QueueFull`` where it is shed."""


@dataclass(frozen=True)
class Flown:
    """A request that was answered."""

    due_s: float
    """When it had to be sent."""
    sent_s: float
    """When it was."""
    begun_s: float
    """When work on it began."""
    first_s: float
    """When its first token was there."""
    done_s: float
    """When the whole answer was."""

    @property
    def latency_s(self) -> float:
        """Seconds from when it was due to the whole answer."""
        return self.done_s - self.due_s

    @property
    def span(self) -> Span:
        """The time in which it was worked on."""
        return Span(self.begun_s, self.done_s)


@dataclass(frozen=True)
class Seen:
    """What came of an open loop."""

    begun_s: float
    """When it began."""
    flown: Sequence[Flown]
    """Requests that were answered; none where too many were late."""
    n_shed: int
    """Requests that were refused because too many waited."""
    in_time: bool
    """Whether few enough were late or shed; true where no limit was given."""


class _Flight:
    def __init__(self, start: Start, index: int, due_s: float) -> None:
        self.due_s = due_s
        self.sent_s = time.perf_counter()
        self.done_s: float | None = None
        self.pending = start(index)

    def watch(self, call: Callable[[], None] = lambda: None) -> None:
        def done() -> None:
            self.done_s = time.perf_counter()
            call()

        self.pending.when_done(done)

    def is_late(self, now_s: float, limit_s: float) -> bool:
        end_s = now_s if self.done_s is None else self.done_s
        return end_s - self.due_s > limit_s

    def flown(self) -> Flown:
        times = self.pending.times()
        while self.done_s is None:
            # The answer is there a moment before those who watch are told.
            time.sleep(0.0005)
        return Flown(
            self.due_s, self.sent_s, self.sent_s + times.begun_s, self.sent_s + times.first_s,
            self.done_s,
        )  # fmt: skip


def closed_loop(start: Start, n: int, in_flight: int) -> list[Flown]:
    """Return what requests took of which so many are always under way."""
    places = threading.Semaphore(in_flight)
    flights = []
    for index in range(n):
        places.acquire()
        flight = _Flight(start, index, time.perf_counter())
        flight.watch(places.release)
        flights.append(flight)
    return [flight.flown() for flight in flights]


class _Lateness:
    """Counts requests that were not in time, and says when there are too many."""

    def __init__(self, n: int, limit_s: float | None, share: float) -> None:
        self._limit_s = limit_s
        self._n_allowed = 0 if limit_s is None else n_late_allowed(n, share)
        self._open: list[_Flight] = []
        self._n_late = 0
        self.n_shed = 0

    def add(self, flight: _Flight) -> None:
        self._open.append(flight)

    def too_many(self) -> bool:
        if self._limit_s is None:
            return False
        now_s, left = time.perf_counter(), []
        for flight in self._open:
            if flight.is_late(now_s, self._limit_s):
                self._n_late += 1
            elif flight.done_s is None:
                left.append(flight)
        self._open = left
        return self._n_late + self.n_shed > self._n_allowed

    def too_many_until(self, due_s: float) -> bool:
        """Wait until then, or until too many are late; return whether they are."""
        while (wait_s := due_s - time.perf_counter()) > 0:
            time.sleep(wait_s if self._limit_s is None else min(wait_s, LOOK_S))
            if self.too_many():
                return True
        return self.too_many()

    def too_many_at_last(self) -> bool:
        """Wait until all have ended, or too many are late; return whether they are."""
        while self._limit_s is not None and not self.too_many() and self._open:
            time.sleep(LOOK_S)
        return self.too_many()


def open_loop(
    start: Start,
    arrivals: Sequence[float],
    *,
    limit_s: float | None = None,
    share: float = 1.0,
) -> Seen:
    """Return what became of requests that arrive at given times, whatever became of others.

    Args:
        start: Sends one.
        arrivals: Seconds from the beginning, in order.
        limit_s: Seconds from when it was due in which a request has to be answered; once too many
            are late or shed, the others are given up.
        share: Of the requests that have to be in time.
    """
    lateness = _Lateness(len(arrivals), limit_s, share)
    flights: list[_Flight] = []
    begun_s = time.perf_counter() + 2 * LOOK_S
    for index, at_s in enumerate(arrivals):
        if lateness.too_many_until(begun_s + at_s):
            break
        try:
            flight = _Flight(start, index, begun_s + at_s)
        except QueueFull:
            lateness.n_shed += 1
            continue
        flight.watch()
        flights.append(flight)
        lateness.add(flight)
    if lateness.too_many_at_last():
        _give_up(flights)
        return Seen(begun_s, (), lateness.n_shed, in_time=False)
    return Seen(begun_s, [each.flown() for each in flights], lateness.n_shed, in_time=True)


def _give_up(flights: Sequence[_Flight]) -> None:
    for flight in flights:
        flight.pending.cancel()
    for flight in flights:
        while flight.done_s is None:
            time.sleep(LOOK_S)
