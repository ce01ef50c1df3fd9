"""The thread that runs techniques: one after another, with the model borrowed while there are any.

Knows who is next, how long the model is kept, and what ends a run; knows nothing of how calls
arrive and how results leave.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from glassbox.engine.protocol import Engine, Lent
from glassbox.errors import (
    ConflictError,
    GlassboxError,
    IntegrityError,
    TechniqueFailed,
)
from glassbox.techniques.calls import NEVER_STARTED, Call, Limits, ModelInfo, RunStatus
from glassbox.techniques.running.aftermath import Aftermath
from glassbox.techniques.running.deadlines import Clock
from glassbox.techniques.running.functions import Functions
from glassbox.techniques.running.hidden_prompt import HiddenPrompt
from glassbox.techniques.running.line import CallerLine
from glassbox.techniques.running.process_record import ProcessRecord
from glassbox.techniques.running.remote_errors import describe
from glassbox.techniques.running.run_book import RunBook
from glassbox.techniques.running.run_state import Job, RunRecord, tightened
from glassbox.techniques.running.sessions import Session, Sessions
from glassbox.techniques.running.visit import Outcome, Visit, describe_model

LEASE_S = 60.0
"""Seconds of techniques after which the engine's own requests are told to come back later."""

LINGER_S = 0.02
"""Seconds for which the model is kept after a run, unless somebody wants it: the next is faster."""

LOOK_S = 0.002
"""How often it is looked meanwhile whether somebody wants the model."""

N_SUSPECTS = 100
"""Runs of one loan, the last ones, that are told what was found at its end."""

Guard = Callable[[str, Call], AbstractContextManager[int | None]]
"""Entered around each run on the thread that executes it, with the run's id and the call; gives the
bytes of memory that it may take, None where they are not bounded."""


@dataclass(frozen=True)
class House:
    """What techniques find here, and what they may."""

    engine: Engine
    """The model; stays its owner's."""
    functions: Functions
    """What can be called."""
    limits: Limits
    """What each run may use at most."""
    hidden: HiddenPrompt | None
    """The system prompt that is never shown."""
    adapter: str | None
    """Name of a loaded adapter that is part of the model meanwhile."""
    guard: Guard
    """Entered around each run."""
    process: ProcessRecord | None = None
    """Put back after each run; None where other things go on in this process."""


