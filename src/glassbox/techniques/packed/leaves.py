"""Single values as JSON and back: what JSON says itself, and what needs a tag to stay what it was.

A tagged value is an object whose ``!`` names its kind. Knows no tensors and no containers.
"""

import datetime
import decimal
import enum
import fractions
import math
import pathlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TAG = "!"
"""Key that says what a JSON object stands for."""


@dataclass(frozen=True)
class RemoteValue:
    """Stands for a value that stayed on the other side, in a session.

    It may be an argument of a later call of the session, or part of one.
    """

    session: str
    """Session it was kept in."""
    id: str
    """Names it there."""
    describes: str
    """What it is, for people: such as ``float32 tensor of shape (12, 64)``."""


def is_json_text(text: str) -> bool:
    """Return whether UTF-8 can write a text: a lone surrogate it cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_text(text: str) -> str:
    """Return a text for people that UTF-8 can write: lone surrogates are spelled out."""
    return text if is_json_text(text) else text.encode("utf-8", "backslashreplace").decode()


def is_plain_json(values: Any) -> bool:
    """Return whether all entries of a list are numbers of a kind that stand for themselves."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) >= -(2**63) and max(values) < 2**63)
    return kinds == {float} and all(map(math.isfinite, values))


def _int(value: int) -> Any:
    return value if -(2**63) <= value < 2**63 else {TAG: "int", "of": hex(value)}


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {TAG: "float", "of": repr(value)}


def _str(value: str) -> Any:
    if is_json_text(value):
        return value
    return {TAG: "str", "of": value.encode("utf-8", "surrogatepass").hex()}


def _complex(value: complex) -> Any:
    return {TAG: "complex", "of": [repr(value.real), repr(value.imag)]}


def _timedelta(value: datetime.timedelta) -> Any:
    return {TAG: "timedelta", "of": [value.days, value.seconds, value.microseconds]}


def _range(value: range) -> Any:
    return {TAG: "range", "of": [hex(each) for each in (value.start, value.stop, value.step)]}


def _remote(value: RemoteValue) -> Any:
    return {TAG: "remote", "of": [value.session, value.id, value.describes]}


def _text(tag: str, write: Callable[[Any], str]) -> Callable[[Any], Any]:
    return lambda value: {TAG: tag, "of": write(value)}


def path_leaf(value: pathlib.PurePath) -> Any:
    """Return what stands for a path, of whichever system."""
    return {TAG: "path", "of": _str(str(value))}


def torch_name(value: Any) -> Any:
    """Return what stands for a dtype or a device of torch."""
    return {TAG: f"torch.{type(value).__name__}", "of": str(value).removeprefix("torch.")}


WRITERS: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    int: _int,
    float: _float,
    str: _str,
    complex: _complex,
    range: _range,
    type(Ellipsis): lambda _: {TAG: "ellipsis"},
    RemoteValue: _remote,
    datetime.timedelta: _timedelta,
    datetime.datetime: _text("datetime", datetime.datetime.isoformat),
    datetime.date: _text("date", datetime.date.isoformat),
    datetime.time: _text("time", datetime.time.isoformat),
    decimal.Decimal: _text("decimal", str),
    fractions.Fraction: lambda value: {
        TAG: "fraction",
        "of": [hex(value.numerator), hex(value.denominator)],
    },
    uuid.UUID: _text("uuid", str),
}
"""How a single value is written, by its exact type."""


def _path_from(text: Any) -> pathlib.Path:
    return pathlib.Path(text if isinstance(text, str) else _str_from(text["of"]))


def _str_from(text: str) -> str:
    return bytes.fromhex(text).decode("utf-8", "surrogatepass")


READERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda of: int(of, 16),
    "float": float,
    "str": _str_from,
    "complex": lambda of: complex(float(of[0]), float(of[1])),
    "range": lambda of: range(*(int(each, 16) for each in of)),
    "remote": lambda of: RemoteValue(*map(str, of)),
    "timedelta": lambda of: datetime.timedelta(*of),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "decimal": decimal.Decimal,
    "fraction": lambda of: fractions.Fraction(int(of[0], 16), int(of[1], 16)),
    "uuid": uuid.UUID,
    "path": _path_from,
}
"""How what a tag holds becomes the value again."""


def enum_member(kind: type | None, name: str | None, value: Any) -> Any:
    """Return the member of an enumeration, None when the class is not here or has no such one."""
    if kind is None or not issubclass(kind, enum.Enum):
        return None
    if name is not None and name in kind.__members__:
        return kind.__members__[name]
    return kind(value) if issubclass(kind, enum.Flag) else None
