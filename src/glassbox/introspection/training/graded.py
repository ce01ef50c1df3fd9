"""Graded responses: prompts, responses and whether each was right, read from JSON Lines or CSV.

Reads files and checks them; knows nothing of models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassbox.artifacts import digest_json
from glassbox.errors import InvalidData, UnknownName
from glassbox.introspection.row_files import read_records
from glassbox.introspection.verdict import Origin

_KNOWN = ("prompt", "response", "correct", "group", "stratum", "origin", "part")
_YES = {"true": True, "1": True, "yes": True, "right": True, "correct": True}
_ORIGINS: dict[str, Origin] = {"given": "given", "written": "written"}
_NO = {"false": False, "0": False, "no": False, "wrong": False, "incorrect": False}


@dataclass(frozen=True)
class GradedRow:
    """One response that somebody graded."""

    prompt: str
    """What was asked."""
    response: str
    """What was answered."""
    correct: bool
    """Whether that is right."""
    group: str = ""
    """Rows of one group never stand in two parts; the prompt where empty."""
    stratum: str = ""
    """Kind of row whose mean uncertainty should match its error rate; may be empty."""
    origin: Origin = "given"
    """``written`` where the verifying model itself wrote it."""
    part: str = ""
    """``test`` keeps the row for the test part; empty lets the split decide."""

    @property
    def unit(self) -> str:
        """What must stay together."""
        return self.group or self.prompt


def read_graded(path: Path) -> list[GradedRow]:
    """Return the rows of a ``.jsonl`` or ``.csv`` file with prompt, response and correct.

    Raises:
        UnknownName: No such file.
        InvalidData: A line that cannot be used: says which and why.
    """
    if not path.is_file():
        raise UnknownName("file of graded responses", str(path))
    is_csv = path.suffix.lower() == ".csv"
    rows = [_row(path, line, record) for line, record in read_records(path, is_csv=is_csv)]
    if not rows:
        raise InvalidData("no rows", source=str(path))
    return rows


def data_digest(rows: Sequence[GradedRow]) -> str:
    """Return the SHA-256 (hex) of the rows in order."""
    return digest_json([list(vars(row).values()) for row in rows])


def _row(path: Path, line: int, record: Mapping[str, Any]) -> GradedRow:
    def refuse(reason: str) -> InvalidData:
        return InvalidData(reason, source=str(path), line=line)

    unknown = sorted(set(record) - set(_KNOWN))
    if unknown:
        raise refuse(f"unknown field {unknown[0]!r}; known are {', '.join(_KNOWN)}")
    for name in ("prompt", "response"):
        value = record.get(name)
        if not isinstance(value, str) or not value.strip():
            raise refuse(f"{name!r} must be a text that is not empty")
    texts = {name: str(record.get(name) or "") for name in ("group", "stratum", "part")}
    if texts["part"] not in ("", "train", "test"):
        raise refuse(f"part is {texts['part']!r}; allowed: train, test, or nothing")
    said = record.get("origin") or "given"
    origin = _ORIGINS.get(said) if isinstance(said, str) else None
    if origin is None:
        raise refuse(f"origin is {said!r}; allowed: given, written")
    return GradedRow(
        prompt=record["prompt"],
        response=record["response"],
        correct=_truth(record.get("correct"), refuse),
        group=texts["group"],
        stratum=texts["stratum"],
        origin=origin,
        part="test" if texts["part"] == "test" else "",
    )


def _truth(value: Any, refuse: Any) -> bool:
    found = {**_YES, **_NO}.get(str(value).strip().casefold())
    if found is None or isinstance(value, float):
        raise refuse(f"correct is {value!r}; allowed: true, false, 1, 0, yes, no")
    return found