class Rounds:
    """Runs jobs until it is closed.

    Args:
        house: What they find.
        max_waiting: Most jobs in line.
        ttl_s: Seconds for which runs and results are kept after their end.
        on_run: Told of every run that has ended.
        name: Of the thread.
    """

    def __init__(
        self,
        house: House,
        *,
        max_waiting: int,
        ttl_s: float,
        on_run: Callable[[RunRecord], None] | None,
        name: str,
    ) -> None:
        self.lock = threading.RLock()
        self.line: CallerLine[Job] = CallerLine(max_waiting)
        self.sessions = Sessions()
        self.book = RunBook(ttl_s)
        self.clock = Clock()
        self.running: Job | None = None
        self.info: ModelInfo | None = None
        self.failure: GlassboxError | None = None
        self.is_closed = False
        self._house = house
        self._name = name
        self._arrived = threading.Condition(self.lock)
        self._aftermath = Aftermath(on_run)
        self._taken: Job | None = None
        self._thread: threading.Thread | None = None
        self._quiet_since_s = time.monotonic()
        self._mean_run_s = 0.0

    @property
    def idle_s(self) -> float:
        """For how long there was nothing to do and no session open; 0 while there is."""
        with self.lock:
            self.sessions.end_idle()
            if self.running is not None or len(self.line) or len(self.sessions):
                self._quiet_since_s = time.monotonic()
                return 0.0
            return time.monotonic() - self._quiet_since_s

    def add(self, job: Job, session: Session | None) -> None:
        """Put a job in line; the lock is held.

        Raises:
            QueueFull: As many wait as may.
        """
        self.line.add(job, retry_after_s=max(1.0, self._mean_run_s * len(self.line)))
        self.book.add(job)
        if session is not None:
            session.n_open += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._arrived.notify()

    def position(self, job: Job) -> int | None:
        """Return how many are before a job; None when it no longer waits; the lock is held."""
        if job.status != "queued":
            return None
        holder = self.sessions.holder
        ahead = self.line.position(job, holder.id if holder is not None else None)
        return ahead + (self.running is not None)

    def stop(self, run_id: str, reason: GlassboxError, *, is_cancel: bool) -> None:
        """Ask a run to end; one that has ended stays as it is."""
        with self.lock:
            job = self.book.get(run_id)
            if job is None or job.is_over:
                return
            job.cancelled = job.cancelled or is_cancel
            if self.line.remove(job):
                status: RunStatus = "cancelled" if is_cancel else "failed"
                self._end(job, Outcome(status, error=describe(reason)))
                return
        self.clock.stop(job.stop, reason)

    def close_session(self, name: str) -> None:
        """End a session; its jobs that wait are cancelled."""
        reason = TechniqueFailed("The session was closed before the run began.")
        with self.lock:
            while (job := self.line.take(name)) is not None:
                job.cancelled = True
                self._end(job, Outcome("cancelled", error=describe(reason)))
            self.sessions.close(name)
            self._arrived.notify()

    def close(self) -> None:
        """Take no more jobs, cancel those in line, ask the one under way to end; idempotent."""
        with self.lock:
            self.is_closed = True
            self._cancel_waiting()
            running = self.running
            self._arrived.notify_all()
        if running is not None:
            reason = TechniqueFailed("The run was cancelled: the desk closed.")
            self.stop(running.id, reason, is_cancel=True)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=LEASE_S)
        self.clock.close()
        self._aftermath.close()

    def let_go(self) -> None:
        """Keep what is known of runs and nothing that leads to the model; all is closed."""
        if self._thread is not None and self._thread.is_alive():
            # A technique that does not end has the model anyway.
            return
        self.sessions = Sessions()
        if self.failure is not None:
            # By way of its traceback it holds whatever was there when it was raised.
            self.failure.__cause__ = self.failure.__context__ = None
            self.failure = self.failure.with_traceback(None)
        self.__dict__.pop("_house", None)

    def look_at_model(self) -> ModelInfo:
        """Return the resident model, borrowed for this if nobody has looked yet.

        Raises:
            ConflictError: Nobody has, and it was let go.
        """
        if self.info is None:
            if self.is_closed:
                raise ConflictError("The desk is closed.")
            house = self._house
            with house.engine.lend(lease_s=LEASE_S, adapter=house.adapter) as lent:
                self._look_at(lent)
        assert self.info is not None
        return self.info

    def _cancel_waiting(self) -> None:
        while (job := self.line.take()) is not None:
            if self.failure is not None:
                # Nobody wanted its end, and beside another model it may run yet.
                error = replace(describe(self.failure), code=NEVER_STARTED)
                self._end(job, Outcome("lost", error=error))
                continue
            job.cancelled = True
            reason = TechniqueFailed("The run was cancelled: the desk closed.")
            self._end(job, Outcome("cancelled", error=describe(reason)))

    def _work(self) -> None:
        house = self._house
        while (job := self._wait()) is not None:
            done: deque[Job] = deque(maxlen=N_SUSPECTS)
            try:
                with house.engine.lend(lease_s=LEASE_S, adapter=house.adapter) as lent:
                    self._look_at(lent)
                    self._serve(lent, job, done)
                if lent.leftovers:
                    self._add_notes(done, lent.leftovers)
            except GlassboxError as error:
                self._give_up(job, error)
            except BaseException as error:
                # A fault of ours or of a guard: nobody is left waiting for a thread that ended.
                fault = IntegrityError(f"The desk has stopped by a fault of its own: {error!r}")
                self._give_up(job, fault)
                raise

    def _serve(self, lent: Lent, job: Job | None, done: deque[Job]) -> None:
        """Run a call, and those that follow while nobody else wants the model."""
        house = self._house
        visit = Visit(lent, house.functions, self.sessions, house.hidden, house.process)
        while job is not None:
            self._run(visit, job)
            done.append(job)
            if self.failure is not None:
                return
            job = self._linger(lent)
            lent.resume()

    def _run(self, visit: Visit, job: Job) -> None:
        with self.lock:
            session = self._session_of(job)
            limits = tightened(self._house.limits, job.call.limits)
            job.begun_s = time.monotonic()
            job.status = "running"
            self.running = job
        self.clock.begin(job.stop, limits.wall_s)
        try:
            with self._house.guard(job.id, job.call) as memory_bytes:
                limits = replace(limits, memory_bytes=memory_bytes)
                outcome = visit.run(job, session, limits)
        finally:
            self.clock.end()
            self.running = None
        with self.lock:
            self.failure = self.failure or outcome.fault
            self._end(job, outcome)

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Make a run final; the lock is held."""
        if outcome.result is not None:
            job.result, job.result_bytes = outcome.result, outcome.result.n_bytes
        job.undone = outcome.undone
        session = self._session_of(job)
        if session is not None:
            session.n_open -= 1
            session.used_s = time.monotonic()
        job.end(outcome.status, outcome.error)
        self._mean_run_s += 0.2 * (job.run_s - self._mean_run_s)
        self._quiet_since_s = time.monotonic()
        self.book.ended(job)
        self._aftermath.report(job)

    def _wait(self) -> Job | None:
        """Return the next call, as long as it takes; None when the desk is closed."""
        with self.lock:
            while True:
                if self.is_closed or self.failure is not None:
                    self._cancel_waiting()
                    return None
                job = self._take()
                if job is not None:
                    return job
                left_s = self.sessions.turn_left_s(is_wanted=len(self.line) > 0)
                if not self._aftermath.is_untidy:
                    self._arrived.wait(left_s)
                elif not self._arrived.wait(Aftermath.IDLE_S):
                    self._aftermath.tidy()

    def _linger(self, lent: Lent) -> Job | None:
        """Return the next call if one comes soon and nobody else wants the model."""
        until = time.monotonic() + LINGER_S
        with self.lock:
            while not lent.is_wanted():
                job = self._take()
                left = until - time.monotonic()
                if job is not None or left <= 0 or self.is_closed:
                    return job
                self._arrived.wait(min(left, LOOK_S))
        return None

    def _take(self) -> Job | None:
        """Return who is next, if anybody; the lock is held."""
        self.sessions.end_idle()
        self.sessions.end_turn(is_wanted=len(self.line) > 0)
        holder = self.sessions.holder
        job = self.line.take(holder.id if holder is not None else None)
        if job is not None:
            self._taken = job
            if holder is None:
                self.sessions.begin_turn(self._session_of(job))
        return job

    def _session_of(self, job: Job) -> Session | None:
        return None if job.session is None else self.sessions.find(job.session)

    def _add_notes(self, done: deque[Job], found: Sequence[str]) -> None:
        """Tell all runs of a loan what was found at its end, since it may be any one's."""
        with self.lock:
            for job in done:
                job.undone = (*job.undone, *(f"{note} (found afterwards)" for note in found))

    def _give_up(self, job: Job, error: GlassboxError) -> None:
        """End what cannot be run, and with it everything where the model can serve no more."""
        with self.lock:
            for each in (job, self._taken):
                if each is not None and not each.is_over:
                    self._end(each, Outcome("failed", error=describe(error)))
            if isinstance(error, ConflictError | IntegrityError):
                self.failure = self.failure or error
                self._cancel_waiting()

    def _look_at(self, lent: Lent) -> None:
        if self.info is None:
            house = self._house
            digests = {each.name: each.digest for each in house.engine.adapters}
            self.info = describe_model(
                lent,
                house.engine.info,
                adapter=None
                if house.adapter is None
                else digests.get(house.adapter, house.adapter),
                has_hidden=house.hidden is not None,
            )
