"""What a dataclass comes back as where its class is not known: the same fields, read only."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn


class Record:
    """Named values, read as attributes or by ``record["name"]``; equal when all of them are.

    Args:
        name: Class it was on the other side, such as ``ideas:Lens``.
        fields: Its values by name.
    """

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_fields", dict(fields))

    def __getattr__(self, name: str) -> Any:
        fields = object.__getattribute__(self, "_fields")
        if name not in fields:
            raise AttributeError(
                f"{class_of(self)} has no {name!r}; it has {', '.join(map(repr, fields))}"
            )
        return fields[name]

    def __getitem__(self, name: str) -> Any:
        return fields_of(self)[name]

    def __contains__(self, name: object) -> bool:
        return name in fields_of(self)

    def __iter__(self) -> Iterator[str]:
        return iter(fields_of(self))

    def __dir__(self) -> list[str]:
        return sorted(fields_of(self))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{class_of(self)} came from the other side and cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{class_of(self)} came from the other side and cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return class_of(self) == class_of(other) and _alike(fields_of(self), fields_of(other))

    def __hash__(self) -> int:
        return hash((class_of(self), tuple(fields_of(self).items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
        return f"{class_of(self).rpartition(':')[2].rpartition('.')[2]}({shown})"

    def __reduce__(self) -> tuple[type["Record"], tuple[str, dict[str, Any]]]:
        return Record, (class_of(self), fields_of(self))


def fields_of(record: Record) -> dict[str, Any]:
    """Return the values of a record by name."""
    fields: dict[str, Any] = object.__getattribute__(record, "_fields")
    return fields


def class_of(record: Record) -> str:
    """Return the class that a record was on the other side."""
    name: str = object.__getattribute__(record, "_name")
    return name


def _alike(mine: Any, other: Any) -> bool:
    """Return whether values are equal; arrays and tensors when all their entries are."""
    if mine is other:
        return True
    if type(mine) is not type(other):
        return False
    if isinstance(mine, dict):
        return mine.keys() == other.keys() and all(_alike(mine[key], other[key]) for key in mine)
    if isinstance(mine, list | tuple):
        return len(mine) == len(other) and all(map(_alike, mine, other))
    if hasattr(mine, "shape") and hasattr(mine, "dtype"):
        same_form = (mine.shape, mine.dtype) == (other.shape, other.dtype)
        return same_form and bool((mine == other).all())
    return bool(mine == other)
