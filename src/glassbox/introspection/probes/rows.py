"""Rows for probes: texts, or prompts with responses, with what a probe is to find in them.

JSON Lines, CSV, or a folder of such files, whose names are then the domains. Nothing is dropped in
silence: a row that cannot be used is refused with its line. Knows nothing of models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from glassbox.artifacts import digest_texts
from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.introspection.row_files import read_records

YES: Final = ("1", "true", "yes")
"""Values of a target column that need no explanation, positive."""

NO: Final = ("0", "false", "no")
"""Their opposites, in the same order."""

SUFFIXES: Final = (".csv", ".jsonl", ".ndjson")
"""Files that are read."""


@dataclass(frozen=True)
class ProbeColumns:
    """Which columns hold what."""

    target: str = "target"
    """What is to be found: 0 or 1, or two names."""
    text: str = "text"
    """A text that is read as a prompt; not needed where there are prompts with responses."""
    prompt: str = "prompt"
    """The prompt that a response answers."""
    response: str = "response"
    """The response, as it stands behind the prompt, white space included."""
    group: str | None = None
    """Rows that belong together and are never divided; None takes the text or prompt."""
    domain: str | None = None
    """What a row is about, for figures out of domain; None takes the files of a folder."""
    baselines: tuple[str, ...] = ()
    """Columns of numbers that a probe has to beat, as the token count of a name."""
    positive: str | None = None
    """Value of the target that counts as found, where it is not plain."""


@dataclass(frozen=True)
class ProbeRow:
    """One row."""

    prompt: str
    """The text, or the prompt."""
    response: str | None
    """What stands behind the prompt; None for a text alone."""
    group: str
    """Rows of one group stay together."""
    domain: str
    """What it is about; empty where unknown."""
    source: str
    """File."""
    line: int
    """Line in it, from 1."""

    @property
    def key(self) -> str:
        """Short digest of its group."""
        return digest_texts([self.group])[:16]


@dataclass(frozen=True, eq=False)
class ProbeRows:
    """All rows of one source."""

    rows: tuple[ProbeRow, ...]
    """In the order of the source."""
    is_positive: Bool[np.ndarray, " n"]
    """The target."""
    target: str
    """The target in words, as in ``label = 1``."""
    baselines: Mapping[str, Float[np.ndarray, " n"]]
    """Further numbers by column."""

    @property
    def groups(self) -> list[str]:
        """Group of each row."""
        return [row.group for row in self.rows]

    @property
    def domains(self) -> list[str]:
        """Domain of each row."""
        return [row.domain for row in self.rows]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over texts, targets and groups."""
        marks = "".join("1" if each else "0" for each in self.is_positive)
        texts = [each for row in self.rows for each in (row.prompt, row.response or "", row.group)]
        return digest_texts([marks, *texts])


def read_probe_rows(path: Path, columns: ProbeColumns) -> ProbeRows:
    """Return the rows of a file, or of all files in a folder.

    Raises:
        UnknownName: No such file, format or column.
        InvalidData: A row that cannot be used, by line; or a target that is not of two kinds.
        InvalidValue: Two names as target without saying which is positive.
    """
    is_folder = path.is_dir()
    files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES) if is_folder else []
    if not is_folder and not path.is_file():
        raise UnknownName("file of rows", str(path), remedy="Give a JSON Lines or CSV file.")
    if is_folder and not files:
        raise InvalidData(f"holds no file that ends in {', '.join(SUFFIXES)}", source=str(path))
    cells: list[Mapping[str, object]] = []
    rows: list[ProbeRow] = []
    for file in files or [path]:
        for line, found in _read(file):
            cells.append(found)
            domain = file.stem if is_folder else ""
            rows.append(_row(found, columns, domain, str(file), line))
    if not rows:
        raise InvalidData("there are no rows", source=str(path))
    values = [_cell(found, columns.target, row) for found, row in zip(cells, rows, strict=True)]
    positive = _positive(values, columns, rows)
    return ProbeRows(
        rows=tuple(rows),
        is_positive=np.array([value == positive for value in values]),
        target=f"{columns.target} = {positive}",
        baselines={name: _numbers(cells, name, rows) for name in columns.baselines},
    )


def _read(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    if file.suffix not in SUFFIXES:
        raise UnknownName("format of rows", file.suffix or file.name, SUFFIXES)
    return read_records(file, is_csv=file.suffix == ".csv")


def _row(
    found: Mapping[str, object], columns: ProbeColumns, domain: str, source: str, line: int
) -> ProbeRow:
    blank = ProbeRow("", None, "", domain, source, line)
    has_response = columns.prompt in found and columns.response in found
    if not has_response and columns.text not in found:
        raise UnknownName(
            "column",
            columns.text,
            found,
            remedy=f"Rows need {columns.text!r}, or {columns.prompt!r} and {columns.response!r}.",
        )
    prompt = _cell(found, columns.prompt if has_response else columns.text, blank)
    response = _cell(found, columns.response, blank) if has_response else None
    return ProbeRow(
        prompt=prompt,
        response=response,
        group=prompt if columns.group is None else _cell(found, columns.group, blank),
        domain=domain if columns.domain is None else _cell(found, columns.domain, blank),
        source=source,
        line=line,
    )


def _cell(found: Mapping[str, object], column: str, row: ProbeRow) -> str:
    if column not in found:
        raise UnknownName("column", column, found, remedy=f"Line {row.line} of {row.source}.")
    value = found[column]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if value is None or not text.strip():
        raise InvalidData(f"the column {column!r} is empty", source=row.source, line=row.line)
    return text


def _positive(values: Sequence[str], columns: ProbeColumns, rows: Sequence[ProbeRow]) -> str:
    kinds = list(dict.fromkeys(values))
    if len(kinds) > 2:
        at = next(i for i, value in enumerate(values) if value not in kinds[:2])
        raise InvalidData(
            f"the target {columns.target!r} holds a third value, {values[at]!r}, beside "
            f"{kinds[0]!r} and {kinds[1]!r}",
            source=rows[at].source,
            line=rows[at].line,
        )
    if columns.positive is not None:
        if columns.positive not in kinds:
            raise UnknownName(f"value of {columns.target}", columns.positive, kinds)
        return columns.positive
    plain = {kind.strip().lower(): kind for kind in kinds}
    if len(kinds) == 1:
        raise InvalidData(
            f"every row has the same {columns.target!r}, {kinds[0]!r}: nothing to find"
        )
    for yes, no in zip(YES, NO, strict=True):
        if set(plain) == {yes, no}:
            return plain[yes]
    raise InvalidValue(
        f"target {columns.target!r}", kinds, "0 and 1, or --positive NAME to say which is found"
    )


def _numbers(
    cells: Sequence[Mapping[str, object]], column: str, rows: Sequence[ProbeRow]
) -> Float[np.ndarray, " n"]:
    numbers = np.empty(len(rows))
    for i, (found, row) in enumerate(zip(cells, rows, strict=True)):
        text = _cell(found, column, row)
        try:
            numbers[i] = float(text)
        except ValueError as error:
            raise InvalidData(
                f"{column!r} holds {text!r}, which is no number", source=row.source, line=row.line
            ) from error
        if not np.isfinite(numbers[i]):
            raise InvalidData(f"{column!r} is not finite", source=row.source, line=row.line)
    return numbers
