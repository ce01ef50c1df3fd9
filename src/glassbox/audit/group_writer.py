"""The one thread of a process that writes events of predictions: many at a time, one commit each.

Whoever records an event puts it in a queue and goes on. The thread takes what has come together,
hangs it on the chain inside one transaction, and lets the disk confirm the group once. Several
processes write to one database in turns; each reads where the chain ends inside its transaction.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from glassbox.audit.event_rows import ChainEnd, is_there, write_entries
from glassbox.audit.log import AuditLog
from glassbox.audit.records import InferenceEvent
from glassbox.audit.stored_events import Entry, entry_of, require_plain
from glassbox.errors import (
    CapacityError,
    ConflictError,
    DeadlineExceeded,
    GlassboxError,
    InvalidValue,
)
from glassbox.storage.database import Database
from glassbox.wording import counted

MOST_PER_COMMIT: Final = 4000
"""Events of one transaction; others wait for the next one."""

STRICT_PATIENCE_S: Final = 5.0
"""How long a strict event is tried again before its request is told that it failed."""

ROOM_WAIT_S: Final = 0.05
"""How long a full queue holds back whoever records, before an event is counted as lost."""

OVERFLOW: Final = "inference.overflowed"
"""Kind of the event of the audit log that says how many records were lost, and when."""

REFUSAL: Final = "inference.refused"
"""Kind of the event that says how many held what JSON cannot say."""

GROUP_SHARE: Final = 0.2
"""Share of a group's time that is spent waiting for more events; the rest is for the disk: an event
may have to wait for the end of one commit and for all of its own."""

_LONGEST_PAUSE_S: Final = 2.0

_log = logging.getLogger("glassbox.server")


class _Waiting(NamedTuple):
    event: InferenceEvent | None
    """None marks the place that someone who flushes waits for."""
    since_s: float
    done: "Future[int] | None"


@dataclass(frozen=True)
class WriterStatus:
    """How the writer is doing."""

    n_waiting: int
    """Events in the queue."""
    n_written: int
    """Events put on the disk since the start."""
    n_overflowed: int
    """Events lost because the queue was full; none in ``strict``."""
    n_failed: int
    """Events that could not be written: in ``strict`` their callers were told so; in ``group``
    they held what JSON cannot say."""
    last_commit_s: float | None
    """Unix time of the last commit; None before the first."""
    longest_wait_s: float
    """Longest that an event of the latest commits has waited for the disk, in seconds."""
    problem: str
    """Why the last attempt failed; empty where it did not."""


class GroupWriter:
    """Queue and thread.

    Args:
        database: Where the events go.
        strict: Whether callers wait for each event, so that groups must not.
        group_s: Seconds after which an event is on the disk, in ``group``.
        most_waiting: Length of the queue.
        own: Filled with first and last sequence of each group, for whoever follows the log and
            wants only what others wrote; None keeps none.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        strict: bool,
        group_s: float,
        most_waiting: int,
        own: deque[tuple[int, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._strict = strict
        self._group_s = group_s
        self._most_waiting = most_waiting
        self._own = own
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._has_some = threading.Event()
        self._urgent = threading.Event()
        self._room = threading.Condition()
        self._is_closed = False
        self._n_written = self._n_failed = self._n_overflowed = self._n_told = 0
        self._lost_from_s = 0.0
        self._last_commit_s: float | None = None
        self._commits_took_s: deque[float] = deque([0.0], maxlen=10)
        self._is_stuck = False
        self._waits: deque[float] = deque(maxlen=20)
        self._problem = ""
        self._has_warned = False
        self._refusals: list[str] = []
        self._unsure: ChainEnd | None = None
        self._thread = threading.Thread(target=self._run, name="glassbox-audit", daemon=True)
        self._thread.start()

    def put(self, event: InferenceEvent) -> "Future[int] | None":
        """Take an event; in ``strict`` return what tells its sequence once it is on the disk.

        A full queue holds the caller back: in ``strict`` until there is room, in ``group`` for
        ``ROOM_WAIT_S``, and not at all while the database does not answer or another caller has
        waited in vain. An event that then finds no room is lost and counted.

        Raises:
            InvalidValue: A time that is not finite, or a name that is none.
            ConflictError: The writer was closed.
        """
        require_plain(event)
        self._require_open()
        if len(self._queue) >= self._most_waiting and not self._waited_for_room():
            return None
        done: Future[int] | None = None
        if self._strict:
            done = Future()
            # A caller that goes away cannot take back what is recorded, nor end the thread.
            done.set_running_or_notify_cancel()
        waiting = _Waiting(event, time.monotonic(), done)
        self._queue.append(waiting)
        if not self._has_some.is_set():
            self._has_some.set()
        if self._is_closed:
            self._take_back(waiting)
        return done

    def flush(self, timeout_s: float) -> None:
        """Return once everything that was put before is on the disk; at once when it was closed.

        Raises:
            DeadlineExceeded: It took longer; says what the database answers.
        """
        if self._is_closed:
            # Nobody writes any more, and whoever closed it was told of what is not on the disk.
            return
        done: Future[int] = Future()
        self._queue.append(_Waiting(None, time.monotonic(), done))
        self._urgent.set()
        self._has_some.set()
        try:
            done.result(timeout_s)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{counted(len(self._queue), 'record was', 'records were')} not on the disk after "
                f"{timeout_s:g} s. "
                f"{self._problem}".strip()
            ) from error

    def close(self, timeout_s: float) -> None:
        """Write what waits and end the thread; what cannot be written in time is lost.

        Raises:
            DeadlineExceeded: Something could not be written; says how much.
        """
        if self._is_closed:
            return
        try:
            self.flush(timeout_s)
        finally:
            self._is_closed = True
            self._urgent.set()
            self._has_some.set()
            self._thread.join(timeout_s)

    def status(self) -> WriterStatus:
        """Return how the writer is doing."""
        return WriterStatus(
            n_waiting=len(self._queue),
            n_written=self._n_written,
            n_overflowed=self._n_overflowed,
            n_failed=self._n_failed,
            last_commit_s=self._last_commit_s,
            longest_wait_s=max(tuple(self._waits), default=0.0),
            problem=self._problem,
        )

    def _require_open(self) -> None:
        if self._is_closed:
            raise ConflictError("The store of predictions was closed: nothing can be recorded.")

    def _take_back(self, waiting: _Waiting) -> None:
        """Refuse what came while the writer was closed, unless its thread has still seen it."""
        self._thread.join()
        with suppress(ValueError):
            self._queue.remove(waiting)
            self._require_open()

    def _waited_for_room(self) -> bool:
        deadline = time.monotonic() + ROOM_WAIT_S
        with self._room:
            while len(self._queue) >= self._most_waiting:
                # Nobody makes room any more: whoever waited for ever would hold up the process.
                self._require_open()
                left = deadline - time.monotonic()
                if not self._strict and (self._problem or self._is_stuck or left <= 0):
                    # One caller has waited in vain; others need not until something moves.
                    self._is_stuck = True
                    if self._n_overflowed == self._n_told:
                        self._lost_from_s = self._clock()
                    self._n_overflowed += 1
                    return False
                self._room.wait(max(left, 0.01))
        return True

    def _run(self) -> None:
        while not self._is_closed or self._queue:
            self._has_some.wait()
            if not self._strict and not self._is_closed:
                left = self._group_s - 2 * max(self._commits_took_s)
                self._urgent.wait(max(min(GROUP_SHARE * self._group_s, left), 0.002))
            self._urgent.clear()
            self._has_some.clear()
            group = self._take()
            self._write(group)
            if self._queue:
                self._has_some.set()
            if self._is_closed and self._problem:
                # Nobody may wait for what will not come.
                self._fail(list(self._queue), CapacityError(self._problem))
                return

    def _take(self) -> list[_Waiting]:
        queue = self._queue
        group = [queue.popleft() for _ in range(min(len(queue), MOST_PER_COMMIT))]
        self._is_stuck = False
        if len(queue) + len(group) >= self._most_waiting:
            with self._room:
                self._room.notify_all()
        return group

    def _write(self, group: list[_Waiting]) -> None:
        kept, entries = self._entries(group)
        started, pause = time.monotonic(), 0.02
        last = 0
        while entries:
            try:
                last = self._attempt(entries)
                break
            except CapacityError as error:
                self._meet(error)
                is_over = self._strict and time.monotonic() - started > STRICT_PATIENCE_S
                if is_over or self._is_closed:
                    self._fail(kept, error)
                    return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        if entries and self._has_warned:
            self._has_warned = False
            _log.info("records of predictions are written again")
        self._problem = ""
        self._settle(kept, last, len(entries))

    def _meet(self, error: CapacityError) -> None:
        """Note why records cannot be written; the log has it once, not once an attempt."""
        self._problem = str(error)
        if not self._has_warned:
            self._has_warned = True
            fate = "are refused" if self._strict else "wait in memory"
            _log.error("records of predictions cannot be written and %s: %s", fate, error)

    def _entries(self, group: list[_Waiting]) -> tuple[list[_Waiting], list[Entry]]:
        kept: list[_Waiting] = []
        entries: list[Entry] = []
        for each in group:
            if each.event is not None:
                try:
                    entries.append(entry_of(each.event))
                except InvalidValue as error:
                    self._fail([each], error)
                    if each.done is None:
                        self._refusals.append(str(error))
                    continue
            kept.append(each)
        return kept, entries

    def _attempt(self, entries: list[Entry]) -> int:
        started = time.perf_counter()
        claimed: tuple[int, int] | None = None
        try:
            with self._database.transaction(flushed=True) as connection:
                if self._unsure is not None and is_there(connection, self._unsure):
                    # The answer to the last commit was lost, not the commit.
                    end = self._unsure
                else:
                    self._unsure = None
                    end = write_entries(connection, entries)
                claimed = (end.sequence - len(entries) + 1, end.sequence)
                if self._own is not None:
                    self._own.append(claimed)
                self._unsure = end
        except BaseException:
            if claimed is not None and self._own is not None:
                with suppress(ValueError):
                    self._own.remove(claimed)
            raise
        self._commits_took_s.append(time.perf_counter() - started)
        return end.sequence

    def _settle(self, group: list[_Waiting], last: int, n_written: int) -> None:
        self._unsure = None
        self._n_written += n_written
        now = time.monotonic()
        if n_written:
            self._last_commit_s = self._clock()
            self._waits.append(now - group[0].since_s)
        sequence = last - n_written
        for each in group:
            sequence += each.event is not None
            if each.done is not None:
                each.done.set_result(sequence)
        has_room = len(self._queue) < self._most_waiting
        if self._refusals or (self._n_overflowed > self._n_told and has_room):
            self._tell_losses()

    def _fail(self, group: list[_Waiting], error: GlassboxError) -> None:
        self._unsure = None
        self._n_failed += sum(each.event is not None for each in group)
        for each in group:
            if each.done is not None:
                each.done.set_exception(error)

    def _tell_losses(self) -> None:
        n_lost, refusals = self._n_overflowed - self._n_told, self._refusals[:]
        log = AuditLog(self._database, clock=self._clock)
        try:
            if refusals:
                body: dict[str, object] = {"n_records": len(refusals), "last_reason": refusals[-1]}
                log.append(REFUSAL, actor="local", body=body)
                del self._refusals[: len(refusals)]
            if n_lost:
                body = {"n_records": n_lost, "from_s": self._lost_from_s, "to_s": self._clock()}
                log.append(OVERFLOW, actor="local", body=body)
                self._n_told += n_lost
        except CapacityError as error:
            self._problem = str(error)
