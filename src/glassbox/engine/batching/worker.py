"""The thread that owns the running batch, and the line in front of it.

Takes the turn at the model for one step at a time, so that scoring and fitting get in between;
tells listeners outside of it. Knows rows and time; knows nothing of models.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import torch

from glassbox.engine.batching.line import Line, Pace, Verdict
from glassbox.engine.batching.outcomes import Outcome, Told, too_late
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.running_batch import NextRow
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.turns import Turns
from glassbox.engine.requests import Generation, Piece
from glassbox.engine.states.pooling import no_states
from glassbox.errors import ConflictError, DeadlineExceeded, IntegrityError, QueueFull
from glassbox.types import FinishReason

LOOK_S = 0.05
"""How often waiting requests are looked through for those cancelled or too late."""

IDLE_S = 30.0
"""Seconds without a row after which the memory that only rows need is given back.

Taking it again costs less than a step or two; someone who asks every few seconds never pays it.
"""

N_LOADERS = 4
"""Adapters that are fetched at a time."""


class Batch(Protocol):
    """Rows that are answered together, one step at a time."""

    @property
    def rows(self) -> list[Row]:
        """Everybody who has begun and not ended."""
        ...

    def step(self, next_row: NextRow, told: Told) -> None:
        """Run one step; what each row is told is added as it happens."""
        ...

    def abandon(self, reason: FinishReason | Exception, told: Told) -> None:
        """End all rows with what they have, or with an error."""
        ...

    def rest(self) -> None:
        """Give back memory that only rows need; there are none."""
        ...


class Leases(Protocol):
    """Where rows get the adapters they name."""

    def acquire(self, row: Row) -> None:
        """Pin the row's adapter and note its slot in the row; may take long."""
        ...

    def acquire_now(self, row: Row) -> bool:
        """Return whether the row's adapter was at hand, and is pinned now; never waits."""
        ...

    def release(self, row: Row) -> None:
        """Give back what the row holds of an adapter, if anything."""
        ...


