"""What a run prints, line by line, without taking anything from other threads.

``sys.stdout`` and ``sys.stderr`` are replaced while a run lasts by stand-ins that look at the
thread: the run's own lines are kept, everybody else's go where they always went. Threads that it
starts are its own for as long as it lasts, and logging and warnings are lines too. What C code
writes to a file descriptor is not seen here.
"""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from glassbox.techniques.packed.leaves import json_text
from glassbox.wording import counted

N_LINES = 10_000
"""Most lines of one run that are kept."""

LINE_CHARACTERS = 4_000
"""Most characters of one line that are kept."""

PROGRESS_S = 0.5
"""A line that is written over again and again, as bars of progress are, counts this often."""

_LIBRARY_LOGGERS = ("transformers",)
"""Loggers that do not pass their records on."""


class Printed:
    """The lines of one run.

    Args:
        told: Called after a line was added.
        edit: Makes of a line what may be shown.
        hide: Given all lines and the last as it was printed; hides what they say together.
    """

    def __init__(
        self,
        told: Callable[[], None] | None = None,
        edit: Callable[[str], str] | None = None,
        hide: Callable[[list[str], str], None] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._told = told
        self._edit = edit
        self._hide = hide
        self._guard = threading.Lock()
        self._begun: dict[int, str] = {}
        """The line that each thread has not ended yet."""
        self._n_dropped = 0
        self._written_over_s = 0.0

    def write(self, text: str) -> None:
        """Add text; whole lines are kept as they end."""
        thread = threading.get_ident()
        with self._guard:
            *done, rest = (self._begun.pop(thread, "") + text).split("\n")
            for line in done:
                ended = line.rstrip("\r")
                self._add(ended.rsplit("\r", 1)[-1])
            if "\r" in rest:
                rest = self._written_over(rest)
            if rest:
                # Only its beginning will be kept, so that the rest needs no memory.
                self._begun[thread] = rest[: 2 * LINE_CHARACTERS]

    def close(self) -> None:
        """Keep what was begun, and say how much was dropped."""
        with self._guard:
            for begun in self._begun.values():
                rest = begun.strip("\r").rsplit("\r", 1)[-1]
                if rest:
                    self._add(rest)
            self._begun.clear()
            if self._n_dropped:
                self._keep(f"[{counted(self._n_dropped, 'more line')} dropped]")

    def _written_over(self, rest: str) -> str:
        """Show the newest of many versions of a line now and then; return what is begun."""
        parts = rest.split("\r")
        now = time.monotonic()
        shown = next((part for part in reversed(parts[:-1]) if part), "")
        if shown and now - self._written_over_s >= PROGRESS_S:
            self._written_over_s = now
            self._add(shown)
            return parts[-1]
        return f"{shown}\r{parts[-1]}" if shown else parts[-1]

    def _add(self, line: str) -> None:
        if len(self.lines) >= N_LINES:
            self._n_dropped += 1
            return
        if len(line) > LINE_CHARACTERS:
            n_more = len(line) - LINE_CHARACTERS
            line = f"{line[:LINE_CHARACTERS]} [at least {n_more:,} more characters dropped]"
        self._keep(line)

    def _keep(self, line: str) -> None:
        shown = self._edit(line) if self._edit is not None else line
        self.lines.append(json_text(shown))
        if self._hide is not None:
            self._hide(self.lines, line)
        if self._told is not None:
            self._told()


class _Router:
    """Knows which thread's output belongs to whom."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: dict[int, Printed] = {}
        self._streams: dict[str, Any] = {}
        self._start = threading.Thread.start
        self._handler = _Records(self)

    def of_this_thread(self) -> Printed | None:
        """Return where the calling thread's output goes; None where it always went."""
        return self._kept.get(threading.get_ident())

    def begin(self, printed: Printed) -> None:
        """Keep what the calling thread prints from now on."""
        with self._guard:
            if not self._kept:
                self._install()
            self._kept[threading.get_ident()] = printed

    def end(self) -> None:
        """Leave the calling thread's output alone again, and that of all that it has started."""
        with self._guard:
            ended = self._kept.get(threading.get_ident())
            self._kept = {at: each for at, each in self._kept.items() if each is not ended}
            if not self._kept:
                self._remove()

    def start(self, thread: threading.Thread) -> None:
        """Start a thread; what it prints belongs to the run that has started it."""
        kept = self.of_this_thread()
        if kept is not None:
            thread.run = partial(self._run, kept, thread.run)  # type: ignore[method-assign]
        self._start(thread)

    def _run(self, printed: Printed, run: Callable[[], None]) -> None:
        thread = threading.get_ident()
        with self._guard:
            # The run may be over by now.
            if any(each is printed for each in self._kept.values()):
                self._kept[thread] = printed
        try:
            run()
        finally:
            with self._guard:
                self._kept.pop(thread, None)

    def _install(self) -> None:
        self._start = threading.Thread.start
        threading.Thread.start = _start  # type: ignore[method-assign]
        for name in ("stdout", "stderr"):
            self._streams[name] = _StandIn(getattr(sys, name), self)
            setattr(sys, name, self._streams[name])
        logging.getLogger().addHandler(self._handler)
        for name in _LIBRARY_LOGGERS:
            logging.getLogger(name).addHandler(self._handler)

    def _remove(self) -> None:
        threading.Thread.start = self._start  # type: ignore[method-assign]
        for name, stream in self._streams.items():
            # Whoever has put another stream in its place meanwhile keeps it.
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.original)
        logging.getLogger().removeHandler(self._handler)
        for name in _LIBRARY_LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)


class _StandIn(io.TextIOBase):
    """A stream that looks at the thread before it writes."""

    def __init__(self, original: Any, router: _Router) -> None:
        self.original = original
        self._router = router

    def __del__(self) -> None:
        # Nothing ends with a stand-in; what it stood for may be closed long since.
        pass

    def write(self, text: str) -> int:
        kept = self._router.of_this_thread()
        if kept is not None:
            kept.write(str(text))
        elif self.original is not None:
            self.original.write(text)
        return len(text)

    def flush(self) -> None:
        if self.original is not None and self._router.of_this_thread() is None:
            self.original.flush()

    def isatty(self) -> bool:
        if self.original is None or self._router.of_this_thread() is not None:
            return False
        return bool(self.original.isatty())

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self.original is None or self._router.of_this_thread() is not None:
            raise io.UnsupportedOperation("A technique's output has no file of its own.")
        return int(self.original.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.original, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(self.original, "errors", None)

    @property
    def buffer(self) -> Any:
        return getattr(self.original, "buffer")  # noqa: B009


class _Records(logging.Handler):
    """Makes lines of the log records of a run's thread."""

    def __init__(self, router: _Router) -> None:
        super().__init__()
        self._router = router
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        kept = self._router.of_this_thread()
        if kept is not None:
            kept.write(self.format(record) + "\n")
        elif self._is_alone and not record.name.startswith(_LIBRARY_LOGGERS):
            # Without us there would be no handler, and this is what would have been done.
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:
                last.handle(record)

    @property
    def _is_alone(self) -> bool:
        return logging.getLogger().handlers == [self]


_ROUTER = _Router()


def _start(self: threading.Thread) -> None:
    """Stand in for ``Thread.start`` while runs last."""
    _ROUTER.start(self)


@contextmanager
def kept_lines(printed: Printed) -> Iterator[None]:
    """Keep what the calling thread prints inside the block."""
    _ROUTER.begin(printed)
    try:
        yield
    finally:
        _ROUTER.end()
        printed.close()
