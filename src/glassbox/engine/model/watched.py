"""Which of many dictionaries may have been written to, for a fraction of what comparing them takes.

CPython 3.11 to 3.13 give a dictionary a new number with every change; in 3.13 not so for attributes
set through their object. Knows where the number is kept; what it does not tell of is looked at, all
dictionaries at once.
"""

import ctypes
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import methodcaller
from typing import Any

import numpy as np
from jaxtyping import UInt64

from glassbox.engine.model.identity import addresses

_OFFSET = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)
"""Bytes from a dictionary's start to its number.

Source: CPython 3.11, ``PyDictObject``: after the object's head the number of items, then the
version (PEP 509), the address of the keys, and that of the values where these are kept apart.
"""

_VALUES = 2
"""Words from a dictionary's number to the address of its values: 0 if they lie with the keys."""

_WORD = np.dtype(np.uint64)

_SPAN = (_VALUES + 1) * _WORD.itemsize
"""Bytes of a dictionary that are read, from its number on."""

_values: Callable[[dict[Any, Any]], Collection[Any]] = methodcaller("values")


class Watch:
    """Tells which dictionaries may have changed.

    Args:
        tables: As they are to be from now on.
    """

    def __init__(self, tables: Sequence[dict[Any, Any]]) -> None:
        # Kept, so that nothing else comes to be where one of them was.
        self._tables = tuple(tables)
        self._numbers = _Numbers(self._tables if IS_KNOWN else ())
        silent = self._numbers.silent() if IS_KNOWN else range(len(self._tables))
        self._silent = {index: self._tables[index] for index in silent}
        self._known = self._seen = self._look()

    def written(self) -> Sequence[int]:
        """Return the indexes of those that may differ from what they were when last settled."""
        self._seen = self._look()
        (numbers, contents), (known_numbers, known_contents) = self._seen, self._known
        written: list[int] = np.flatnonzero(numbers != known_numbers).tolist()
        return written if contents == known_contents else sorted({*written, *self._silent})

    def settle(self) -> None:
        """Take what ``written`` has seen for what they are to be."""
        self._known = self._seen

    def _look(self) -> tuple[UInt64[np.ndarray, " n_tables"], "_Contents"]:
        return self._numbers.read(), _contents(self._silent.values())


class _Numbers:
    """The versions of dictionaries that stay where they are."""

    def __init__(self, tables: tuple[dict[Any, Any], ...]) -> None:
        places = np.array([id(table) for table in tables], dtype=np.int64) + _OFFSET
        first = int(places.min()) if tables else 0
        n_bytes = int(places.max()) - first + _SPAN if tables else 0
        # A window on all that lies between, of which no more is read than these words.
        window = memoryview((ctypes.c_char * n_bytes).from_address(first))
        self._memory: UInt64[np.ndarray, " n_words"] = np.frombuffer(window, _WORD)
        self._places = (places - first) // _WORD.itemsize

    def read(self) -> UInt64[np.ndarray, " n_tables"]:
        """Return them, as they are now."""
        return np.take(self._memory, self._places)

    def silent(self) -> Sequence[int]:
        """Return the indexes of those that may change and keep their number."""
        if _TELLS_OF_ATTRIBUTES:
            return []
        apart: list[int] = np.flatnonzero(np.take(self._memory, self._places + _VALUES)).tolist()
        return apart


@dataclass(frozen=True)
class _Contents:
    """What dictionaries hold: which objects under which keys, in their order."""

    places: bytes
    lengths: tuple[int, ...]
    held: tuple[Any, ...] = field(compare=False)
    """Kept, so that nothing else comes to be where one of them was."""


def _contents(tables: Collection[dict[Any, Any]]) -> _Contents:
    held = (*chain.from_iterable(tables), *chain.from_iterable(map(_values, tables)))
    return _Contents(addresses(held), tuple(map(len, tables)), held)


class _Holder:
    """Anything with attributes."""


def _written(tables: tuple[dict[Any, Any], ...], write: Callable[[], object]) -> list[int]:
    """Return the indexes of those whose number is another one after a write."""
    numbers = _Numbers(tables)
    before = numbers.read()
    write()
    found: list[int] = np.flatnonzero(numbers.read() != before).tolist()
    return found


def _tells_of_attributes() -> bool:
    """Return whether numbers change with attributes that are set through their object."""
    holder = _Holder()
    writes = [
        partial(setattr, holder, "own", 1),
        partial(setattr, holder, "own", 2),
        partial(delattr, holder, "own"),
    ]
    return _IS_LAID_OUT and all(_written((vars(holder),), write) for write in writes)


def _is_known() -> bool:
    """Return whether a number stands where it is looked for, and does what it should."""
    if not _IS_LAID_OUT:
        return False
    holder = _Holder()
    tables: tuple[dict[Any, Any], ...] = ({}, {1: 2}, vars(holder))
    return (
        _written(tables, lambda: None) == []
        and _written(tables, lambda: tables[1].update({1: 3})) == [1]
        and _written(tables, tables[1].clear) == [1]
        and (_TELLS_OF_ATTRIBUTES or _Numbers(tables).silent() == [2])
    )


_IS_LAID_OUT = sys.implementation.name == "cpython" and dict.__basicsize__ >= _OFFSET + _SPAN

_TELLS_OF_ATTRIBUTES = _tells_of_attributes()

IS_KNOWN = _is_known()
"""Whether this Python tells of changes."""
