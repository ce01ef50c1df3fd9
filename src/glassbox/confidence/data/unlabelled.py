"""Texts without labels, one at a time, from files of any length.

Memory does not grow with the input: a line is read, handed on and forgotten. A line that cannot be
used is handed on as an error with its number, and reading goes on. Knows nothing of models.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Protocol

from glassbox.confidence.data.columns import TEXT_COLUMNS, find_column, shown
from glassbox.confidence.data.decoding import (
    GUESSED,
    Encoding,
    detect_encoding,
    has_half_characters,
    known_encoding,
    refuse_packed,
)
from glassbox.confidence.data.formats import (
    SUFFIXES,
    find_delimiter,
    header,
    is_before_header,
    json_object,
    named_cells,
    tsv_cells,
)
from glassbox.confidence.data.sources import neighbours
from glassbox.errors import InvalidData, UnknownName

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read; the rest of a longer one is passed over and reported."""


class ByteLines(Protocol):
    """An open binary stream, such as standard input's buffer."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line with its line feed, at most ``size`` bytes; empty at the end."""
        ...


STREAM_FORMATS = ("text", "jsonl", "csv", "tsv")
"""Formats of a stream; ``text`` is one text a line."""

Numbered = tuple[int, str | InvalidData]
"""1-based line number, and the text or what is wrong with the line."""

_Lines = Iterator[tuple[int, str | InvalidData]]

_WIDE = ("utf-16", "utf-32")


