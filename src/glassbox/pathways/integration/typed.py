"""Frozen dataclasses as Arrow tables and JSON, and back; the annotations are the schema.

Knows text, integers, floats, booleans, tuples and nested dataclasses, each with or without None.
A float that is not finite is written as missing: JSON has no word for it, and nothing should rank
by it. Knows nothing of studies.
"""

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.artifacts import atomic_file
from glassbox.errors import CorruptArtifact

Row = TypeVar("Row")

_PLAIN: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(hint: Any) -> Any:
    """Return a type without its ``None``, and a Literal as the type of its values."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(each for each in get_args(hint) if each is not type(None))
    return type(get_args(hint)[0]) if get_origin(hint) is Literal else hint


def _arrow_type(hint: Any) -> pa.DataType:
    hint = _required(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return pa.list_(_arrow_type(items[0]))
        # A fixed tuple such as (name, value): its places become fields.
        return pa.struct([(str(place), _arrow_type(each)) for place, each in enumerate(items)])
    return pa.struct([(each.name, _arrow_type(_hints(hint)[each.name])) for each in fields(hint)])


def arrow_schema(kind: type) -> pa.Schema:
    """Return the schema of a table whose rows are these dataclasses."""
    return pa.schema([(each.name, _arrow_type(_hints(kind)[each.name])) for each in fields(kind)])


def to_plain(value: Any, *, pairs_as_structs: bool = False) -> Any:
    """Return a value as dictionaries, lists, text and numbers; what is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: _field_to_plain(
                getattr(value, each.name), _hints(type(value))[each.name], pairs_as_structs
            )
            for each in fields(value)
        }
    if isinstance(value, tuple | list):
        return [to_plain(each, pairs_as_structs=pairs_as_structs) for each in value]
    return value


def _field_to_plain(value: Any, hint: Any, pairs_as_structs: bool) -> Any:
    hint = _required(hint)
    if pairs_as_structs and value is not None and get_origin(hint) is tuple:
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return [_field_to_plain(each, items[0], True) for each in value]
        return {str(place): to_plain(each) for place, each in enumerate(value)}
    return to_plain(value, pairs_as_structs=pairs_as_structs)


def from_plain(hint: Any, value: Any) -> Any:
    """Return what ``to_plain`` made, as the type that the annotation says.

    Raises:
        TypeError: A field is missing or has another type; readers say of which file.
    """
    if value is None:
        return None
    hint = _required(hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in _PLAIN:
        if not isinstance(value, hint):
            raise TypeError(f"{value!r} is no {hint.__name__}")
        return value
    if get_origin(hint) is tuple:
        items = get_args(hint)
        values = list(value.values()) if isinstance(value, Mapping) else value
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(from_plain(items[0], each) for each in values)
        return tuple(from_plain(each, one) for each, one in zip(items, values, strict=True))
    return row_from_plain(hint, value)


def row_from_plain(kind: type[Row], value: Mapping[str, Any]) -> Row:
    """Return one dataclass from a dictionary of its fields; later fields may be absent.

    Raises:
        TypeError: A field without a default is missing, or one has another type.
    """
    hints = _hints(cast(type, kind))
    found = {
        each.name: from_plain(hints[each.name], value[each.name])
        for each in fields(kind)  # type: ignore[arg-type]
        if each.name in value
    }
    return kind(**found)


def to_table(kind: type[Row], rows: Iterable[Row]) -> pa.Table:
    """Return dataclasses as an Arrow table."""
    plain = [to_plain(each, pairs_as_structs=True) for each in rows]
    return pa.Table.from_pylist(plain, schema=arrow_schema(kind))


def write_rows(path: Path, kind: type[Row], rows: Iterable[Row], group_size: int = 4096) -> None:
    """Write dataclasses as a Parquet file, whole or not at all.

    Raises:
        NoDiskSpace: The device is full.
    """
    with atomic_file(path) as file:
        pq.write_table(to_table(kind, rows), file, compression="zstd", row_group_size=group_size)


def read_rows(path: Path, kind: type[Row], filters: Any = None) -> tuple[Row, ...]:
    """Return the rows of a Parquet file that ``write_rows`` made, those that fit the filters.

    Raises:
        CorruptArtifact: The file is damaged, or its rows are others.
    """
    table = open_table(path, filters)
    try:
        return rows_from_table(kind, table)
    except TypeError as error:
        raise CorruptArtifact(path, f"its rows are no {kind.__name__} ({error})") from error


def open_table(path: Path, filters: Any = None) -> pa.Table:
    """Return the rows of a Parquet file that fit the filters, as an Arrow table.

    Raises:
        CorruptArtifact: The file is not there or damaged.
    """
    try:
        return pq.read_table(path, filters=filters)
    except (OSError, pa.ArrowException) as error:
        raise CorruptArtifact(path, f"cannot be read as Parquet ({error})") from error


def rows_from_table(kind: type[Row], table: pa.Table) -> tuple[Row, ...]:
    """Return the rows of an Arrow table as dataclasses."""
    return tuple(row_from_plain(kind, each) for each in table.to_pylist())
