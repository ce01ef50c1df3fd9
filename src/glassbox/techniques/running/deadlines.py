"""The clock that tells a run when its time is over, and goes on telling it.

Knows time and stop signs; knows nothing of what runs.
"""

import threading
import time

from glassbox.errors import DeadlineExceeded, GlassboxError
from glassbox.techniques.calls import allow_more
from glassbox.techniques.running.stopping import StopSign

INSIST_S = 0.05
"""How often a run that is to end is told so again: code may swallow what is raised in it."""


class Clock:
    """Watches the one run that is under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sign: StopSign | None = None
        self._wall_s = 0.0
        self._reason: GlassboxError | None = None
        self._due_s: float | None = None
        self._wakes_s: float | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def overdue_s(self) -> float:
        """For how long the run has been asked to end; 0 while there is none such."""
        with self._changed:
            due_s = self._due_s
        return 0.0 if due_s is None else max(0.0, time.monotonic() - due_s)

    def begin(self, sign: StopSign, wall_s: float | None) -> None:
        """Watch a run from now on.

        Args:
            sign: How it is told.
            wall_s: Seconds that it may take; None is as long as it likes.
        """
        with self._changed:
            self._sign, self._reason = sign, None
            self._wall_s = wall_s or 0.0
            self._due_s = None if wall_s is None else time.monotonic() + wall_s
            self._look_earlier()

    def stop(self, sign: StopSign, reason: GlassboxError) -> None:
        """Tell a run to end now, and go on telling it while it is the one under way."""
        sign.raise_for(reason)
        with self._changed:
            if self._sign is sign:
                self._due_s, self._reason = time.monotonic(), reason
                self._look_earlier()

    def end(self) -> None:
        """Watch no run."""
        with self._changed:
            # Not woken for this: the thread finds nothing to do when its time comes.
            self._sign = self._due_s = self._reason = None

    def close(self) -> None:
        """End the clock's thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _look_earlier(self) -> None:
        if self._due_s is None or (self._wakes_s is not None and self._wakes_s <= self._due_s):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="glassbox-clock", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _watch(self) -> None:
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                wait_s = None
                if self._sign is not None and self._due_s is not None:
                    wait_s = min(self._due_s - now, threading.TIMEOUT_MAX)
                    if wait_s <= 0:
                        self._sign.raise_for(self._reason or _overrun(self._wall_s))
                        wait_s = INSIST_S
                self._wakes_s = None if wait_s is None else now + wait_s
                self._changed.wait(wait_s)


def _overrun(wall_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The run took longer than the {wall_s:g} s that it may. "
        + allow_more("Limits(wall_s=…), --timeout")
    )
