"""What an object comes back as where its class is not known: a dataclass with the same fields."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Self


class Record:
    """Named values, read as attributes or by ``record["name"]``; equal when all of them are.

    Each is a dataclass of its own, called what it was on the other side.
    """

    @classmethod
    def of(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Return a record of these values, by name.

        Args:
            name: Class it was on the other side, such as ``ideas:Lens``.
            fields: Its values by name.

        Raises:
            TypeError: A name is none that a field can have.
        """
        base: Any = cls
        kind: type[Self] = _class(base, name, tuple(fields))
        # Filled, not called: whatever a field is named, it is a value and no code.
        made = object.__new__(kind)
        vars(made).update(fields)
        return made

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{class_of(self)} has no {name!r}; it has {', '.join(map(repr, vars(self)))}"
        )

    def __getitem__(self, name: Any) -> Any:
        return vars(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return class_of(self) == class_of(other) and _alike(vars(self), vars(other))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        kind = Output if isinstance(self, Output) else Record
        return kind.of, (class_of(self), dict(vars(self)))


class Output(Record, Mapping[str, Any]):
    """A model's output: also a mapping and, by ``out[0]`` and ``out[:2]``, a tuple.

    In both there is only what is not None, as transformers' ``ModelOutput`` has it.
    """

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def __getitem__(self, place: str | int | slice) -> Any:
        return self._given()[place] if isinstance(place, str) else self.to_tuple()[place]

    def __setitem__(self, name: str, value: Any) -> None:
        vars(self)[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._given())

    def __len__(self) -> int:
        return len(self._given())

    def to_tuple(self) -> tuple[Any, ...]:
        """Return what is not None, in order."""
        return tuple(self._given().values())


def class_of(record: Record) -> str:
    """Return the class that a record was on the other side."""
    return f"{type(record).__module__}:{type(record).__qualname__}"


@lru_cache(maxsize=256)
def _class(base: type[Record], name: str, fields: tuple[str, ...]) -> Any:
    module, _, qualname = name.partition(":")
    made: type = dataclasses.make_dataclass(
        qualname.rpartition(".")[2],
        # All that follow a default need one; a method of the same name would be taken for one.
        [(field, Any, dataclasses.field(default=None)) for field in fields],
        bases=(base,),
        eq=False,
        repr=False,
    )
    made.__module__, made.__qualname__ = module, qualname
    return made


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
