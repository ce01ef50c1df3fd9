"""How commands speak: tables, JSON, notes and progress.

Results go to standard output, everything else to standard error, so that a pipe carries results
only. Colour and bars appear on a terminal alone. Knows nothing of what is printed.
"""

import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

import orjson
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Table
from rich.text import Text

from glassbox.progress import SHOW_AFTER_S, Progress, untold
from glassbox.wording import units_bound

PIPED_WIDTH = 120
"""Columns of a table that goes to a file or pipe and not to a terminal."""

LINE_EVERY_S = 5.0
"""Time between progress lines where there is no terminal."""

RATE_OVER_S = 600.0
"""Time over which a bar takes its rate; that needs two reports, and some come minutes apart."""

LONG_WORD = 20
"""Places of a word, as a path or digest, from which on it may be broken to make room."""

_EDGES = 2
"""Places at both ends of a table's line."""

_GAPS = (3, 2, 1)
"""Places between two columns, the widest that leave room for all words."""

_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
"""Control characters to their pictures. Source: Unicode, "Control Pictures"; the second set of
control characters (C1) has none."""

_BOUND = "\ufdd0"
"""Stands for the space before a unit while lines are broken: no character, so no text has it, and
one cell wide. The library breaks lines at no-break spaces, too."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    header: str
    """Text above it."""
    align: Literal["left", "right"] = "left"
    """Numbers go right."""
    wraps: bool = True
    """False keeps the cells on one line."""


def output() -> Console:
    """Return the console on standard output."""
    return Console(width=_width(), highlight=False)


def errors() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, width=_width(), highlight=False)


def print_table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[object]], *, title: str = ""
) -> None:
    """Print a table on standard output; None is an empty cell.

    Where the terminal is too narrow for its words, each row is a list of names and values.
    """
    shapes = [Column(column) if isinstance(column, str) else column for column in columns]
    cells = [[Text() if cell is None else _cell(cell) for cell in row] for row in rows]
    laid_out = _layout(shapes, cells, _width())
    if laid_out is None:
        _print_records(shapes, cells, title)
        return
    gap, widths = laid_out
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left",
        padding=(0, 0 if gap == 1 else 1), collapse_padding=gap == 2,
    )  # fmt: skip
    for shape, width in zip(shapes, widths, strict=True):
        table.add_column(
            shape.header, justify=shape.align, no_wrap=not shape.wraps, overflow="fold", width=width
        )
    for row in cells:
        table.add_row(*row)
    output().print(table)


def _layout(
    shapes: Sequence[Column], rows: Sequence[Sequence[Text]], width: int
) -> tuple[int, list[int]] | None:
    """Return the gap and the columns' widths at which words stay whole; None where there are none.

    The library is not asked: it takes a letter from a word, or from a line that is to stay whole.
    """
    told = [[shape.header, *(row[at].plain for row in rows)] for at, shape in enumerate(shapes)]
    whole = [_longest(text.splitlines() for text in texts) for texts in told]
    words = [min(LONG_WORD, _longest(text.split() for text in texts)) for texts in told]
    least = [
        word if shape.wraps else line
        for shape, line, word in zip(shapes, whole, words, strict=True)
    ]
    for gap in _GAPS:
        room = width - _EDGES - gap * (len(shapes) - 1)
        if sum(least) <= room:
            return gap, _grown(least, whole, room)
    return None


def _longest(parts: Iterable[Sequence[str]]) -> int:
    return max((cell_len(each) for some in parts for each in some), default=0)


def _grown(widths: Sequence[int], wished: Sequence[int], room: int) -> list[int]:
    """Return widths after the narrowest have grown, place by place, as far as they wish."""
    grown = list(widths)
    for _ in range(room - sum(grown)):
        short = [at for at, width in enumerate(grown) if width < wished[at]]
        if not short:
            break
        grown[min(short, key=grown.__getitem__)] += 1
    return grown


def _print_records(shapes: Sequence[Column], rows: Sequence[Sequence[Text]], title: str) -> None:
    print_text(title)
    for row in rows:
        record = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 1))
        record.add_column(overflow="fold")
        record.add_column(overflow="fold")
        for shape, cell in zip(shapes, row, strict=True):
            if cell.plain:
                record.add_row(Text(shape.header), cell)
        output().print(record)
        output().print()


def print_text(text: str) -> None:
    """Print a paragraph on standard output, wrapped at the console's width.

    No line ends between a number and its unit.
    """
    console = output()
    bound = Text(units_bound(visible(text), _BOUND))
    lines = [line.plain for line in bound.wrap(console, console.width)]
    console.print(Text("\n".join(lines).replace(_BOUND, " ")), soft_wrap=True)


def visible(text: str) -> str:
    """Return a text whose control characters show as pictures, lines and tabs excepted.

    A model's text or a file's must not be able to command the terminal.
    """
    return text.translate(_PICTURES)


def print_json(value: object) -> None:
    """Print a value as indented JSON on standard output; NaN becomes null."""
    _write(orjson.dumps(value, default=_plain, option=_JSON | orjson.OPT_INDENT_2))


def print_json_line(value: object) -> None:
    """Print a value as one line of JSON on standard output, at once.

    A program that is killed leaves whole lines behind, and who reads along waits for none.
    """
    _write(orjson.dumps(value, default=_plain, option=_JSON))
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line on standard error, for people rather than programs."""
    errors().print(Text(visible(text)), soft_wrap=True)


