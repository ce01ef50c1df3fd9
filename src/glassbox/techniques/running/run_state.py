"""One call from the moment it is taken to the moment it is forgotten.

Knows what is told of it; knows nothing of queues and models.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from glassbox.techniques.calls import (
    FINAL,
    Call,
    Limits,
    Packed,
    RemoteError,
    Run,
    RunStatus,
    Timing,
)
from glassbox.techniques.running.printed import Printed
from glassbox.techniques.running.stopping import StopSign

RIDE_ALONG_BYTES = 4 * 2**20
"""Results up to this size are part of what is told of a run; larger ones are fetched."""


@lru_cache
def tightened(own: Limits, asked: Limits) -> Limits:
    """Return what a run may use: of each the lower bound."""

    def lower(name: str) -> Any:
        bounds = [each for each in (getattr(own, name), getattr(asked, name)) if each is not None]
        return min(bounds, default=None)

    return Limits(**{field.name: lower(field.name) for field in fields(Limits)})


@dataclass(frozen=True)
class RunRecord:
    """What is to be remembered of a run that has ended, for the records."""

    id: str
    """Names it."""
    technique: str
    """Digest of the function, or ``library:NAME``."""
    name: str
    """What people call it."""
    caller: str
    """Who asked."""
    status: RunStatus
    """How it ended."""
    timing: Timing
    """Where its time went."""
    undone: tuple[str, ...]
    """What it left behind and was put back."""
    error: RemoteError | None = None
    """Why it failed."""
    session: str | None = None
    """Session it belonged to."""
    n_lines: int = 0
    """Lines it printed."""
    result_bytes: int = 0
    """Size of its result."""


@dataclass(eq=False)
class Job:
    """A call and what has become of it; guarded by the lock of whoever runs it.

    Args:
        id: Names it.
        call: The call; let go of at its end, because what was sent with it may be large.
        lock: Its owner's.
        edit: Makes of a printed line what may be shown.
        hide: Hides what printed lines say together; see ``Printed``.
    """

    id: str
    call: Call
    lock: threading.RLock
    edit: Callable[[str], str] | None = None
    hide: Callable[[list[str], str], None] | None = None
    status: RunStatus = "queued"
    result: Packed | None = None
    result_bytes: int = 0
    is_dropped: bool = False
    error: RemoteError | None = None
    undone: tuple[str, ...] = ()
    cancelled: bool = False
    queued_s: float = field(default_factory=time.monotonic)
    begun_s: float | None = None
    ended_s: float | None = None
    run_s: float = 0.0

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)
        self.stop = StopSign()
        self.printed = Printed(self._told, self.edit, self.hide)
        self._n_watching = 0
        self.technique, self.name = self.call.technique, self.call.name
        self.caller, self.session = self.call.caller, self.call.session

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in FINAL

    def wait(self, wait_s: float, *, after: int | None = None) -> None:
        """Wait for the end, or for a line beyond those known; the lock is held, and let go of."""
        until = time.monotonic() + wait_s
        self._n_watching += 1
        try:
            while not self.is_over and (after is None or len(self.printed.lines) <= after):
                left = until - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    break
        finally:
            self._n_watching -= 1

    def end(self, status: RunStatus, error: RemoteError | None = None) -> None:
        """Make it final and wake whoever waits; the lock is held."""
        del self.call
        self.ended_s = time.monotonic()
        if self.begun_s is not None:
            self.run_s = self.ended_s - self.begun_s
        self.error = error
        self.status = status
        self.changed.notify_all()

    def seen(self, after: int, position: int | None = None) -> Run:
        """Return what is known of it; the lock is held."""
        lines = self.printed.lines
        result = self.result if self.result_bytes <= RIDE_ALONG_BYTES else None
        begun_s = self.begun_s or self.ended_s or time.monotonic()
        return Run(
            id=self.id,
            status=self.status,
            lines=tuple(lines[after:]),
            n_lines=len(lines),
            result=result,
            result_bytes=self.result_bytes,
            error=self.error,
            undone=self.undone,
            timing=Timing(queue_s=begun_s - self.queued_s, run_s=self.run_s),
            position=position,
        )

    def record(self) -> RunRecord:
        """Return what is to be remembered of it; the lock is held."""
        seen = self.seen(len(self.printed.lines))
        return RunRecord(
            id=self.id,
            technique=self.technique,
            name=self.name,
            caller=self.caller,
            status=self.status,
            timing=seen.timing,
            undone=seen.undone,
            error=self.error,
            session=self.session,
            n_lines=seen.n_lines,
            result_bytes=self.result_bytes,
        )

    def _told(self) -> None:
        if self._n_watching:
            with self.lock:
                self.changed.notify_all()
