"""``TechniqueRun``: one call that is under way, as its caller sees it.

Knows a backend and packed values; knows nothing of how the function got there.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from glassbox.errors import DeadlineExceeded, InvalidValue
from glassbox.techniques import values
from glassbox.techniques.calls import (
    FINAL,
    NEVER_STARTED,
    Packed,
    Run,
    RunStatus,
    Timing,
)
from glassbox.techniques.protocol import Backend
from glassbox.techniques.running import remote_errors

POLL_S = 10.0
"""Longest that one question to the other side waits; another follows."""

N_TRIES = 3
"""How often a call is submitted that others' runs took the worker from before it had begun."""

OnLine = Callable[[str], None]
"""Called with each line that a technique prints."""


@dataclass(frozen=True)
class Finished:
    """What there is to say about a run that has ended, apart from its result."""

    id: str
    """Names the run."""
    name: str
    """Of the technique."""
    status: RunStatus
    """How it ended."""
    timing: Timing = field(default_factory=Timing)
    """Loading, waiting and the technique's own time, seconds."""
    total_s: float = 0.0
    """From the call to the value, as the caller's clock had it."""
    lines: tuple[str, ...] = ()
    """What it printed."""
    undone: tuple[str, ...] = ()
    """What it left behind and was put back."""
    result_bytes: int = 0
    """Size of the packed result."""
    left_out: tuple[str, ...] = ()
    """Parts of the result that do not travel, such as ``past_key_values``."""

    def __str__(self) -> str:
        timing = self.timing
        # Finding a model that is resident already takes a moment, too.
        loading = f"loaded in {timing.load_s:.1f} s, " if timing.load_s >= 0.05 else ""
        undone = "".join(f"; undone: {note}" for note in self.undone)
        return (
            f"{self.name} {self.status}: {loading}waited {timing.queue_s * 1e3:.1f} ms, "
            f"ran {timing.run_s * 1e3:.1f} ms, {self.total_s * 1e3:.1f} ms in all{undone}"
        )


@dataclass(frozen=True)
class Reading:
    """How a caller wants results and lines."""

    name: str
    """Of the technique."""
    as_numpy: bool = False
    """Tensors become numpy arrays."""
    allow_pickle: bool = False
    """Values that were pickled on the other side may be unpickled here."""
    load_s: float = 0.0
    """What loading took before this call, seconds."""
    on_line: OnLine | None = None
    """Shown every line as it comes."""
    on_finished: Callable[[Finished], None] | None = None
    """Told once, when the value was handed to the caller."""
    again: Callable[[], Run] | None = None
    """Submits it anew where its worker ended before it had begun; None leaves it lost."""


