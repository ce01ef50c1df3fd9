"""Which of many dictionaries may have been written to, for a fraction of what looking would take.

CPython 3.11 and 3.12 give a dictionary a new number with every change. Knows where they keep it;
elsewhere every dictionary may have been written to.
"""

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt64

_OFFSET = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)
"""Bytes from a dictionary's start to its number.

Source: CPython 3.11, ``PyDictObject``: after the object's head the number of items, then the
version; PEP 509.
"""

_WORD = np.dtype(np.uint64)


class Watch:
    """Tells which dictionaries may have changed.

    Args:
        tables: As they are to be from now on.
    """

    def __init__(self, tables: Sequence[dict[Any, Any]]) -> None:
        # Kept, so that nothing else comes to be where one of them was.
        self._tables = tuple(tables)
        self._numbers = _Numbers(self._tables) if IS_KNOWN and self._tables else None
        self._known = self._seen = None if self._numbers is None else self._numbers.read()

    def written(self) -> Sequence[int]:
        """Return the indexes of those that may differ from what they were when last settled."""
        if self._numbers is None:
            return range(len(self._tables))
        self._seen = self._numbers.read()
        written: list[int] = np.flatnonzero(self._seen != self._known).tolist()
        return written

    def settle(self) -> None:
        """Take what ``written`` has seen for what they are to be."""
        self._known = self._seen


class _Numbers:
    """The versions of dictionaries that stay where they are."""

    def __init__(self, tables: tuple[dict[Any, Any], ...]) -> None:
        places = np.array([id(table) for table in tables], dtype=np.int64) + _OFFSET
        first, last = int(places.min()), int(places.max())
        n_bytes = last - first + _WORD.itemsize
        # A window on all that lies between, of which no more is read than these words.
        window = memoryview((ctypes.c_char * n_bytes).from_address(first))
        self._memory: UInt64[np.ndarray, " n_words"] = np.frombuffer(window, _WORD)
        self._places = (places - first) // _WORD.itemsize

    def read(self) -> UInt64[np.ndarray, " n_tables"]:
        """Return them, as they are now."""
        return np.take(self._memory, self._places)


def _is_known() -> bool:
    """Return whether a number stands where it is looked for, and does what it should."""
    if sys.implementation.name != "cpython" or dict.__basicsize__ < _OFFSET + _WORD.itemsize:
        return False
    tables: tuple[dict[Any, Any], ...] = ({}, {1: 2})
    numbers = _Numbers(tables)
    before, again = numbers.read(), numbers.read()
    tables[1][1] = 3
    written = numbers.read()
    del tables[1][1]
    emptied = numbers.read()
    changes = [(before, again, False), (again, written, True), (written, emptied, True)]
    return all(
        old[0] == new[0] and (old[1] != new[1]) == is_other for old, new, is_other in changes
    )


IS_KNOWN = _is_known()
"""Whether this Python tells of changes."""
