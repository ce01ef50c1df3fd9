"""Where labelled texts come from: a file, a folder, the embedded dataset or the hub.

Knows nothing of label sets; ``formats`` reads the files.
"""

import difflib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from glassbox.confidence.data.decoding import decode, detect_encoding, known_encoding
from glassbox.confidence.data.formats import (
    FILE_FORMATS,
    Cell,
    RawRow,
    RawRows,
    read_file,
    split_lines,
)
from glassbox.errors import DependencyMissing, InvalidData, InvalidValue, UnknownName, first_line
from glassbox.types import TINY
from glassbox.wording import counted

FOLDER_FORMATS = ("class-files", "jsonl")
"""Formats of a folder: a text file per class, or JSON Lines files."""

DATA_FORMATS = tuple(dict.fromkeys((*FILE_FORMATS, *FOLDER_FORMATS, "hub")))
"""Every name that ``data_format`` takes."""

_NOT_DATA = re.compile(
    r"(?i)(readme|license|licence|notice|changelog|citation)\b.*|.*\.md|\..*|thumbs\.db|desktop\.ini"
)

_SPLIT_NAME = re.compile(
    r"(?i)(train|test|dev|val|eval)(ing)?|training|devel(opment)?|valid(ation)?|evaluation|hold-?out"
)
"""What files are called that hold the parts of a data set, not its classes."""

_TABLES = {".csv", ".tsv", ".parquet", ".json"}

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+){0,2}")


def read_source(source: str | Path, *, data_format: str | None, encoding: str | None) -> RawRows:
    """Return the rows of a file, a folder, the embedded dataset or a hub dataset.

    Args:
        source: Path, ``tiny``, or a hub name as ``name[:configuration[:split]]``.
        data_format: One of ``DATA_FORMATS``; None finds out.
        encoding: Python's name of the codec; None detects it.

    Raises:
        UnknownName: Nothing of that name, or no such format or encoding.
        InvalidData: The content cannot be used; says file and line.
        DependencyMissing: A hub name without the ``hub`` extra.
    """
    if data_format is not None and data_format not in DATA_FORMATS:
        raise UnknownName("data format", data_format, DATA_FORMATS)
    path = Path(source)
    if data_format == "hub":
        return _read_hub(str(source))
    if path.is_file():
        return read_file(path, data_format=data_format, encoding=encoding)
    if path.is_dir():
        return _read_folder(path, data_format, encoding)
    if str(source) == TINY:
        return _read_folder(embedded_dataset(), "jsonl", "utf-8")
    if isinstance(source, str) and _HUB_NAME.fullmatch(source) and not _looks_like_file(path):
        return _read_hub(source)
    raise UnknownName("file or folder", str(source), neighbours(path))


def neighbours(path: Path) -> list[str]:
    """Return what stands where a missing path was looked for: at most 20 names, none hidden.

    The likeliest are among them, however many there are.
    """
    if not path.parent.is_dir():
        return []
    names = sorted(each.name for each in path.parent.iterdir() if not each.name.startswith("."))
    likely = difflib.get_close_matches(path.name, names)
    others = [name for name in names if name not in likely]
    return sorted([*likely, *others[: 20 - len(likely)]])


def embedded_dataset() -> Path:
    """Return the folder of the embedded dataset.

    Raises:
        InvalidData: This installation lacks it.
    """
    folder = Path(str(files("glassbox"))) / "assets" / "dataset"
    if not any(folder.glob("*.jsonl")):
        raise InvalidData(
            "the embedded dataset is missing: install glassbox-llm again", source=str(folder)
        )
    return folder