def stream_texts(
    source: str | Path | ByteLines,
    *,
    data_format: str | None = None,
    text_column: str | None = None,
    encoding: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[Numbered]:
    """Yield (line number, text or error) for each line, in order.

    A file is read once before to detect its encoding; a pipe cannot be, and counts as UTF-8.
    Quoted CSV cells may hold line feeds: the number is that of the row's first line.

    Args:
        source: Path, or an open binary stream such as standard input.
        data_format: One of ``STREAM_FORMATS``; None decides by suffix, then by the first line.
        text_column: Column or key of the texts; None looks for a usual name.
        encoding: Python's name of the codec; None detects it.
        say: Told of an encoding that was guessed.

    Raises:
        UnknownName: No such file, format, encoding or column.
        InvalidData: Parquet, UTF-16 or UTF-32, or a table whose header cannot be read.
    """
    if data_format is not None and data_format not in STREAM_FORMATS:
        raise UnknownName("data format", data_format, STREAM_FORMATS)
    with _opened(source) as (file, name):
        codec = known_encoding(encoding) if encoding else _detected(source, name)
        if codec.name.replace("_", "-").startswith(_WIDE):
            raise InvalidData(
                f"is {codec.name}; lines can be streamed from one-byte encodings and UTF-8 only. "
                "Convert the file to UTF-8",
                source=name,
            )
        if say is not None and codec.reason == GUESSED:
            say(f"{name}: read as {codec}; --encoding names another.")
        lines = _decoded(file, codec, name)
        first = next(lines, None)
        if first is None:
            return
        chosen = data_format or _format_of(source, first[1])
        read: dict[str, Callable[[_Lines, str, str | None], Iterator[Numbered]]] = {
            "text": _plain_texts,
            "jsonl": _json_texts,
            "csv": _csv_texts,
            "tsv": _tsv_texts,
        }
        yield from read[chosen](chain([first], lines), name, text_column)


def given_texts(texts: Iterable[str]) -> Iterator[Numbered]:
    """Yield (number, text or error) for texts that were given one by one."""
    for number, text in enumerate(texts, start=1):
        yield number, _checked(text, "texts", number)


@contextmanager
def _opened(source: str | Path | ByteLines) -> Iterator[tuple[ByteLines, str]]:
    if not isinstance(source, str | Path):
        yield source, str(getattr(source, "name", "standard input"))
        return
    path = Path(source)
    if not path.is_file():
        raise UnknownName("file", str(source), neighbours(path))
    with path.open("rb") as file:
        yield file, str(source)


def _detected(source: str | Path | ByteLines, name: str) -> Encoding:
    if not isinstance(source, str | Path):
        return Encoding("utf-8", "assumed for a pipe")
    with Path(source).open("rb") as file:
        refuse_packed(file.read(16), source=name)
        file.seek(0)
        try:
            return detect_encoding(_bounded(file), source=name)
        except InvalidData:
            # Damaged lines are reported one by one as they come.
            return Encoding("utf-8", "detected")


def _bounded(file: ByteLines) -> Iterator[bytes]:
    """Yield lines, those over the limit in pieces that cut no UTF-8 character."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
        else:
            yield line.decode("utf-8", "ignore").encode()


def _decoded(file: ByteLines, codec: Encoding, name: str) -> _Lines:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield (
                number,
                InvalidData(f"is over {MAX_LINE_BYTES} bytes long", source=name, line=number),
            )
            continue
        # Undecodable bytes become lone surrogates, found below where the text is known.
        text = line.decode(codec.name, "surrogateescape")
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield number, text.removesuffix("\n").removesuffix("\r")


def _format_of(source: str | Path | ByteLines, first: str | InvalidData) -> str:
    suffix = Path(source).suffix.lower() if isinstance(source, str | Path) else ""
    by_suffix = SUFFIXES.get(suffix, "text")
    if by_suffix == "parquet":
        raise InvalidData(
            "Parquet is not read line by line: convert it to JSON Lines", source=str(source)
        )
    if by_suffix == "text" and isinstance(first, str) and first.lstrip().startswith("{"):
        return "jsonl"
    return by_suffix


def _plain_texts(lines: _Lines, name: str, _column: str | None) -> Iterator[Numbered]:
    for number, line in lines:
        yield number, line if isinstance(line, InvalidData) else _checked(line, name, number)


def _json_texts(lines: _Lines, name: str, column: str | None) -> Iterator[Numbered]:
    for number, line in lines:
        if isinstance(line, InvalidData):
            yield number, line
            continue
        try:
            cells = json_object(line, name, number) if line.strip() else {}
            key = find_column("text", tuple(cells), column, TEXT_COLUMNS, name) if cells else ""
        except InvalidData as error:
            yield number, error
        except UnknownName as error:
            yield number, InvalidData(str(error), source=name, line=number)
        else:
            yield number, _checked(cells.get(key, ""), name, number)


def _tsv_texts(lines: _Lines, name: str, column: str | None) -> Iterator[Numbered]:
    columns, index = _table_header(lines, name, column, tsv_cells)
    for number, line in lines:
        if isinstance(line, InvalidData):
            yield number, line
        else:
            yield number, _cell(columns, tsv_cells(line), index, name, number)


def _csv_texts(lines: _Lines, name: str, column: str | None) -> Iterator[Numbered]:
    delimiter = ","

    def cut(line: str) -> list[str]:
        nonlocal delimiter
        delimiter = find_delimiter(line, name)
        return next(csv.reader([line], delimiter=delimiter), [])

    columns, index = _table_header(lines, name, column, cut)
    source = _Replayed(lines)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        source.row.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number, content = source.row[0]
            if len(source.row) > 1:
                # A quote that nothing closes swallowed the lines after it: they are read again.
                source.again.extendleft(reversed(source.row[1:]))
                error = csv.Error(f"a quotation mark is not properly closed ({error})")
            if not isinstance(content, InvalidData):
                message = f"cannot be read as CSV: {error}"
                content = InvalidData(message, source=name, line=number)
            yield number, content
            continue
        number = source.row[0][0]
        unread = [content for _, content in source.row if isinstance(content, InvalidData)]
        yield number, unread[0] if unread else _cell(columns, cells, index, name, number)


class _Replayed:
    """Lines for a CSV reader, with those of the row at hand, so that some can be read again."""

    def __init__(self, lines: _Lines) -> None:
        self.row: list[tuple[int, str | InvalidData]] = []
        self.again: deque[tuple[int, str | InvalidData]] = deque()
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = self.again.popleft() if self.again else next(self._lines)
        self.row.append(found)
        # A line that could not be read leaves its place, so that the row still ends.
        return "\n" if isinstance(found[1], InvalidData) else f"{found[1]}\n"


def _table_header(
    lines: _Lines, name: str, column: str | None, cut: Callable[[str], list[str]]
) -> tuple[tuple[str, ...], str]:
    said = (each for each in lines if not isinstance(each[1], str) or not is_before_header(each[1]))
    number, line = next(said, (1, ""))
    if isinstance(line, InvalidData):
        raise line
    columns = header((number, cut(line)), name)
    return columns, find_column("text", columns, column, TEXT_COLUMNS, name, "text")


def _cell(
    columns: tuple[str, ...], cells: list[str], index: str, name: str, number: int
) -> str | InvalidData:
    if not cells:
        return InvalidData("the line is empty", source=name, line=number)
    try:
        return _checked(named_cells(columns, cells, name, number)[index], name, number)
    except InvalidData as error:
        return error


def _checked(text: object, name: str, number: int) -> str | InvalidData:
    if not isinstance(text, str):
        return InvalidData(f"the text is {shown(text)}, not a string", source=name, line=number)
    if not text.strip():
        return InvalidData("the text is empty", source=name, line=number)
    if "\0" in text:
        return InvalidData("holds a zero byte, so it is not text", source=name, line=number)
    if has_half_characters(text):
        return InvalidData(
            "holds a byte that is not in the file's encoding; name the encoding "
            "(such as --encoding cp1252)",
            source=name,
            line=number,
        )
    return text.strip()
