"""What a run prints, line by line, without taking anything from other threads.

``sys.stdout`` and ``sys.stderr`` are replaced while a run lasts by stand-ins that look at the
thread: the run's own lines are kept, everybody else's go where they always went. Logging and
warnings of the run's thread are lines too. What threads of its own print, and what C code writes
to a file descriptor, is not seen here.
"""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
        self._rest = ""
        self._n_dropped = 0
        self._written_over_s = 0.0

    def write(self, text: str) -> None:
        """Add text; whole lines are kept as they end."""
        whole = self._rest + text
        *done, self._rest = whole.split("\n")
        for line in done:
            self._add(line.rsplit("\r", 1)[-1] if "\r" in line.rstrip("\r") else line.rstrip("\r"))
        if "\r" in self._rest:
            self._write_over()
        elif len(self._rest) > 2 * LINE_CHARACTERS:
            # Only its beginning will be kept, so that the rest needs no memory.
            self._rest = self._rest[: 2 * LINE_CHARACTERS]

    def close(self) -> None:
        """Keep what was begun, and say how much was dropped."""
        rest = self._rest.strip("\r").rsplit("\r", 1)[-1]
        self._rest = ""
        if rest:
            self._add(rest)
        if self._n_dropped:
            self._keep(f"[{counted(self._n_dropped, 'more line')} dropped]")

    def _write_over(self) -> None:
        """Show the newest of many versions of the same line now and then."""
        parts = self._rest.split("\r")
        now = time.monotonic()
        shown = next((part for part in reversed(parts[:-1]) if part), "")
        if shown and now - self._written_over_s >= PROGRESS_S:
            self._written_over_s = now
            self._add(shown)
            self._rest = parts[-1]
        else:
            self._rest = f"{shown}\r{parts[-1]}" if shown else parts[-1]

    def _add(self, line: str) -> None:
        if len(self.lines) >= N_LINES:
            self._n_dropped += 1
            return
        if len(line) > LINE_CHARACTERS:
            n_more = len(line) - LINE_CHARACTERS
            line = f"{line[:LINE_CHARACTERS]} [at least {n_more:,} more characters dropped]"
        self._keep(line)

    def _keep(self, line: str) -> None:
        self.lines.append(self._edit(line) if self._edit is not None else line)
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
        """Leave the calling thread's output alone again."""
        with self._guard:
            self._kept.pop(threading.get_ident(), None)
            if not self._kept:
                self._remove()

    def _install(self) -> None:
        for name in ("stdout", "stderr"):
            self._streams[name] = _StandIn(getattr(sys, name), self)
            setattr(sys, name, self._streams[name])
        logging.getLogger().addHandler(self._handler)
        for name in _LIBRARY_LOGGERS:
            logging.getLogger(name).addHandler(self._handler)

    def _remove(self) -> None:
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


@contextmanager
def kept_lines(printed: Printed) -> Iterator[None]:
    """Keep what the calling thread prints inside the block."""
    _ROUTER.begin(printed)
    try:
        yield
    finally:
        _ROUTER.end()
        printed.close()
