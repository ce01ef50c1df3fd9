"""A value in few words, and any part of it page by page: what fits into a context window.

Tensors are told by shape, dtype, range and first values; long lists, mappings and texts by their
size and beginning, with the path under which the rest is found. Floats are rounded to six
significant digits. Works on numpy arrays and torch tensors; imports neither torch nor a model.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import orjson
from jaxtyping import Shaped

from glassbox.errors import InvalidValue
from glassbox.techniques.packed.parts import (
    as_array,
    dtype_of,
    fields_of,
    kind_of,
    select,
    size_of,
)

SUMMARY_CHARACTERS: Final = 4000
"""About a thousand tokens of JSON."""

PAGE_CHARACTERS: Final = 6000
"""Bytes: about two thousand tokens of JSON."""

PAGE_ITEMS: Final = 64
"""Items of a page where nothing else is asked for."""

PAGE_TEXT: Final = 4000
"""Characters of a page of text where nothing else is asked for."""

SIGNIFICANT: Final = 6
"""Digits of a float that are told."""

DEPTH: Final = 6
"""Containers within containers that are still opened."""


@dataclass(frozen=True)
class Scale:
    """How much of each thing is told; deeper down less."""

    n_items: int
    """Items of a list or mapping."""
    n_text: int
    """Characters of a text."""
    n_numbers: int
    """Values of a tensor."""

    def deeper(self) -> "Scale":
        """Return what is told one level further down."""
        return Scale(max(self.n_items // 2, 2), max(self.n_text // 2, 40), self.n_numbers)

    def halved(self) -> "Scale":
        """Return half of everything."""
        return Scale(
            max(self.n_items // 2, 1), max(self.n_text // 2, 20), max(self.n_numbers // 2, 2)
        )


WHOLE: Final = Scale(n_items=64, n_text=1000, n_numbers=8)
"""What a summary begins with."""


@dataclass(frozen=True)
class Page:
    """Some items of one part of a value."""

    path: str
    """The part."""
    kind: str
    """What it is: ``tensor``, ``list``, ``mapping``, ``text``, ``value`` or a type's name."""
    n_items: int
    """Items (along the first axis), fields, entries or characters of the part; 1 for a value."""
    offset: int
    """Number of the first item told, from 0."""
    items: Any
    """The items, a text's characters, or the value."""
    next_offset: int | None
    """Where the next page begins; None after the last."""
    dtype: str | None = None
    """A tensor's number format."""
    shape: tuple[int, ...] | None = None
    """A tensor's shape."""


def summary(value: object, *, characters: int = SUMMARY_CHARACTERS) -> Any:
    """Return a JSON value of at most about ``characters`` characters that tells a value."""
    scale, told = WHOLE, _told(value, WHOLE, 0)
    for _ in range(10):
        if len(_json(told)) <= characters:
            return told
        scale = scale.halved()
        told = _told(value, scale, 0)
    if len(_json(told)) <= characters:
        return told
    return {"kind": kind_of(value), "n_items": size_of(value)}


def page(
    value: object,
    path: str = "",
    *,
    offset: int = 0,
    count: int | None = None,
    characters: int = PAGE_CHARACTERS,
) -> Page:
    """Return some items of the part of a value that a path names.

    Args:
        value: The whole.
        path: Such as ``tokens[3].text`` or ``probs[0,-1]``; empty is the whole.
        offset: First item, from 0.
        count: Items, or characters of a text; None takes what fits into a page.
        characters: About how long the page may be as JSON; it then has fewer items, at least one.

    Raises:
        UnknownName: The value has no such part.
        InvalidValue: The path cannot be read, or offset or count are out of range.
    """
    part = select(value, path)
    n_items, kind = size_of(part), kind_of(part)
    if not 0 <= offset <= max(n_items - 1, 0):
        raise InvalidValue("offset", offset, f"0 to {max(n_items - 1, 0)} in this part")
    if count is not None and count < 1:
        raise InvalidValue("count", count, "a number of items, at least 1")
    array = as_array(part)
    dtype, shape = (None, None) if array is None else (dtype_of(part), tuple(array.shape))
    if isinstance(part, str):
        text = shortened(part[offset : offset + min(count or PAGE_TEXT, characters)], characters)
        end = offset + len(text)
        return Page(path, kind, n_items, offset, written(text), end if end < n_items else None)
    if kind == "value" or shape == ():
        return Page(path, kind, 1, 0, _told(part, WHOLE, 0), None, dtype, shape)
    wanted = islice(_items(part), offset, offset + min(count or PAGE_ITEMS, 10_000))
    items = list(_fitting(wanted, characters))
    end = offset + len(items)
    return Page(path, kind, n_items, offset, items, end if end < n_items else None, dtype, shape)


