"""Rows of CSV with the lines that they begin at; what the cells mean is for whoever asks."""

import csv
from collections.abc import Iterable, Iterator

from glassbox.errors import InvalidData


def csv_rows(lines: Iterable[str], delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line of its beginning, from 1, and its cells) of each row; a blank line has no cells.

    Args:
        lines: With their ends: inside quotes these belong to the cell.
        delimiter: One character.
        source: Name for error messages.

    Raises:
        InvalidData: Quotes that do not match, or a stray carriage return; says the line.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidData(
                f"cannot be read as CSV: {error}", source=source, line=line
            ) from error
        yield line, cells
