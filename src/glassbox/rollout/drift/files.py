"""Tables in files as windows: CSV, TSV, Parquet, JSON Lines. Knows no database and no records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pyarrow import csv, json, parquet

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData, UnknownName, first_line
from glassbox.rollout.drift.text_columns import columns_of
from glassbox.rollout.drift.windows import Column, Window, class_name, word

FORMATS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
"""Endings that are read."""


@dataclass(frozen=True)
class Roles:
    """What the columns of a table mean; those without a role are compared as features."""

    prob: str | None = None
    """Probability of the class ``positive``."""
    answer: str | None = None
    """Class that was answered; by default the more probable one."""
    truth: str | None = None
    """True class; may be missing in some rows or altogether."""
    positive: str = "1"
    """Name of the class that ``prob`` is of."""
    time: str | None = None
    """Time of the row: Unix seconds, or a date and time (UTC where it names no zone)."""
    segments: tuple[str, ...] = ()
    """Columns whose groups are compared with each other."""
    ignored: tuple[str, ...] = ()
    """Columns that are left out."""


def read_window(path: Path, roles: Roles, *, has_truth: bool = False) -> Window:
    """Return a file as a window, in the order of its times where it has them.

    Args:
        path: The file.
        roles: What its columns mean.
        has_truth: Whether a column of the truth that is named has to be there.

    Raises:
        InvalidData: It cannot be read as what its ending says, or a column is not what its role
            needs.
        InvalidValue: Another ending.
        UnknownName: A role names a column that is not there; the truth may be absent.
        NotEnoughData: No rows.
    """
    table = _table(path)
    if has_truth and roles.truth is not None and roles.truth not in table:
        raise UnknownName(f"column of {path}", roles.truth, list(table))
    return window_of_columns(table, roles, source=str(path))


def window_of_columns(
    table: Mapping[str, Sequence[Any]], roles: Roles, *, source: str = "table"
) -> Window:
    """Return columns of equal length as a window; None is missing. See ``read_window``.

    Raises:
        InvalidData: A column is not what its role needs.
        UnknownName: A role names a column that is not there; the truth may be absent.
        NotEnoughData: No rows.
    """
    n = len(next(iter(table.values()), ()))
    if n == 0:
        raise NotEnoughData(f"A comparison of {source}", 0, 1)
    for name in (roles.prob, roles.answer, roles.time, *roles.segments, *roles.ignored):
        if name is not None and name not in table:
            raise UnknownName(f"column of {source}", name, list(table))
    taken = {roles.prob, roles.answer, roles.truth, roles.time, *roles.ignored}
    columns = _answers(table, roles, source)
    for name, values in table.items():
        if name not in taken and not _is_row_number(values):
            columns += columns_of(name, values)
    window = Window(
        _times(table, roles, n, source),
        tuple(each for each in columns if each.is_there.any()),
        **_outcomes(table, roles, source),
        segments={
            name: tuple("" if each is None else word(each) for each in table[name])
            for name in roles.segments
        },
    )
    return window.rows(np.argsort(window.times_s, kind="stable"))


def _answers(table: Mapping[str, Sequence[Any]], roles: Roles, source: str) -> list[Column]:
    found = []
    if roles.prob is not None:
        # Importances and reports speak of the prediction, whatever the file calls it.
        prob = _numbers(table, roles.prob, source)
        found.append(Column("prediction", "numeric", "answer", prob))
    if roles.answer is not None:
        names = [None if each is None else class_name(each) for each in table[roles.answer]]
        found += columns_of("label", names, "answer")
    return found


def _outcomes(table: Mapping[str, Sequence[Any]], roles: Roles, source: str) -> dict[str, Any]:
    prob = None if roles.prob is None else _numbers(table, roles.prob, source)
    if prob is not None and ((prob < 0) | (prob > 1)).any():
        raise InvalidData(f"column {roles.prob!r} must hold fractions in [0, 1]", source=source)
    answered = None if roles.answer is None else _is(table[roles.answer], roles.positive)
    if answered is None and prob is not None:
        answered = np.where(np.isnan(prob), np.nan, prob >= 0.5)
    truth = table.get(roles.truth or "")
    is_first = None if truth is None else _is(truth, roles.positive)
    right = None
    if truth is not None and roles.answer is not None:
        right = _agree(table[roles.answer], truth)
    elif is_first is not None and answered is not None:
        right = np.where(np.isnan(is_first) | np.isnan(answered), np.nan, is_first == answered)
    confidence = None
    if prob is not None and answered is not None:
        confidence = np.where(answered == 1, prob, 1 - prob)
    return {
        "prob": prob,
        "confidence": confidence,
        "chose_first": answered,
        "is_first": None if is_first is None or prob is None else is_first,
        "is_right": right if right is not None and np.isfinite(right).any() else None,
    }


def _is(values: Sequence[Any], name: str) -> Float[np.ndarray, " n"]:
    return np.array(
        [np.nan if each is None else class_name(each) == name for each in values], float
    )


def _agree(first: Sequence[Any], second: Sequence[Any]) -> Float[np.ndarray, " n"]:
    return np.array(
        [
            np.nan if one is None or other is None else class_name(one) == class_name(other)
            for one, other in zip(first, second, strict=True)
        ],
        dtype=np.float64,
    )


def _numbers(table: Mapping[str, Sequence[Any]], name: str, source: str) -> Float[np.ndarray, " n"]:
    try:
        return np.array([np.nan if each is None else each for each in table[name]], np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"column {name!r} must hold numbers ({error})", source=source) from error


def _times(
    table: Mapping[str, Sequence[Any]], roles: Roles, n: int, source: str
) -> Float[np.ndarray, " n"]:
    if roles.time is None:
        return np.arange(n, dtype=np.float64)
    try:
        return np.array([_seconds(each) for each in table[roles.time]], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidData(
            f"column {roles.time!r} must hold times ({error})", source=source
        ) from error


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)


def _is_row_number(values: Sequence[Any]) -> bool:
    """Return whether values just count the rows: they would drift from any file to the next."""
    return all(isinstance(each, int) for each in values[:2]) and all(
        isinstance(each, int) and not isinstance(each, bool) and each == values[0] + place
        for place, each in enumerate(values)
    )


def _table(path: Path) -> dict[str, list[Any]]:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise InvalidValue("file", str(path), f"one that ends in {', '.join(FORMATS)}")
    try:
        table = _arrow(path, ending)
    except FileNotFoundError as error:
        raise InvalidData("there is no such file", source=str(path)) from error
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = first_line(error)
        raise InvalidData(f"cannot be read as {ending[1:]} ({reason})", source=str(path)) from error
    return {
        name.strip(): _stripped(column.to_pylist())
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _arrow(path: Path, ending: str) -> pa.Table:
    if ending == ".parquet":
        return parquet.read_table(path)
    if ending in (".csv", ".tsv"):
        options = csv.ParseOptions(delimiter="\t" if ending == ".tsv" else ",")
        convert = csv.ConvertOptions(strings_can_be_null=True)
        return csv.read_csv(path, parse_options=options, convert_options=convert)
    return json.read_json(path)


def _stripped(values: list[Any]) -> list[Any]:
    if not any(isinstance(each, str) for each in values[:100]):
        return values
    # Some files have a blank behind every comma.
    return [(each.strip() or None) if isinstance(each, str) else each for each in values]
