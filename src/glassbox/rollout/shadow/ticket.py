"""What becomes of one request's copy: handed back at once, filled in later."""

import threading
from collections.abc import Callable

from glassbox.audit.records import ShadowEvent


class ShadowTicket:
    """The first challenger's copy of one request. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event: ShadowEvent | None = None
        self._calls: list[Callable[[], None]] = []

    @property
    def event(self) -> ShadowEvent | None:
        """How it ended; None until it has."""
        return self._event

    def wait(self, seconds: float) -> ShadowEvent | None:
        """Return how it ended, None if it has not within some seconds. Blocks the thread."""
        if self._event is None and seconds > 0.0:
            done = threading.Event()
            self.when_done(done.set)
            done.wait(seconds)
        return self._event

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once when it has ended, at once if it has; on any thread, so hand it on there."""
        with self._lock:
            if self._event is None:
                self._calls.append(call)
                return
        call()

    def fulfil(self, event: ShadowEvent) -> None:
        """Note how it ended."""
        with self._lock:
            self._event = event
            calls, self._calls = self._calls, []
        for each in calls:
            each()
