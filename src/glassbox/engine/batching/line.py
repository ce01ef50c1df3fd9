"""Who is served next, and when to come back where the line is full: decisions on plain values.

No torch, no threads, no clock of its own. Knows clients and priorities; knows nothing of models.
"""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from glassbox.errors import QueueFull

T = TypeVar("T")

Verdict = Literal["now", "later", "full"]
"""What becomes of a waiting request: it starts, it lets others go first this time, or nobody more
can start at all."""

SMOOTHING = 0.2
"""Weight of the newest interval in the mean time between two finished requests."""

LONGEST_RETRY_S = 60.0

LOOK_PAST = 8
"""How many requests of one client that must wait, for their adapter say, others may pass."""


class Line(Generic[T]):
    """Waiting requests: lower priorities first, then clients in turn, each in its own order.

    Args:
        capacity: Most that may wait.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._levels: dict[int, OrderedDict[str, deque[T]]] = {}
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(
        self, item: T, *, client: str, priority: int, retry_after_s: float, bounded: bool = True
    ) -> None:
        """Put a request at the end of its client's queue.

        A full line still takes those of clients that have less than their share of it, up to as
        many again: one client's burst does not shut the others out.

        Raises:
            QueueFull: Too many wait already, and the bound holds for this one.
        """
        if bounded and self._n >= self.capacity and not self._has_share_left(client):
            raise QueueFull(self._n, retry_after_s)
        self._levels.setdefault(priority, OrderedDict()).setdefault(client, deque()).append(item)
        self._n += 1

    def _has_share_left(self, client: str) -> bool:
        clients = {name for level in self._levels.values() for name in level} | {client}
        n_own = sum(len(level.get(client, ())) for level in self._levels.values())
        return n_own < self.capacity // len(clients) and self._n < 2 * self.capacity

    def take(self, judge: Callable[[T], Verdict], held: Counter[str] | None = None) -> T | None:
        """Return the next request that may start now, if any.

        Clients that hold fewest come first, and among equals the one that was served longest ago.
        Within a client one may pass a few others, but only those that could not start anyway.

        Args:
            judge: Says what becomes of a request.
            held: Requests of each client that have begun and not ended; None counts none.
        """
        held = Counter() if held is None else held
        for level in sorted(self._levels):
            clients = self._levels[level]
            for client in sorted(clients, key=held.__getitem__):
                queue = clients[client]
                for at in range(min(len(queue), LOOK_PAST)):
                    item = queue[at]
                    verdict = judge(item)
                    if verdict == "full":
                        return None
                    if verdict == "now":
                        del queue[at]
                        clients.move_to_end(client)
                        self._n -= 1
                        self._tidy(level, client)
                        return item
        return None

    def remove(self, leaves: Callable[[T], bool]) -> list[T]:
        """Take out and return all requests of which something holds."""
        gone: list[T] = []
        for level, clients in list(self._levels.items()):
            for client, queue in list(clients.items()):
                kept: list[T] = []
                for item in queue:
                    (gone if leaves(item) else kept).append(item)
                queue.clear()
                queue.extend(kept)
                self._tidy(level, client)
        self._n -= len(gone)
        return gone

    def _tidy(self, level: int, client: str) -> None:
        if not self._levels[level][client]:
            del self._levels[level][client]
        if not self._levels[level]:
            del self._levels[level]


class Pace:
    """How fast requests are finished, from the times at which they were."""

    def __init__(self) -> None:
        self._interval_s = 1.0
        self._last_s: float | None = None

    def finished(self, now_s: float) -> None:
        """Note that a request was finished."""
        if self._last_s is not None:
            self._interval_s += SMOOTHING * (now_s - self._last_s - self._interval_s)
        self._last_s = now_s

    def idle(self) -> None:
        """Note that nothing is running: the time until the next request tells nothing."""
        self._last_s = None

    def retry_after_s(self, n_waiting: int) -> float:
        """Return whole seconds, 1 to 60, after which half of those waiting have probably begun."""
        return float(min(LONGEST_RETRY_S, max(1, math.ceil(self._interval_s * n_waiting / 2))))