class TechniqueRun:
    """A call that was submitted. Thread-safe.

    Args:
        backend: What runs it.
        run: What was known of it when it was submitted.
        reading: How its caller wants it.
        since: When it was called, seconds of ``time.monotonic``; None is now.
    """

    def __init__(
        self, backend: Backend, run: Run, reading: Reading, since: float | None = None
    ) -> None:
        self._backend = backend
        self._reading = reading
        self._since = monotonic() if since is None else since
        self._asking = threading.Lock()
        self._lines: list[str] = []
        self._run = run
        self._packed: Packed | None = None
        self._finished: Finished | None = None
        self._load_s = reading.load_s
        self._again = reading.again
        self._n_tries = 1
        self._is_unwanted = False
        self._take(run)

    def __repr__(self) -> str:
        return f"TechniqueRun({self.name!r}, {self.id!r}, last heard: {self._run.status})"

    @property
    def id(self) -> str:
        """Names the run; another one after it was submitted anew, having never begun."""
        return self._run.id

    @property
    def name(self) -> str:
        """What the technique is called."""
        return self._reading.name

    @property
    def status(self) -> RunStatus:
        """Where it is: asked now, unless it has ended or another thread waits for news already."""
        return self._ask(0.0).status

    @property
    def position(self) -> int | None:
        """How many runs are before it, as last heard; None when it no longer waits."""
        return self._run.position

    @property
    def timing(self) -> Timing:
        """Where its time went, as last heard; loading includes what the call had to wait for."""
        timing = self._run.timing
        load_s = timing.load_s or self._load_s
        return Timing(load_s, timing.queue_s, timing.run_s)

    @property
    def undone(self) -> tuple[str, ...]:
        """What was put back after it; empty until it has ended."""
        return self._run.undone

    @property
    def finished(self) -> Finished | None:
        """What there is to say about it, once its result was taken; None before."""
        return self._finished

    @property
    def has_ended(self) -> bool:
        """Whether it was heard to have ended; asks nobody."""
        return self._run.status in FINAL

    def lines(self) -> Iterator[str]:
        """Yield what it prints, from its first line, until it ends."""
        seen = 0
        while True:
            yield from (lines := self._lines[seen:])
            seen += len(lines)
            if self.has_ended and seen == len(self._lines):
                return
            if seen == len(self._lines):
                self._ask(POLL_S, after=seen)

    def lines_after(self, n_seen: int, wait_s: float) -> tuple[str, ...]:
        """Return the lines after the first ``n_seen``, waiting so many seconds if there is none."""
        if n_seen == len(self._lines) and not self.has_ended:
            self._ask(wait_s, after=n_seen)
        return tuple(self._lines[n_seen:])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether it has ended, waiting at most ``timeout_s`` seconds for it."""
        end = None if timeout_s is None else monotonic() + timeout_s
        while not self.has_ended:
            left = POLL_S if end is None else min(POLL_S, end - monotonic())
            if left <= 0:
                return False
            self._ask(left, after=len(self._lines))
        return True

    def cancel(self) -> None:
        """Ask it to end; one that has ended stays as it is."""
        if not self.has_ended:
            self._is_unwanted = True
            self._backend.cancel(self.id)

    def result(self, timeout_s: float | None = None) -> Any:
        """Return what the technique returned, waiting for it.

        Every call unpacks it anew. A run that is waited for in vain goes on.

        Args:
            timeout_s: Seconds to wait; None waits for its end.

        Raises:
            InvalidValue: No number of seconds.
            DeadlineExceeded: It has not ended in that time.
            TechniqueFailed: It failed, was cancelled or was lost; where the remote exception's
                class exists here, that class is raised and this is its cause.
        """
        if not isinstance(timeout_s, int | float | None):
            raise InvalidValue("timeout_s", timeout_s, "a number of seconds, or None")
        if not self.wait(timeout_s):
            raise self.overdue(timeout_s)
        if self._run.status != "succeeded":
            self._finish(())
            remote_errors.raise_here(self._complete())
        packed = self._fetch()
        value = values.unpack(
            packed, as_numpy=self._reading.as_numpy, allow_pickle=self._reading.allow_pickle
        )
        self._finish(values.left_out(packed))
        return value

    def overdue(self, timeout_s: float | None) -> DeadlineExceeded:
        """Return what is raised where it has not ended in the time that its caller gave it."""
        return DeadlineExceeded(
            f"{self.name} has not ended within {timeout_s} s (it is {self._run.status}). It "
            "goes on: ask again, or cancel() it."
        )

    def _fetch(self) -> Packed:
        with self._asking:
            if self._packed is None:
                self._packed = self._backend.result(self.id)
            return self._packed

    def _ask(self, wait_s: float, *, after: int | None = None) -> Run:
        """Ask the other side, unless somebody else of this process has learned more meanwhile."""
        if not self._asking.acquire(blocking=wait_s > 0, timeout=wait_s or -1):
            return self._run
        try:
            known = len(self._lines)
            if self.has_ended or (after is not None and known > after):
                return self._run
            self._take(self._backend.run(self.id, after=known, wait_s=wait_s))
            return self._run
        finally:
            self._asking.release()

    def _take(self, run: Run) -> None:
        """Remember what was heard; a run that never began is submitted anew."""
        while self._may_try_again(run):
            assert self._again is not None
            self._n_tries += 1
            self._run = run = self._again()
            self._load_s = run.timing.load_s or self._load_s
            if self._is_unwanted:
                self._backend.cancel(run.id)
        if run.status != "queued":
            # It holds the arguments, which may be large.
            self._again = None
        self._lines.extend(run.lines)
        if run.result is not None:
            self._packed = run.result
        self._run = run
        if self._reading.on_line is not None:
            for line in run.lines:
                self._reading.on_line(line)

    def _may_try_again(self, run: Run) -> bool:
        """Whether a run is lost that never began, and somebody still wants it."""
        never_began = run.error is not None and run.error.code == NEVER_STARTED
        is_wanted = self._n_tries < N_TRIES and not self._is_unwanted
        return never_began and is_wanted and self._again is not None

    def _complete(self) -> Run:
        """Return what is known, with every line that was printed."""
        run = self._run
        return Run(
            id=run.id,
            status=run.status,
            lines=tuple(self._lines),
            n_lines=len(self._lines),
            error=run.error,
            undone=run.undone,
            timing=self.timing,
        )

    def _finish(self, left_out: tuple[str, ...]) -> None:
        if self._finished is not None:
            return
        run = self._run
        self._finished = Finished(
            id=run.id,
            name=self.name,
            status=run.status,
            timing=self.timing,
            total_s=monotonic() - self._since,
            lines=tuple(self._lines),
            undone=run.undone,
            result_bytes=run.result_bytes,
            left_out=left_out,
        )
        if self._reading.on_finished is not None:
            self._reading.on_finished(self._finished)