@contextmanager
def progress(description: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Give a function to report progress to, shown once the work takes more than two seconds.

    On a terminal it is a bar on standard error; elsewhere a plain line every few seconds.

    Args:
        description: What is being done, as in "Scoring".
        quiet: Show nothing at all.
    """
    if quiet:
        yield untold
        return
    console = errors()
    shown = _Bar(description, console) if console.is_terminal else _Lines(description, console)
    timer = threading.Timer(SHOW_AFTER_S, shown.show)
    timer.daemon = True
    timer.start()
    try:
        yield shown.report
    finally:
        timer.cancel()
        shown.close()


class _Bar:
    """A bar that appears when ``show`` is called and keeps the last report until then."""

    def __init__(self, description: str, console: Console) -> None:
        self._progress = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=RATE_OVER_S,
        )
        self._task: TaskID = self._progress.add_task(description, total=None)
        self._lock = threading.Lock()
        self._is_closed = False

    def show(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._progress.start()

    def report(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total or None)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._progress.stop()


class _Lines:
    """Plain lines, at most one every few seconds."""

    def __init__(self, description: str, console: Console) -> None:
        self._description = description
        self._console = console
        self._started = monotonic()
        self._last = self._started + SHOW_AFTER_S - LINE_EVERY_S
        # Where and when counting began: what went before, loading or an earlier run, is no pace.
        self._first: tuple[float, int] | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def show(self) -> None:
        with self._lock:
            if not self._is_closed and self._last < self._started:
                self._last = monotonic()
                self._print("…")

    def report(self, done: int, total: int) -> None:
        moment = monotonic()
        with self._lock:
            began, before = self._first = self._first or (moment, done)
            if moment - self._last < LINE_EVERY_S:
                return
            self._last = moment
            elapsed = moment - self._started
            if not total:
                self._print(f": {done:,} done after {elapsed:.0f} s")
            elif done > before:
                left = (moment - began) * (total - done) / (done - before)
                self._print(f": {done:,} of {total:,}, {elapsed:.0f} s, about {left:.0f} s left")
            elif done:
                self._print(f": {done:,} of {total:,}, {elapsed:.0f} s")

    def close(self) -> None:
        with self._lock:
            self._is_closed = True

    def _print(self, rest: str) -> None:
        self._console.print(Text(self._description + rest), soft_wrap=True)


_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def _width() -> int:
    return shutil.get_terminal_size((PIPED_WIDTH, 40)).columns


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text(visible(str(value)))


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write(line: bytes) -> None:
    sys.stdout.write(line.decode())
