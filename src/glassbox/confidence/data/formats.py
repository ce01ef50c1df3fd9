"""Files of labelled texts, one reader for each format: bytes in, raw rows out.

Lines end at the line feed alone (a carriage return before it is dropped), because real texts
contain the other characters that Unicode calls line ends. Knows nothing of label sets or of which
column holds what.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.confidence.data.decoding import as_text, decode, detect_encoding, known_encoding
from glassbox.csv_rows import csv_rows
from glassbox.errors import InvalidData, UnknownName
from glassbox.wording import counted

Cell = object
"""A value as the format gives it: str, int, float, bool, None, or bytes that are no text."""

SEPARATORS = {"tab": "\t", "pipe": "|", "semicolon": ";", "comma": ",", "space": " "}
"""What may stand between label and text, most telling first."""

LINE_FORMATS = tuple(
    f"{first}-{name}-{second}"
    for name in SEPARATORS
    for first, second in (("label", "text"), ("text", "label"))
)
"""Formats of lines that hold a label and a text, such as ``label-space-text``."""

FILE_FORMATS = ("csv", "tsv", "jsonl", "parquet", "lines", *LINE_FORMATS)
"""Formats of one file; ``lines`` finds out which of the line formats it is."""

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}

MAX_LABEL_CHARACTERS = 64
"""Longest label that is looked for in front of or behind a text."""

FASTTEXT_PREFIX = "__label__"


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as the file has it."""

    source: str
    """File it came from."""
    line: int
    """1-based line (for Parquet and the hub: row)."""
    cells: Mapping[str, Cell]
    """Values by column; empty where the row could not be cut."""
    problem: InvalidData | None = None
    """Why the row could not be cut."""


@dataclass(frozen=True)
class RawRows:
    """The rows of one source, before anything is known of labels."""

    rows: tuple[RawRow, ...]
    """In the order of the source."""
    columns: tuple[str, ...]
    """Every column that occurs."""
    format: str
    """What the source was read as, in words."""
    encoding: str
    """Encoding and how it is known; empty where the format fixes it."""
    n_blank: int = 0
    """Blank lines, which are no rows."""


