"""Whether many objects are the same ones, in a fraction of the time that asking one by one takes.

Knows how CPython keeps a tuple; asks one by one where that is not so.
"""

import ctypes
from array import array
from typing import Any

_FIRST = tuple.__basicsize__
_STEP = tuple.__itemsize__


def addresses(objects: tuple[Any, ...]) -> bytes:
    """Return where objects are: equal for the same ones in the same order, while they live.

    Source: CPython, ``PyTupleObject``: after the head of a tuple the addresses of what it holds.
    """
    if _IS_KNOWN:
        return ctypes.string_at(id(objects) + _FIRST, _STEP * len(objects))
    return _asked(objects)


def _asked(objects: tuple[Any, ...]) -> bytes:
    return array("Q", map(id, objects)).tobytes()


_SAMPLE = (addresses, _asked, _FIRST)

_IS_KNOWN = array("Q").itemsize == _STEP and ctypes.string_at(
    id(_SAMPLE) + _FIRST, _STEP * len(_SAMPLE)
) == _asked(_SAMPLE)