def _looks_like_file(path: Path) -> bool:
    return path.suffix.lower() in {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt"}


def _read_folder(folder: Path, data_format: str | None, encoding: str | None) -> RawRows:
    if data_format is not None and data_format not in FOLDER_FORMATS:
        raise InvalidValue(
            "data format", data_format, f"for a folder {' or '.join(FOLDER_FORMATS)}"
        )
    files = sorted(each for each in folder.iterdir() if each.is_file())
    data = [each for each in files if not _NOT_DATA.fullmatch(each.name)]
    lines_files = [each for each in data if each.suffix.lower() in {".jsonl", ".ndjson"}]
    if data_format == "jsonl" or (data_format is None and lines_files):
        if not lines_files:
            raise InvalidData("the folder holds no .jsonl files", source=str(folder))
        parts = [read_file(each, data_format="jsonl", encoding=encoding) for each in lines_files]
        return _joined(parts, f"folder of {len(parts)} JSON Lines files", files, lines_files)
    if len(data) < 2:
        raise InvalidData(
            f"the folder holds {counted(len(data), 'text file')}; one file per class, at least "
            f"two, or JSON Lines files are needed{_below(folder)}",
            source=str(folder),
        )
    names = _class_names(data, folder)
    if data_format is None:
        _refuse_parts(data, names, folder)
    parts = [_read_class_file(each, name, encoding) for each, name in zip(data, names, strict=True)]
    return _joined(parts, f"folder of {len(parts)} class files", files, data)


def _below(folder: Path) -> str:
    """Return what to do about the folders in a folder; they are not read."""
    names = sorted(
        each.name
        for each in folder.iterdir()
        if each.is_dir() and not each.name.startswith((".", "__"))
    )
    if not names:
        return ""
    return (
        f". Its folders ({', '.join(names[:8])}) are not read: give one of them, or, where each "
        "holds the texts of one class, write these into one file, one text a line"
    )


def _class_names(files: Sequence[Path], folder: Path) -> list[str]:
    """Return the stems, or the suffixes where all share one stem (reviews.pos, reviews.neg)."""
    stems = [each.stem for each in files]
    if len(set(stems)) == len(stems):
        return stems
    suffixes = [each.suffix.removeprefix(".") for each in files]
    if len(set(stems)) == 1 and all(suffixes) and len(set(suffixes)) == len(suffixes):
        return suffixes
    raise InvalidData(
        f"the file names do not tell classes apart: {', '.join(each.name for each in files)}. "
        "Name each file after its class",
        source=str(folder),
    )


def _refuse_parts(files: Sequence[Path], names: Sequence[str], folder: Path) -> None:
    """Refuse what would read, line by line, as texts of classes called train and test.

    Raises:
        InvalidData: The files are tables, or named like parts of a data set.
    """
    if any(each.suffix.lower() in _TABLES for each in files):
        what = "the folder holds tables"
    elif all(_SPLIT_NAME.fullmatch(name) for name in names):
        what = "the files are named like parts of a data set, not like classes"
    else:
        return
    raise InvalidData(
        f"{what}: {', '.join(each.name for each in files[:8])}. Give one of them, as in "
        f"{folder / files[0].name}. Where each file does hold the texts of one class, one a line, "
        "give the data format class-files",
        source=str(folder),
    )


def _read_class_file(path: Path, name: str, encoding: str | None) -> RawRows:
    content = path.read_bytes()
    source = str(path)
    if not content.strip():
        raise InvalidData("the file is empty", source=source)
    if encoding:
        codec = known_encoding(encoding)
    else:
        with path.open("rb") as file:
            codec = detect_encoding(file, source=source)
    lines = split_lines(decode(content, codec, source=source))
    rows = tuple(
        RawRow(source, number, {"text": line.strip(), "label": name})
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )
    return RawRows(rows, ("text", "label"), "", str(codec), len(lines) - len(rows))


def _joined(
    parts: Sequence[RawRows], what: str, files: Sequence[Path], read: Sequence[Path]
) -> RawRows:
    others = [each.name for each in files if each not in read]
    left_out = f"; not read: {', '.join(others)}" if others else ""
    return RawRows(
        rows=tuple(row for part in parts for row in part.rows),
        columns=tuple(dict.fromkeys(name for part in parts for name in part.columns)),
        format=what + left_out,
        encoding=", ".join(dict.fromkeys(part.encoding for part in parts)),
        n_blank=sum(part.n_blank for part in parts),
    )


def _read_hub(source: str) -> RawRows:
    try:
        import datasets
    except ImportError as error:
        raise DependencyMissing("datasets", "hub") from error
    import httpx

    name, configuration, split = (*source.split(":"), None, None)[:3]
    try:
        found = datasets.load_dataset(name, configuration)
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise UnknownName(
            "data set",
            source,
            remedy="There is no file or folder of that name here, and the hub did not give it "
            f"({type(error).__name__}: {first_line(error)[:200]}). Hub names are "
            "name[:configuration[:split]].",
        ) from error
    chosen = split or ("train" if "train" in found or len(found) != 1 else next(iter(found)))
    if chosen not in found:
        raise UnknownName("split", chosen, sorted(found), remedy=f"Data set {name!r}.")
    table = found[chosen]
    class_names = {
        column: tuple(feature.names)
        for column, feature in table.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    rows = tuple(
        RawRow(source, number, {key: _named(key, value, class_names) for key, value in row.items()})
        for number, row in enumerate(table, start=1)
    )
    what = f"hub data set {name}, {configuration or 'default configuration'}, split {chosen}"
    return RawRows(rows, tuple(table.column_names), what, "")


def _named(column: str, value: Any, class_names: dict[str, tuple[str, ...]]) -> Cell:
    names = class_names.get(column)
    # The hub writes -1 for a label that is withheld.
    if names is None or not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None
