"""The parts of a value that a technique returned: what each is, and which one a path names.

A path is written as in Python, without a leading name: ``tokens[3].text``, ``probs[0,-1]``,
``by_layer["4"]``. Works on numpy arrays and torch tensors and imports no torch.
"""

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glassbox.errors import InvalidValue, UnknownName

_STEP = re.compile(
    r"""\.?([A-Za-z_]\w*)|\[\s*(-?\d{1,18}(?:\s*,\s*-?\d{1,18})*)\s*\]|\[\s*"([^"]*)"\s*\]|\[\s*'([^']*)'\s*\]"""
)


def select(value: object, path: str) -> Any:
    """Return the part of a value that a path names.

    Raises:
        UnknownName: The value has no such part.
        InvalidValue: The path cannot be read.
    """
    position, part, text = 0, value, path.strip()
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            raise InvalidValue(
                "path", path, "names and indices such as 'tokens[3].text' or 'probs[0,-1]'"
            )
        name, numbers, *quoted = step.groups()
        key = name if name is not None else next((each for each in quoted if each is not None), "")
        where = text[:position] or "the result"
        if numbers is not None:
            part = _indexed(part, tuple(int(each) for each in numbers.split(",")), where)
        else:
            part = _named(part, key, where)
        position = step.end()
    return part


def as_array(value: object) -> Shaped[np.ndarray, "..."] | None:
    """Return a tensor as an array (bfloat16 and float8 as float32), None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    plain = value.detach().cpu().resolve_conj()
    if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float64):
        plain = plain.float()
    return np.asarray(plain.numpy())


def dtype_of(value: object) -> str:
    """Return the name of a tensor's own number format, such as ``bfloat16``."""
    return str(getattr(value, "dtype", "")).removeprefix("torch.")


def fields_of(value: object) -> dict[str, Any] | None:
    """Return the parts of a value by name, None for what has none.

    Those of a dataclass, as a ``Record`` is one, of a named tuple and of a namespace.
    """
    if isinstance(value, SimpleNamespace):
        return dict(vars(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    names = getattr(value, "_fields", None)
    if isinstance(value, tuple) and names is not None:
        return dict(zip(names, value, strict=True))
    return None


def kind_of(value: object) -> str:
    """Return what a value is: ``text``, ``tensor``, ``mapping``, ``list``, ``value`` or a type."""
    if isinstance(value, str):
        return "text"
    if as_array(value) is not None:
        return "tensor"
    if fields_of(value) is not None:
        return type(value).__name__
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray | memoryview):
        return "list"
    return "value"


def size_of(value: object) -> int:
    """Return how many characters, rows, fields, entries or items a value has; others have 1."""
    array = as_array(value)
    if array is not None:
        return int(array.shape[0]) if array.ndim else 1
    fields = fields_of(value)
    if fields is not None:
        return len(fields)
    return len(value) if isinstance(value, Mapping | Sequence | Set) else 1


def _indexed(part: Any, numbers: tuple[int, ...], where: str) -> Any:
    array = as_array(part)
    keyed = isinstance(part, Mapping) and fields_of(part) is None
    if keyed and len(numbers) == 1:
        return _named(part, str(numbers[0]), where)
    try:
        if array is not None:
            return part[numbers]
        for number in numbers:
            part = tuple(part)[number] if isinstance(part, Set) else part[number]
    except IndexError as error:
        shape = size_of(part) if array is None else tuple(array.shape)
        raise InvalidValue("index", list(numbers), f"inside {where}, of size {shape}") from error
    except (TypeError, KeyError) as error:
        raise InvalidValue(
            "index", list(numbers), f"a name, because {where} is a {kind_of(part)}"
        ) from error
    return part


def _named(part: Any, key: str, where: str) -> Any:
    fields = fields_of(part)
    entries: Mapping[Any, Any] | None = fields
    if entries is None and isinstance(part, Mapping):
        entries = part
    if entries is None:
        raise InvalidValue(
            "path", key, f"an index in brackets, because {where} is a {kind_of(part)}"
        )
    for name, each in entries.items():
        if name == key or str(name) == key:
            return each
    raise UnknownName(f"part of {where}", key, [str(name) for name in islice(entries, 40)])


def plain_json(value: object) -> Any:
    """Return a value as JSON can hold it, whole: tensors as nested lists, records as mappings.

    Numbers that are not finite become null; bytes and what JSON has no form for become text.
    """
    array = as_array(value)
    if array is not None:
        return plain_json(array.tolist())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain_json(value.item())
    fields = fields_of(value)
    entries = fields if fields is not None else value if isinstance(value, Mapping) else None
    if entries is not None:
        return {str(key): plain_json(each) for key, each in entries.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain_json(each) for each in value]
    return str(value)


def tensors_of(value: object, path: str = "") -> dict[str, Any]:
    """Return every tensor of a value by the path that names it."""
    if as_array(value) is not None:
        return {path or "result": value}
    fields = fields_of(value)
    found: dict[str, Any] = {}
    if fields is not None:
        for name, each in fields.items():
            found |= tensors_of(each, f"{path}.{name}" if path else name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            found |= tensors_of(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            found |= tensors_of(each, f"{path}[{number}]")
    return found