def read_file(path: Path, *, data_format: str | None, encoding: str | None) -> RawRows:
    """Return the rows of one file.

    Args:
        path: The file.
        data_format: One of ``FILE_FORMATS``; None decides by suffix, then by content.
        encoding: Python's name of the codec; None detects it.

    Raises:
        InvalidData: Empty, not text, a bad byte, or not what the format says; by line.
        UnknownName: No such format or encoding.
    """
    if data_format is not None and data_format not in FILE_FORMATS:
        raise UnknownName("data format", data_format, FILE_FORMATS)
    content = path.read_bytes()
    source = str(path)
    if not content.strip():
        raise InvalidData("the file is empty", source=source)
    chosen = data_format or SUFFIXES.get(path.suffix.lower())
    if chosen == "parquet" or (chosen is None and content.startswith(b"PAR1")):
        return _read_parquet(content, source)
    codec = (
        known_encoding(encoding)
        if encoding
        else detect_encoding(io.BytesIO(content), source=source)
    )
    lines = split_lines(decode(content, codec, source=source))
    if chosen is None:
        chosen = "jsonl" if next(filter(str.strip, lines), "").lstrip().startswith("{") else "lines"
    readers: dict[str, Callable[[Sequence[str], str], RawRows]] = {
        "csv": _read_csv,
        "tsv": _read_tsv,
        "jsonl": _read_jsonl,
    }
    found = (
        readers[chosen](lines, source) if chosen in readers else _read_lines(lines, source, chosen)
    )
    return RawRows(found.rows, found.columns, found.format, str(codec), found.n_blank)


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text, split at the line feed alone.

    Example:
        >>> split_lines("one\r\ntwo\x85still two\n")
        ['one', 'two\x85still two']
    """
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _read_csv(lines: Sequence[str], source: str) -> RawRows:
    n_blank = next((at for at, line in enumerate(lines) if not is_before_header(line)), 0)
    delimiter = find_delimiter(lines[n_blank], source)
    # Line feeds are put back: inside quotes they belong to the cell.
    table = csv_rows((f"{line}\n" for line in lines), delimiter, source)
    columns = header(next(islice(table, n_blank, None)), source)
    rows: list[RawRow] = []
    for line, cells in table:
        if not cells:
            n_blank += 1
        else:
            rows.append(_row(source, line, named_cells, columns, cells))
    return RawRows(tuple(rows), columns, f"csv, delimiter {delimiter!r}", "", n_blank)


def is_before_header(line: str) -> bool:
    """Return whether a line is blank, or names the delimiter to a spreadsheet (``sep=;``)."""
    return not line.strip() or re.fullmatch(r"(?i)sep=.", line.rstrip()) is not None


def find_delimiter(line: str, source: str) -> str:
    """Return the delimiter that cuts a header line into most columns; the comma wins ties.

    Raises:
        InvalidData: The lines of the file end in carriage returns alone.
    """
    if "\r" in line:
        raise InvalidData(
            "its lines end in carriage returns alone, as old Macintosh programs write them: save "
            "it as CSV (UTF-8)",
            source=source,
            line=1,
        )
    return max(",;\t|", key=lambda each: len(next(csv.reader([line], delimiter=each), [])))


def _read_tsv(lines: Sequence[str], source: str) -> RawRows:
    first = next((at for at, line in enumerate(lines, start=1) if line.strip()), 1)
    columns = header((first, tsv_cells(lines[first - 1])), source)
    rows = tuple(
        _row(source, number, _named_tsv_cells, columns, tsv_cells(line))
        for number, line in enumerate(lines[first:], start=first + 1)
        if line.strip()
    )
    return RawRows(rows, columns, "tsv", "", len(lines) - 1 - len(rows))


def _named_tsv_cells(
    columns: Sequence[str], cells: Sequence[str], source: str, line: int
) -> dict[str, Cell]:
    if len(cells) < len(columns) and cells[-1].startswith('"'):
        raise InvalidData(
            "a quotation mark opens a cell that does not end in this line. Where cells hold line "
            "feeds, as those of spreadsheets may, read the table as CSV (--data-format csv)",
            source=source,
            line=line,
        )
    return named_cells(columns, cells, source, line)


def tsv_cells(line: str) -> list[str]:
    r"""Return the cells of a TSV line; only a cell quoted as a whole loses its quotes.

    Review texts begin with quotation marks that nothing closes, so a lone one is a character.

    Example:
        >>> tsv_cells('"so good"\t"the film')
        ['so good', '"the film']
    """
    return [
        cell[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', cell) else cell
        for cell in line.split("\t")
    ]


def header(first: tuple[int, list[str]], source: str) -> tuple[str, ...]:
    """Return the column names in a table's first row; one without a name goes by its place.

    Spreadsheets write their empty columns, and data frames their row numbers, without a name.

    Raises:
        InvalidData: Two columns share a name, or hardly any has one, as in a title above a table.
    """
    line, cells = first
    names = [cell.strip() for cell in cells]
    n_named = sum(map(bool, names))
    if n_named < 2 < len(names):
        raise InvalidData(
            f"names {n_named} of {len(names)} columns, but the first line must name them: remove "
            "a title or notes above the header",
            source=source,
            line=line,
        )
    columns = tuple(name or f"column {place}" for place, name in enumerate(names, start=1))
    for name in columns:
        if columns.count(name) > 1:
            raise InvalidData(
                f"two columns are called {name!r}; rename or remove one", source=source, line=line
            )
    return columns


def named_cells(
    columns: Sequence[str], cells: Sequence[str], source: str, line: int
) -> dict[str, Cell]:
    """Return the cells of a row by column.

    Raises:
        InvalidData: More or fewer cells than columns.
    """
    if len(cells) != len(columns):
        raise InvalidData(
            f"{counted(len(cells), 'cell')} where the header has {counted(len(columns), 'column')} "
            f"({', '.join(columns)}); a text that holds the delimiter must be quoted",
            source=source,
            line=line,
        )
    return dict(zip(columns, cells, strict=True))


def _read_jsonl(lines: Sequence[str], source: str) -> RawRows:
    rows = tuple(
        _row(source, number, json_object, line)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )
    columns = tuple(dict.fromkeys(name for row in rows for name in row.cells))
    return RawRows(rows, columns, "jsonl", "", len(lines) - len(rows))


def json_object(line: str, source: str, number: int) -> dict[str, Cell]:
    """Return the JSON object on a line.

    Raises:
        InvalidData: Not JSON, or not an object.
    """
    try:
        # The decoder refuses lone surrogates in the text; such lines hold undecodable bytes.
        value = orjson.loads(line.encode("utf-8", "surrogatepass"))
    except orjson.JSONDecodeError as error:
        hint = "; JSON has no NaN: write null" if re.search(r":\s*NaN\b", line) else ""
        raise InvalidData(
            f"is not valid JSON ({error}){hint}", source=source, line=number
        ) from error
    if not isinstance(value, dict):
        hint = (
            "; a JSON array is not read: write one object a line" if isinstance(value, list) else ""
        )
        raise InvalidData(f"is not a JSON object{hint}", source=source, line=number)
    return value


def _read_parquet(content: bytes, source: str) -> RawRows:
    try:
        with pq.ParquetFile(io.BytesIO(content)) as file:  # the other reader imports pandas
            table = file.read()
        columns = header((1, table.column_names), source)
        cells = [[as_text(each) for each in column.to_pylist()] for column in table.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError) as error:
        raise InvalidData(f"cannot be read as Parquet: {error}", source=source) from error
    rows = tuple(
        RawRow(source, number, dict(zip(columns, values, strict=True)))
        for number, values in enumerate(zip(*cells, strict=True), start=1)
    )
    return RawRows(rows, columns, "parquet", "")


def _read_lines(lines: Sequence[str], source: str, chosen: str) -> RawRows:
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    name = find_line_format([line for _, line in numbered], source) if chosen == "lines" else chosen
    rows = tuple(_row(source, number, _pair, name, line) for number, line in numbered)
    n_blank = len(lines) - len(numbered)
    return RawRows(rows, ("text", "label"), f"lines, {name}", "", n_blank)


def _pair(line_format: str, line: str, source: str, number: int) -> dict[str, Cell]:
    pair = cut_line(line, line_format)
    if pair is None:
        between = line_format.split("-")[1]
        raise InvalidData(f"has no {between} between label and text", source=source, line=number)
    return {"text": pair[1], "label": pair[0]}


def _row(source: str, line: int, cut: Callable[..., dict[str, Cell]], *parts: object) -> RawRow:
    """Return one row as it is cut, or with the reason why it cannot be."""
    try:
        return RawRow(source, line, cut(*parts, source, line))
    except InvalidData as problem:
        return RawRow(source, line, {}, problem)


def cut_line(line: str, line_format: str) -> tuple[str, str] | None:
    r"""Return (label, text) of a line, or None where the separator is absent.

    Example:
        >>> cut_line("1 a gem .", "label-space-text")
        ('1', 'a gem .')
        >>> cut_line("so good\t1", "text-tab-label")
        ('1', 'so good')
    """
    first, separator, _ = line_format.split("-")
    cut = line.strip(" \t")
    if SEPARATORS[separator] == "\t":
        cut = line.strip(" ")
    if first == "label":
        label, found, text = cut.partition(SEPARATORS[separator])
    else:
        text, found, label = cut.rpartition(SEPARATORS[separator])
    if not found:
        return None
    return label.strip().removeprefix(FASTTEXT_PREFIX), text.strip()


def find_line_format(lines: Sequence[str], source: str) -> str:
    """Return the line format that cuts every line into a text and one of few labels.

    A label holds a letter or digit and at most 64 characters, and on average two lines share one.
    Among the formats that fit, the one with fewest labels wins, then the order of ``LINE_FORMATS``.

    Raises:
        InvalidData: No format fits, or only with a single label.
    """
    fitting: list[tuple[int, int, str]] = []
    single: str | None = None
    for rank, name in enumerate(LINE_FORMATS):
        labels = _labels_of(lines, name)
        if labels is None:
            continue
        if len(labels) == 1:
            single = single or name
        elif 2 * len(labels) <= len(lines):
            fitting.append((len(labels), rank, name))
    if fitting:
        return min(fitting)[2]
    if single is not None:
        (label,) = _labels_of(lines, single) or {""}
        raise InvalidData(
            f"every line has the label {label!r} (read as {single}); at least two classes are "
            "needed",
            source=source,
        )
    raise InvalidData(
        "no separator cuts every line into a text and one of a few labels. Give the data format "
        f"(--data-format): {', '.join(FILE_FORMATS)}; or a folder with one text file per class",
        source=source,
    )


def _labels_of(lines: Sequence[str], line_format: str) -> set[str] | None:
    labels: set[str] = set()
    for line in lines:
        pair = cut_line(line, line_format)
        if pair is None or not pair[1]:
            return None
        label = pair[0]
        if len(label) > MAX_LABEL_CHARACTERS or not any(map(str.isalnum, label)):
            return None
        labels.add(label)
        if 2 * len(labels) > len(lines) + 2:
            return None
    return labels