class Worker:
    """Answers rows until it is closed.

    Args:
        batch: The running batch.
        turns: Who may use the model.
        leases: Where adapters come from.
        capacity: Most rows that may wait.
        idle_s: Seconds without a row after which their memory is given back.
    """

    def __init__(
        self,
        batch: Batch,
        turns: Turns,
        leases: Leases,
        *,
        capacity: int,
        idle_s: float = IDLE_S,
    ) -> None:
        self._batch = batch
        self._turns = turns
        self._leases = leases
        self._line: Line[Row] = Line(capacity)
        self._idle_s = idle_s
        self._is_rested = True
        """Whether no row has run since memory was given back."""
        self._changed = threading.Condition()
        self._pace = Pace()
        self._loads: dict[Row, Future[None]] = {}
        self._loaders: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        self._n_holds = 0
        self._held_until_s = 0.0
        self._is_free = True
        self._n_changes = 0
        self._closed = False
        self._fault = ""
        self._looked_s = 0.0

    @property
    def n_waiting(self) -> int:
        """Rows that have not begun."""
        return len(self._line)

    @property
    def most_waiting(self) -> int:
        """Rows that may wait."""
        return self._line.capacity

    @property
    def n_running(self) -> int:
        """Rows in the batch."""
        return len(self._batch.rows)

    def submit(self, *rows: Row, bounded: bool = True) -> None:
        """Put rows in line, so that those submitted together can start together.

        Raises:
            QueueFull: Too many wait already, or the model is lent out for too long.
            ConflictError: The engine is closed.
        """
        with self._changed:
            self.require_open()
            if self._n_holds and time.perf_counter() > self._held_until_s:
                raise QueueFull(len(self._line), self._pace.retry_after_s(len(self._line)))
            for row in rows:
                self._line.add(
                    row,
                    client=row.request.client,
                    priority=row.request.priority,
                    retry_after_s=self._pace.retry_after_s(len(self._line)),
                    bounded=bounded,
                )
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="glassbox-model", daemon=True
                )
                self._thread.start()
            self._notify()

    @property
    def failure(self) -> str:
        """Why no row is answered any more; empty while they are."""
        if self._fault:
            return f"The engine has stopped by a fault of its own: {self._fault}"
        return "The engine is closed: load the model again." if self._closed else ""

    def require_open(self) -> None:
        """Raise unless rows are answered.

        Raises:
            ConflictError: The engine is closed.
        """
        if self.failure:
            raise ConflictError(self.failure)

    @contextmanager
    def held(self, lease_s: float, *, patient: bool = False) -> Iterator[None]:
        """Start no row inside the block, which begins once none is running.

        Args:
            lease_s: Seconds after which waiting rows are told to come back later.
            patient: Whether to wait for running rows however long they take.

        Raises:
            DeadlineExceeded: Rows were still running after that time.
        """
        until = time.perf_counter() + lease_s
        with self._changed:
            self._n_holds += 1
            self._held_until_s = max(until, self._held_until_s) if self._n_holds > 1 else until
            self._changed.notify_all()
        try:
            with self._changed:
                wait_s = None if patient else lease_s
                if not self._changed.wait_for(lambda: self._is_free, wait_s):
                    raise DeadlineExceeded(
                        f"The model did not become free within {lease_s} s: requests are running. "
                        "Try again later, or allow more time."
                    )
            yield
        finally:
            with self._changed:
                self._n_holds -= 1
                self._notify()

    def refuse(self) -> None:
        """Take no more rows: the model cannot be trusted any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all rows as cancelled and the thread with them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._loaders is not None:
            self._loaders.shutdown()

    def _work(self) -> None:
        told: Told = []
        try:
            with torch.inference_mode():
                while not self._closed:
                    change = self._n_changes
                    if not self._once():
                        self._rest(change)
                if self._batch.rows:
                    with self._turns:
                        self._batch.abandon("cancelled", told)
        except BaseException as error:
            self._fault = repr(error)
            raise
        finally:
            # Nobody is left waiting, even where this thread ends by a fault of its own.
            self._turns.rest()
            with self._changed:
                self._closed = self._is_free = True
                waiting = self._line.remove(lambda _: True)
                self._changed.notify_all()
            done = {row for row, outcome in told if not isinstance(outcome, Piece)}
            left = [row for row in [*self._batch.rows, *waiting] if row not in done]
            told += [(row, self._last_word(row)) for row in left]
            self._deliver(told)

    def _last_word(self, row: Row) -> Outcome:
        return IntegrityError(self.failure) if self._fault else self._cancelled(row)

    def _rest(self, change: int) -> None:
        """Wait until something changes; what has changed since it was last counted is not slept."""
        self._turns.rest()
        with self._changed:
            self._is_free = not self._batch.rows
            self._pace.idle()
            self._changed.notify_all()
            if self._closed or self._n_changes != change:
                return
            if len(self._line):
                # Those in line are looked through from time to time.
                self._changed.wait(LOOK_S)
                return
            if self._changed.wait(None if self._is_rested else self._idle_s):
                return
            self._is_rested = True
        # Nobody else uses the rows' memory, so that it is nobody's turn.
        self._batch.rest()

    def _once(self) -> bool:
        """Run one step, if there is anything to do; return whether there was."""
        self._deliver(self._look_through())
        with self._changed:
            if not self._batch.rows and (self._n_holds or not len(self._line)):
                return False
            self._is_free = self._is_rested = False
        told: Told = []
        try:
            with self._turns.step():
                failure = attempt(lambda: self._batch.step(self._next, told))
                if failure is not None:
                    # Nothing that one row brings along comes here: none can be trusted now.
                    self._batch.abandon(failure, told)
        finally:
            self._deliver(told)
        return bool(told) or bool(self._batch.rows)

    def _next(self, judge: Callable[[Row], Verdict], held: Counter[str]) -> Row | None:
        with self._changed:
            if self._n_holds:
                return None
            return self._line.take(lambda row: self._judge(row, judge), held)

    def _judge(self, row: Row, judge: Callable[[Row], Verdict]) -> Verdict:
        if row.request.adapter is None:
            return judge(row)
        load = self._loads.get(row) or self._load(row)
        if not load.done() or load.exception() is not None:
            # One that failed is taken out of the line when it is looked through.
            return "later"
        return judge(row)

    def _load(self, row: Row) -> "Future[None]":
        """Return the way of a row's adapter, which may have ended at once."""
        at_hand = attempt(partial(self._leases.acquire_now, row))
        if at_hand is False:
            if self._loaders is None:
                self._loaders = ThreadPoolExecutor(N_LOADERS, thread_name_prefix="glassbox-adapter")
            load = self._loaders.submit(self._leases.acquire, row)
        else:
            # The usual case: nothing is to be waited for, and a burst of rows joins in one step.
            load = Future()
            if isinstance(at_hand, Exception):
                load.set_exception(at_hand)
            else:
                load.set_result(None)
        self._loads[row] = load
        if not load.done() or load.exception() is not None:
            load.add_done_callback(lambda _: self._wake())
        return load

    def _wake(self) -> None:
        with self._changed:
            self._looked_s = 0.0
            self._notify()

    def _notify(self) -> None:
        self._n_changes += 1
        self._changed.notify_all()

    def _look_through(self) -> Told:
        """Take out of the line what was cancelled, is too late, or cannot have its adapter."""
        now = time.perf_counter()
        if now - self._looked_s < LOOK_S:
            return []
        self._looked_s = now
        with self._changed:
            overdue = self._n_holds > 0 and now > self._held_until_s
            retry_after_s = self._pace.retry_after_s(len(self._line))
            n_waiting = len(self._line)
            gone = self._line.remove(lambda row: overdue or self._is_over(row, now))
        told: Told = []
        for row in gone:
            load = self._loads.get(row)
            error = load.exception() if load is not None and load.done() else None
            if isinstance(error, Exception):
                told.append((row, error))
            elif row.ticket.cancelled.is_set():
                told.append((row, self._cancelled(row)))
            elif overdue:
                told.append((row, QueueFull(n_waiting, retry_after_s)))
            else:
                told.append((row, too_late(row, now)))
        return told

    def _is_over(self, row: Row, now_s: float) -> bool:
        load = self._loads.get(row)
        return (
            row.ticket.cancelled.is_set()
            or (row.deadline_s is not None and now_s >= row.deadline_s)
            or (load is not None and load.done() and load.exception() is not None)
        )

    def _cancelled(self, row: Row) -> Generation:
        """Return the answer of a row that was cancelled before it began."""
        row.reason = "cancelled"
        return row.generation(no_states(row.request.capture, row.d_model), time.perf_counter())

    def _deliver(self, told: Told) -> None:
        for row, outcome in told:
            if isinstance(outcome, Piece):
                row.tell(outcome)
                continue
            self._let_go(row)
            if row.begun_s is not None:
                self._pace.finished(time.perf_counter())
            if isinstance(outcome, Exception):
                row.ticket.future.set_exception(outcome)
            else:
                row.ticket.future.set_result(outcome)

    def _let_go(self, row: Row) -> None:
        load = self._loads.pop(row, None)
        if load is None or load.done():
            self._leases.release(row)
        else:
            # An adapter on the way is given back when it arrives; one not yet begun is not fetched.
            load.add_done_callback(lambda _: self._leases.release(row))
            load.cancel()
