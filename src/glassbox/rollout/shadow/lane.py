"""One challenger's lane: a bounded queue in front of it, one thread that asks, and all the counts.

Copies are shed here first: a full queue, a sampling share, an open breaker. Every copy that is
offered ends in exactly one status. Knows no routing.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from glassbox.audit.records import ShadowEvent, ShadowRole, ShadowStatus
from glassbox.engine.model.attempt import attempt
from glassbox.errors import GlassboxError
from glassbox.rollout.prediction import Prediction, difference
from glassbox.rollout.shadow.breaker import Circuit, CircuitBreaker
from glassbox.rollout.shadow.process import (
    Answered,
    VersionBusy,
    VersionLost,
    VersionOverdue,
    VersionRefused,
)
from glassbox.rollout.shadow.ticket import ShadowTicket
from glassbox.rollout.version import Version

MEMORY_LOOK_S = 0.5
"""How often a process is asked how much memory it takes, in seconds."""

JOIN_S = 10.0
"""Seconds to wait for a lane's thread at its end."""

OnEvent = Callable[[ShadowEvent], None]
"""Told how a copy ended; called on a lane's thread, or the caller's where it ended at once."""

LaneState = Literal["loading", "ready", "broken", "closed"]
"""``broken``: its breaker is open, nothing is sent to it."""


class Side(Protocol):
    """Where a version is asked: its process, or a place in this one."""

    @property
    def pid(self) -> int | None:
        """Number of its process; None in this one."""
        ...

    @property
    def resident_bytes(self) -> int:
        """Memory of its process in bytes; 0 in this one."""
        ...

    def wait_until_loaded(self) -> None:
        """Wait until it can be asked.

        Raises:
            VersionLost: It cannot.
            VersionOverdue: It took too long.
        """
        ...

    def ask(self, rows: bytes, *, timeout_s: float) -> Answered:
        """Return the answer to a JSON array of one row.

        Raises:
            VersionRefused: It raised an error and lives on.
            VersionLost: It is gone.
            VersionOverdue: It took too long.
        """
        ...

    def require_memory(self) -> None:
        """Check the memory that it takes.

        Raises:
            VersionLost: It took too much and was ended.
        """
        ...

    def kill(self) -> None:
        """End it at once, from any thread; idempotent."""
        ...

    def close(self) -> None:
        """End it and leave nothing behind, on the lane's thread; idempotent."""
        ...


@dataclass(frozen=True)
class LaneStatus:
    """How one challenger is doing."""

    version: str
    """Unique name of the version."""
    role: ShadowRole
    """Challenger, or the champion once more."""
    state: LaneState
    """What it is doing."""
    circuit: Circuit
    """How its breaker stands."""
    pid: int | None
    """Its process; None where there is none now, or it runs in this one."""
    resident_bytes: int
    """Memory of that process, in bytes."""
    n_waiting: int
    """Copies in the queue."""
    counts: Mapping[ShadowStatus, int]
    """How copies ended since the lane was opened; ``pending`` are those that have not."""
    n_lost: int
    """Processes that were replaced."""
    n_untold: int
    """Endings that could not be recorded."""
    last_error: str
    """What the latest failure is called; empty without. Quotes nothing that was asked."""


@dataclass(frozen=True, eq=False)
class Copy:
    """One request's copy."""

    request_id: str
    """The request."""
    rows: bytes
    """Its features: a JSON array of one row."""
    answer: Prediction
    """What was answered."""
    ticket: ShadowTicket | None
    """To be fulfilled; None where nobody may ask for it."""


def ending(
    copy: Copy,
    shadow_version: str,
    status: ShadowStatus,
    role: ShadowRole = "challenger",
    other: Prediction | None = None,
    latency_ms: float | None = None,
) -> ShadowEvent:
    """Return the event that says how a copy ended, compared with what was answered."""
    return ShadowEvent(
        request_id=copy.request_id,
        time_s=time.time(),
        shadow_version=shadow_version,
        status=status,
        role=role,
        prediction=None if other is None else other.prediction,
        confidence=None if other is None else other.confidence,
        label=None if other is None else other.label,
        label_probs=None if other is None else other.label_probs,
        diff=None if other is None else difference(copy.answer, other),
        latency_ms=latency_ms,
    )


