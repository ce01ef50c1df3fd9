"""Work that is done again and again beside requests: each kind on a thread of its own.

Of several servers on one database one does it, the holder of a lease; when that one goes away,
another takes over. A failure is logged and the work tried again at its next turn. Knows nothing
of what the work is.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from glassbox.engine.model.attempt import attempt
from glassbox.errors import CapacityError, ConflictError, GlassboxError

JOIN_S: Final = 5.0
"""Seconds that work under way gets at the end."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True)
class Job:
    """One kind of work."""

    name: str
    """As it is called in logs and in health."""
    every_s: float
    """Seconds from the end of one turn to the next."""
    work: Callable[[], object]
    """One turn; must end by itself."""
    is_shared: bool = True
    """Whether only one of several servers does it."""


@dataclass(frozen=True)
class JobStatus:
    """How one kind of work is going."""

    name: str
    """Its name."""
    is_ours: bool
    """Whether this server does it."""
    last_s: float | None
    """Unix time of the last turn that ended well; None before the first."""
    failure: str
    """Why the last turn failed; empty where it did not."""


class Background:
    """Jobs of one server.

    Args:
        jobs: What is to be done.
        take_lease: Whether this server is the one that does a job; renews it.
        give_back: Lets another server have a job at once.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        take_lease: Callable[[Job], bool],
        give_back: Callable[[Job], None] = lambda _job: None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = tuple(jobs)
        self._take_lease = take_lease
        self._give_back = give_back
        self._clock = clock
        self._ended = threading.Event()
        self._status = {each.name: JobStatus(each.name, False, None, "") for each in jobs}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for job in self._jobs:
            thread = threading.Thread(
                target=self._go_on, args=(job,), name=f"glassbox-{job.name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def status(self) -> tuple[JobStatus, ...]:
        """Return how every job is going."""
        return tuple(self._status.values())

    def done_for_all(self) -> tuple[str, ...]:
        """Return the work that one server does, as far as this one is it."""
        return tuple(
            each.name for each in self._jobs if each.is_shared and self._status[each.name].is_ours
        )

    def close(self) -> None:
        """End; waits a little for what is under way. Idempotent."""
        self._ended.set()
        until_s = time.monotonic() + JOIN_S
        for each in self._threads:
            each.join(max(0.0, until_s - time.monotonic()))

    def turn(self, job: Job) -> None:
        """Do a job once, where it is this server's."""
        before = self._status[job.name]
        is_ours = False
        error: Exception | None = None
        try:
            is_ours = not job.is_shared or self._take_lease(job)
        except GlassboxError as caught:
            error = caught
        if is_ours:
            # Whatever a turn raises, the next one comes.
            done = attempt(job.work)
            error = done if isinstance(done, Exception) else None
        if error is None:
            last_s = self._clock() if is_ours else before.last_s
            self._status[job.name] = JobStatus(job.name, is_ours, last_s, "")
            return
        reason = _reason(error)
        if reason != before.failure:
            _log.error("%s failed: %s", job.name, reason, exc_info=_fault(error))
        self._status[job.name] = JobStatus(job.name, is_ours, before.last_s, reason)

    def _go_on(self, job: Job) -> None:
        while not self._ended.wait(job.every_s):
            self.turn(job)
        if job.is_shared and self._status[job.name].is_ours:
            # Where that fails the lease runs out by itself.
            attempt(lambda: self._give_back(job))


def _reason(error: Exception) -> str:
    """Return what may be shown: words about the machine, but none that may quote a record."""
    if isinstance(error, CapacityError | ConflictError):
        return str(error)
    return error.code if isinstance(error, GlassboxError) else type(error).__name__


def _fault(error: Exception) -> Exception | None:
    """Return an error whose place matters: one that is none of ours."""
    return None if isinstance(error, GlassboxError) else error
