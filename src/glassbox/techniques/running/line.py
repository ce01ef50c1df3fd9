"""Who waits for the model, and who is next: callers in turn, a session without anyone between.

Knows order only; knows nothing of threads and of what the waiting ones want.
"""

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar, runtime_checkable

from glassbox.errors import QueueFull


@runtime_checkable
class Waiting(Protocol):
    """What is needed of whoever waits."""

    @property
    def caller(self) -> str:
        """For whom."""
        ...

    @property
    def session(self) -> str | None:
        """Session it belongs to."""
        ...


W = TypeVar("W", bound=Waiting)


class CallerLine(Generic[W]):
    """A bounded line in which callers take turns, each with its own order.

    Args:
        capacity: Most that wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: OrderedDict[str, deque[W]] = OrderedDict()
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, job: W, *, retry_after_s: float) -> None:
        """Put one at the end of its caller's own line.

        Raises:
            QueueFull: As many wait as may.
        """
        if self._n >= self._capacity:
            raise QueueFull(self._n, retry_after_s)
        self._waiting.setdefault(job.caller, deque()).append(job)
        self._n += 1

    def take(self, session: str | None = None) -> W | None:
        """Return who is next, out of the line now; of a session that holds the turn if one does."""
        for caller, jobs in self._waiting.items():
            for job in jobs:
                if session is None or job.session == session:
                    jobs.remove(job)
                    self._n -= 1
                    if jobs:
                        self._waiting.move_to_end(caller)
                    else:
                        del self._waiting[caller]
                    return job
        return None

    def remove(self, job: W) -> bool:
        """Take one out of the line; return whether it was there."""
        jobs = self._waiting.get(job.caller)
        if jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        self._n -= 1
        if not jobs:
            del self._waiting[job.caller]
        return True

    def position(self, job: W, session: str | None = None) -> int:
        """Return how many are before one that waits, of those that wait now; 0 when it is out."""
        jobs = self._waiting.get(job.caller, deque())
        if job not in jobs:
            return 0
        own = list(jobs).index(job)
        before = 0
        is_after = False
        for caller, others in self._waiting.items():
            if caller == job.caller:
                is_after = True
                continue
            before += min(len(others), own if is_after else own + 1)
        ahead = own + before
        if session is not None and job.session != session:
            theirs = [each for line in self._waiting.values() for each in line]
            ahead = max(ahead, sum(each.session == session for each in theirs))
        return ahead
