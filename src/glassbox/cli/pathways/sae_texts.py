"""Plain texts for a model to read: lines, JSON Lines, or those of the embedded model."""

from importlib.resources import files
from pathlib import Path
from typing import Final

import orjson

from glassbox.cli.arguments.text_lines import utf8_lines
from glassbox.errors import InvalidData, UnknownName
from glassbox.types import TINY

_FIELDS: Final = ("text", "prompt")

_TABLES: Final = (".json", ".csv", ".tsv", ".parquet")
"""Files whose lines are no texts."""


def read_plain_texts(source: str) -> list[str]:
    """Return the texts of a file, blank ones left out.

    Args:
        source: A file with a text a line; ``.jsonl`` with a field ``text`` or ``prompt``; or
            ``tiny``.

    Raises:
        UnknownName: There is no such file.
        InvalidData: A table or a JSON document, whose lines are no texts; a byte is not UTF-8, a
            line of JSON Lines is no such object, or nothing is left.
    """
    embedded = Path(str(files("glassbox"))) / "assets" / "slot_machine.jsonl"
    path = embedded if source == TINY else Path(source)
    if not path.is_file():
        raise UnknownName("file of texts", source, remedy="Give a file, or 'tiny'.")
    if path.suffix.lower() in _TABLES:
        raise InvalidData(
            "give a text a line (.txt), or JSON Lines (.jsonl) with a field "
            f"{' or '.join(map(repr, _FIELDS))}; the lines of a {path.suffix} file are no texts",
            source=str(path),
        )
    lines = utf8_lines(path)
    if path.suffix in (".jsonl", ".ndjson"):
        lines = [_text(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    found = [line for line in lines if line.strip()]
    if not found:
        raise InvalidData("no text is in it", source=str(path))
    return found


def _text(line: str, path: Path, number: int) -> str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"not valid JSON ({error})", source=str(path), line=number) from error
    for name in _FIELDS:
        if isinstance(value, dict) and isinstance(value.get(name), str):
            found: str = value[name]
            return found
    raise InvalidData(
        f"expected an object with a field {' or '.join(map(repr, _FIELDS))}",
        source=str(path),
        line=number,
    )