class Lane:
    """Everything in front of one challenger. Thread-safe.

    Args:
        version: The challenger.
        open_side: Starts it anew; called on the lane's thread.
        on_event: Told how each copy ended.
        role: Challenger, or the champion once more.
        capacity: Copies that may wait.
        timeout_s: Seconds for one copy, waiting not counted.
    """

    def __init__(
        self,
        version: Version,
        open_side: Callable[[], Side],
        on_event: OnEvent,
        *,
        role: ShadowRole = "challenger",
        capacity: int = 256,
        timeout_s: float = 5.0,
    ) -> None:
        self.version = version
        self._open_side = open_side
        self._on_event = on_event
        self._role: ShadowRole = role
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._wake = threading.Condition()
        self._waiting: deque[Copy] = deque()
        self._side: Side | None = None
        self._is_loaded = self._is_busy = self._is_closing = False
        self._breaker = CircuitBreaker(time.monotonic)
        self._counts: Counter[ShadowStatus] = Counter()
        self._n_lost = self._n_untold = 0
        self._last_error = ""
        self._looked_s = 0.0
        self._thread = threading.Thread(
            target=self._run, name=f"glassbox-shadow-{version.name}", daemon=True
        )
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread has not ended yet."""
        return self._thread.is_alive()

    def offer(self, copy: Copy) -> None:
        """Take a copy, or end it at once: ``dropped``, ``breaker_open``, ``disabled``."""
        with self._wake:
            refused = self.refusal()
            if refused is None:
                self._waiting.append(copy)
                self._wake.notify()
                return
        self.end(copy, refused)

    def refusal(self) -> ShadowStatus | None:
        """Return as what a copy would end that was offered now; None if one is taken."""
        with self._wake:
            if self._is_closing:
                return "disabled"
            circuit = self._breaker.circuit
            if circuit == "open" or (circuit == "half_open" and (self._waiting or self._is_busy)):
                return "breaker_open"
            return "dropped" if len(self._waiting) >= self._capacity else None

    def end(
        self,
        copy: Copy,
        status: ShadowStatus,
        other: Prediction | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Count how a copy ended and tell everybody who wants to know."""
        event = ending(copy, self.version.name, status, self._role, other, latency_ms)
        with self._wake:
            self._counts[status] += 1
        if self._role == "challenger" or status not in ("dropped", "breaker_open", "disabled"):
            told = attempt(lambda: self._on_event(event))
            if isinstance(told, Exception):
                with self._wake:
                    self._n_untold += 1
                    self._last_error = f"an ending could not be recorded: {_called(told)}"
        if copy.ticket is not None:
            copy.ticket.fulfil(event)

    def status(self) -> LaneStatus:
        """Return how it is doing."""
        with self._wake:
            side = self._side
            pending = len(self._waiting) + self._is_busy
            counts: dict[ShadowStatus, int] = {
                each: self._counts[each] for each in get_args(ShadowStatus)
            }
            counts["pending"] = pending
            found = LaneStatus(
                version=self.version.name,
                role=self._role,
                state=self._state(),
                circuit=self._breaker.circuit,
                pid=None if side is None else side.pid,
                resident_bytes=0,
                n_waiting=len(self._waiting),
                counts=counts,
                n_lost=self._n_lost,
                n_untold=self._n_untold,
                last_error=self._last_error,
            )
        return found if side is None else replace(found, resident_bytes=side.resident_bytes)

    def stop(self) -> None:
        """Begin to close: what waits ends as ``disabled``, the process is killed. Returns soon."""
        with self._wake:
            self._is_closing = True
            side = self._side
            self._wake.notify()
        if side is not None:
            side.kill()

    def close(self) -> None:
        """Stop, and wait until nothing is left of it."""
        self.stop()
        self._thread.join(JOIN_S)

    def _state(self) -> LaneState:
        if self._is_closing:
            return "closed"
        if self._is_loaded:
            return "ready"
        return "loading" if self._side is not None or not self._breaker.open_for_s else "broken"

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._is_closing and not self._has_work():
                    self._wake.wait(self._breaker.open_for_s or None)
                if self._is_closing:
                    break
                copy = self._waiting.popleft() if self._is_loaded else None
                self._is_busy = copy is not None
            if copy is None:
                self._load()
            else:
                self._answer(copy)
        if self._side is not None:
            self._side.close()
        self._end_waiting("disabled")

    def _has_work(self) -> bool:
        return bool(self._waiting) if self._is_loaded else not self._breaker.open_for_s

    def _load(self) -> None:
        try:
            side = self._open_side()
            with self._wake:
                self._side = side
                is_closing = self._is_closing
            if is_closing:
                # It was asked to stop when there was nothing to kill yet.
                side.kill()
            side.wait_until_loaded()
        except GlassboxError as error:
            self._lose(error, at_once=True)
            return
        with self._wake:
            self._is_loaded = True

    def _answer(self, copy: Copy) -> None:
        side = self._side
        assert side is not None
        status: ShadowStatus = "ok"
        other: Prediction | None = None
        latency_ms: float | None = None
        lost: GlassboxError | None = None
        try:
            answered = side.ask(copy.rows, timeout_s=self._timeout_s)
            other, latency_ms = answered.predictions[0], answered.latency_ms
        except VersionBusy:
            status = "dropped"
        except VersionRefused as error:
            status, latency_ms = "error", error.latency_ms
            with self._wake:
                self._last_error = error.name
        except VersionOverdue as error:
            status, lost = "timeout", error
        except VersionLost as error:
            status, lost = "disabled" if self._is_closing else "error", error
        lost = lost or self._over_memory(side)
        if lost is None:
            with self._wake:
                self._breaker.succeeded()
                self._is_busy = False
        self.end(copy, status, other, latency_ms)
        if lost is not None:
            self._lose(lost)

    def _over_memory(self, side: Side) -> VersionLost | None:
        now_s = time.monotonic()
        if now_s - self._looked_s < MEMORY_LOOK_S:
            return None
        self._looked_s = now_s
        try:
            side.require_memory()
        except VersionLost as error:
            return error
        return None

    def _lose(self, error: GlassboxError, *, at_once: bool = False) -> None:
        if self._side is not None:
            self._side.close()
        with self._wake:
            self._side = None
            self._is_loaded = self._is_busy = False
            if self._is_closing:
                return
            self._n_lost += 1
            self._last_error = str(error)
            self._breaker.failed(at_once=at_once)
            is_open = self._breaker.circuit == "open"
        if is_open:
            self._end_waiting("breaker_open")

    def _end_waiting(self, status: ShadowStatus) -> None:
        with self._wake:
            left = list(self._waiting)
            self._waiting.clear()
        for each in left:
            self.end(each, status)


def _called(error: Exception) -> str:
    return error.code if isinstance(error, GlassboxError) else type(error).__name__
