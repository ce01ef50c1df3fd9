"""Rows of CSV and JSON Lines files with the lines that they begin at.

Nothing is dropped in silence: a row with more or fewer cells than the header is refused, as is a
header that names a column twice. Knows nothing of what the columns hold.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from glassbox.csv_rows import csv_rows
from glassbox.errors import InvalidData
from glassbox.wording import counted


def read_records(file: Path, *, is_csv: bool) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the line, from 1, and the fields of each row of a file.

    Args:
        file: What to read; there may be a byte-order mark.
        is_csv: Whether it is CSV; else JSON Lines.

    Raises:
        InvalidData: No UTF-8, or a row that cannot be read, by line.
    """
    source, content = str(file), file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidData("not valid UTF-8", source=source, line=line) from error
    yield from _read_csv(text, source) if is_csv else _read_jsonl(text, source)


def _read_csv(text: str, source: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    header: list[str] = []
    for line, cells in csv_rows(io.StringIO(text, newline=""), ",", source):
        if not header:
            header = [cell.strip() for cell in cells]
            twice = [name for name, n in Counter(header).items() if name and n > 1]
            if twice:
                raise InvalidData(
                    f"several columns are called {twice[0]!r}", source=source, line=line
                )
        elif len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        elif cells:
            raise InvalidData(
                f"{counted(len(cells), 'cell')} where the header has {len(header)}; a cell with "
                "commas goes in quotes",
                source=source,
                line=line,
            )


def _read_jsonl(text: str, source: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise InvalidData(f"not valid JSON: {error}", source=source, line=line) from error
        if not isinstance(found, dict):
            raise InvalidData("not a JSON object", source=source, line=line)
        yield line, found