def shortened(text: str, n_bytes: int) -> str:
    """Return as much of a text's beginning as fits into some bytes of JSON, at least one character.

    Letters of other scripts take up to four bytes, and control characters six.
    """
    while len(text) > 1 and (length := len(_json(written(text)))) > n_bytes:
        text = text[: max(min(len(text) - 1, len(text) * n_bytes // length), 1)]
    return text


def written(text: str) -> str:
    r"""Return a text with lone surrogates, which no JSON carries, as escapes: ``\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()


def rounded(number: float) -> float | str:
    """Return a float of six significant digits, or the name of one that is not finite."""
    if np.isfinite(number):
        return float(f"{number:.{SIGNIFICANT}g}")
    return "nan" if np.isnan(number) else "inf" if number > 0 else "-inf"


def _told(value: object, scale: Scale, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | np.generic):
        return _number(value)
    if isinstance(value, str):
        return _told_text(value, scale)
    array = as_array(value)
    if array is not None:
        return _told_tensor(array, dtype_of(value), scale)
    fields = fields_of(value)
    if depth >= DEPTH and (fields is not None or isinstance(value, Mapping | Sequence | Set)):
        return {"kind": kind_of(value), "n_items": size_of(value)}
    if fields is not None:
        inner = {name: _told(each, scale.deeper(), depth + 1) for name, each in fields.items()}
        return {"kind": type(value).__name__, "fields": inner}
    if isinstance(value, Mapping):
        return _told_mapping(value, scale, depth)
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray | memoryview):
        return _told_sequence(value, scale, depth)
    return _told_other(value, scale)


def _told_text(text: str, scale: Scale) -> Any:
    if len(text) <= scale.n_text:
        return written(text)
    return {"kind": "text", "n_characters": len(text), "first": written(text[: scale.n_text])}


def _told_tensor(array: Shaped[np.ndarray, "..."], dtype: str, scale: Scale) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": "tensor", "dtype": dtype, "shape": list(array.shape)}
    if array.size == 0:
        return told
    if array.dtype.kind in "biuf":
        finite = array[np.isfinite(array)]
        if finite.size < array.size:
            told["n_nonfinite"] = int(array.size - finite.size)
        if finite.size and array.size > 1:
            told["min"] = _number(finite.min())
            told["mean"] = rounded(float(finite.mean(dtype=np.float64)))
            told["max"] = _number(finite.max())
    first = [_number(each) for each in array.flat[: scale.n_numbers]]
    told["value" if array.shape == () else "first"] = first[0] if array.shape == () else first
    return told


def _told_mapping(value: Mapping[Any, Any], scale: Scale, depth: int) -> dict[str, Any]:
    shown = {
        written(str(key)): _told(each, scale.deeper(), depth + 1)
        for key, each in islice(value.items(), scale.n_items)
    }
    if len(value) <= scale.n_items:
        return shown
    return {"kind": "mapping", "n_items": len(value), "first": shown}


def _told_sequence(
    value: "Sequence[Any] | Set[Any]", scale: Scale, depth: int
) -> dict[str, Any] | list[Any]:
    shown = [_told(each, scale.deeper(), depth + 1) for each in islice(value, scale.n_items)]
    if len(value) <= scale.n_items:
        return shown
    return {"kind": "list", "n_items": len(value), "first": shown}


def _told_other(value: object, scale: Scale) -> Any:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"kind": "bytes", "n_items": len(value)}
    return {"kind": type(value).__name__, "text": written(repr(value)[: scale.n_text])}


def _number(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float):
        return rounded(plain)
    if plain is None or (isinstance(plain, bool | int) and -(2**63) <= plain < 2**63):
        return plain
    return str(plain)


def _items(part: Any) -> Iterator[Any]:
    array = as_array(part)
    if array is not None:
        for row in array:
            small = isinstance(row, np.ndarray) and row.size <= PAGE_ITEMS
            if not isinstance(row, np.ndarray):
                yield _number(row)
            elif small:
                yield _nested(row)
            else:
                yield _told_tensor(row, dtype_of(part), WHOLE)
        return
    fields = fields_of(part)
    entries = fields if fields is not None else part if isinstance(part, Mapping) else None
    if entries is not None:
        for key, each in entries.items():
            yield {"key": written(str(key)), "value": _told(each, WHOLE.deeper(), 1)}
        return
    for each in part:
        yield _told(each, WHOLE.deeper(), 1)


def _nested(array: Shaped[np.ndarray, "..."]) -> Any:
    if array.ndim == 0:
        return _number(array[()])
    return [_nested(each) if isinstance(each, np.ndarray) else _number(each) for each in array]


def _fitting(items: Iterable[Any], characters: int) -> Iterator[Any]:
    used = 0
    for number, each in enumerate(items):
        length = len(_json(each))
        if number == 0 and length > characters:
            yield summary(each, characters=characters)
            return
        used += length + 1
        if number and used > characters:
            return
        yield each


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
