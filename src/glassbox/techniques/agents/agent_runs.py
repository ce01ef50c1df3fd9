"""The runs of an agent: begun, watched, kept for a while, forgotten in the order they ended.

Each has a thread that takes what it prints and fetches its value, so that whoever asks never waits
longer than it said. Knows nothing of how an agent speaks to us.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Protocol, runtime_checkable

from glassbox.engine.model.attempt import attempt
from glassbox.errors import ConflictError, QueueFull, UnknownName
from glassbox.techniques.calls import RunStatus, Timing
from glassbox.techniques.client.handle import TechniqueRun

MOST_RUNNING: Final = 8
"""Runs of one caller that may be under way at a time."""

MOST_KEPT: Final = 50
"""Runs of one caller that are remembered."""

MOST_BYTES: Final = 2**30
"""Packed size of a caller's results that are kept; what ended last is kept whatever its size."""

MOST_LINES: Final = 2000
"""Printed lines that are kept of a run, the last ones."""


@runtime_checkable
class Runner(Protocol):
    """What runs techniques: an ``InterpClient``."""

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> TechniqueRun:
        """Begin a call."""
        ...


@dataclass(frozen=True)
class Known:
    """What is known of a run by now."""

    id: str
    """Names it."""
    name: str
    """Of the technique."""
    status: RunStatus
    """Where it is; ``queued`` also while the model is being loaded."""
    seconds: float
    """Since it was begun, until it ended."""
    lines: tuple[str, ...] = ()
    """The last lines that it printed."""
    n_lines: int = 0
    """Lines that it printed altogether."""
    timing: Timing = field(default_factory=Timing)
    """Where its time went."""
    undone: tuple[str, ...] = ()
    """What was put back after it."""
    left_out: tuple[str, ...] = ()
    """Parts of its result that do not travel."""
    result_bytes: int = 0
    """Size of its result."""
    error: Exception | None = None
    """Why it did not succeed."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status not in ("queued", "running")


class AgentRuns:
    """One caller's runs by a short name: ``r1``, ``r2`` and so on.

    Args:
        runner: What runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._runs: dict[str, _Followed] = {}
        self._n_begun = 0

    def begin(self, fn: Callable[..., Any] | str, name: str, arguments: Mapping[str, Any]) -> str:
        """Begin a run and return its id; does not wait for the model.

        Raises:
            QueueFull: Too many are under way.
        """
        with self._lock:
            n_running = sum(not each.known().has_ended for each in self._runs.values())
            if n_running >= MOST_RUNNING:
                raise QueueFull(n_running, 5.0)
            self._n_begun += 1
            run = _Followed(f"r{self._n_begun}", name)
            self._runs[run.id] = run
        run.follow(lambda: self._runner.submit(fn, **arguments), self._forget_old)
        return run.id

    def wait(self, run_id: str, seconds: float) -> Known:
        """Return what is known of a run once it has ended, or after so many seconds.

        Raises:
            UnknownName: No such run, or it was forgotten.
        """
        run = self._run(run_id)
        run.ended.wait(max(seconds, 0.0))
        return run.known()

    def value(self, run_id: str) -> Any:
        """Return what a run returned.

        Raises:
            UnknownName: No such run, or it was forgotten.
            ConflictError: It has not ended, or did not succeed.
        """
        run = self._run(run_id)
        known = run.known()
        if known.status != "succeeded":
            raise ConflictError(
                f"Run {run_id} of {known.name} has no result: it is {known.status}"
                + (f" ({known.error})." if known.error is not None else ".")
                + " Wait for its end, or cancel it." * (not known.has_ended)
            )
        return run.value

    def cancel(self, run_id: str) -> Known:
        """Ask a run to end; one that has ended stays as it is.

        Raises:
            UnknownName: No such run, or it was forgotten.
        """
        run = self._run(run_id)
        run.cancel()
        return run.known()

    def all(self) -> list[Known]:
        """Return what is known of every run, the newest first."""
        with self._lock:
            runs = list(self._runs.values())
        return [each.known() for each in reversed(runs)]

    def _run(self, run_id: str) -> "_Followed":
        with self._lock:
            if run_id not in self._runs:
                raise UnknownName(
                    "run", run_id, list(self._runs)[-10:], remedy="Old runs are forgotten."
                )
            return self._runs[run_id]

    def _forget_old(self) -> None:
        with self._lock:
            ended = [each for each in self._runs.values() if each.until is not None]
            ended.sort(key=lambda each: each.until or 0.0)
            while len(ended) > 1 and (
                len(ended) > MOST_KEPT
                or sum(each.known().result_bytes for each in ended) > MOST_BYTES
            ):
                del self._runs[ended.pop(0).id]


class _Followed:
    """One run and the thread that follows it."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.value: Any = None
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._since = monotonic()
        self.until: float | None = None
        """When it ended, seconds of ``time.monotonic``; None before."""
        self._lines: list[str] = []
        self._n_lines = 0
        self._handle: TechniqueRun | None = None
        self._is_unwanted = False
        self._outcome: tuple[RunStatus, Exception | None] | None = None

    def follow(self, submit: Callable[[], TechniqueRun], then: Callable[[], None]) -> None:
        """Begin it on a thread of its own; once it has ended ``then`` is called, and all wake."""

        def work() -> None:
            found = attempt(lambda: self._finish(submit()))
            if isinstance(found, Exception):
                self._end(self._status_of(found), found)
            else:
                self._end("succeeded", None)
            then()
            self.ended.set()

        threading.Thread(target=work, name=f"glassbox-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        with self._lock:
            self._is_unwanted = True
            handle = self._handle
        if handle is not None:
            handle.cancel()

    def known(self) -> Known:
        """Return what is known; asks nobody."""
        with self._lock:
            handle, lines = self._handle, tuple(self._lines)
            status, error = self._outcome or ("queued", None)
            until = monotonic() if self.until is None else self.until
        if handle is None:
            return Known(self.id, self.name, status, until - self._since, error=error)
        finished = handle.finished
        return Known(
            id=self.id,
            name=self.name,
            status="running" if self._outcome is None and handle.position is None else status,
            seconds=until - self._since,
            lines=lines,
            n_lines=self._n_lines,
            timing=handle.timing,
            undone=handle.undone,
            left_out=() if finished is None else finished.left_out,
            result_bytes=0 if finished is None else finished.result_bytes,
            error=error,
        )

    def _finish(self, handle: TechniqueRun) -> None:
        with self._lock:
            self._handle = handle
            is_unwanted = self._is_unwanted
        if is_unwanted:
            handle.cancel()
        for line in handle.lines():
            with self._lock:
                self._n_lines += 1
                self._lines.append(line)
                del self._lines[:-MOST_LINES]
        self.value = handle.result()

    def _status_of(self, error: Exception) -> RunStatus:
        del error
        with self._lock:
            handle = self._handle
        status = "failed" if handle is None else handle.status
        return status if status not in ("queued", "running", "succeeded") else "failed"

    def _end(self, status: RunStatus, error: Exception | None) -> None:
        with self._lock:
            self._outcome = (status, error)
            self.until = monotonic()
