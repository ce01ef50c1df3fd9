"""When to stop sending copies to a challenger that keeps losing its process: a circuit breaker.

A value of numbers and a clock; knows no processes. Not thread-safe.
"""

from collections.abc import Callable
from typing import Literal

Circuit = Literal["closed", "open", "half_open"]
"""``closed``: copies flow. ``open``: none do. ``half_open``: one is tried."""

TRIPS_AT = 5.0
"""Failures, less what was forgiven, that open it."""

FORGIVEN = 0.25
"""Failures that one success makes up for: more than one failure in five opens it in the end."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""The pause doubles with each trial that fails."""


class CircuitBreaker:
    """Closed until failures gather, open for a pause, then one trial.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._opened_s: float | None = None

    @property
    def circuit(self) -> Circuit:
        """How it stands now."""
        if self._opened_s is None:
            return "closed"
        return "open" if self.open_for_s > 0.0 else "half_open"

    @property
    def open_for_s(self) -> float:
        """Seconds until a trial may be made; 0 if it may now."""
        if self._opened_s is None:
            return 0.0
        return max(0.0, self._opened_s + self._pause_s - self._clock())

    def succeeded(self) -> None:
        """Note an answer, or an error that the version itself raised."""
        if self._opened_s is not None:
            self._opened_s, self._failures, self._pause_s = None, 0.0, FIRST_PAUSE_S
        self._failures = max(0.0, self._failures - FORGIVEN)

    def failed(self, *, at_once: bool = False) -> None:
        """Note that a process was lost.

        Args:
            at_once: Open without waiting for more, as when it cannot even be loaded.
        """
        self._failures += 1.0
        if self._opened_s is not None:
            self._pause_s = min(2.0 * self._pause_s, LONGEST_PAUSE_S)
        elif not at_once and self._failures < TRIPS_AT:
            return
        self._opened_s = self._clock()
