"""Takes a value apart: JSON for what JSON can say, tags for what it cannot, tensors set aside.

Plain JSON stands for itself. Everything else is an object whose ``!`` says what it is; a dictionary
with such a key, or with keys that are not text, is a tagged list of pairs. Nothing is copied before
the size is known.
"""

import dataclasses
import enum
import pathlib
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson

from glassbox.errors import NotShippable
from glassbox.techniques.calls import Buffer
from glassbox.techniques.packed import tensor_bytes
from glassbox.techniques.packed.leaves import (
    TAG,
    WRITERS,
    is_json_text,
    is_plain_json,
    path_leaf,
    torch_name,
)
from glassbox.techniques.packed.live_things import (
    advice,
    described,
    is_encoding,
    is_model_cache,
    is_model_output,
)
from glassbox.techniques.packed.named_classes import class_name
from glassbox.techniques.packed.record import Output, Record, class_of

MOST_DEEP = 64
"""Levels of nesting; each takes up to three of JSON's, and its writer stops at 254."""

MOST_PARTS = 2**23
"""Values in one packed value; more belong into a tensor."""

Path = tuple[Any, ...] | None
"""Way to a part: the way to what holds it, ``.`` or ``[``, and its name; None is the root."""


Plan = Callable[["Packer", Any, Path], Any]
"""How a value is packed that stands at the end of a way."""


def spelled(path: Path, root: str) -> str:
    """Return a way to a part as Python would write it: ``result['states'][3].hook``."""
    steps: list[str] = []
    while path is not None:
        path, kind, name = path
        steps.append(f".{name}" if kind == "." else f"[{name!r}]" if kind == "[" else f"{name}")
    return root + "".join(reversed(steps))


class Packer:
    """Takes one value apart.

    Args:
        root: What the value is called in messages.
        pickled: Makes bytes of what has no other form; None refuses it.
        may_leave_out: Whether caches of a model are left out by name instead of being refused.
        most_bytes: Where to give up, because the tree alone is longer; None never does.
    """

    def __init__(
        self,
        root: str,
        pickled: Callable[[Any], bytes] | None,
        *,
        may_leave_out: bool,
        most_bytes: int | None,
    ) -> None:
        self._root = root
        self._pickled = pickled
        self._may_leave_out = may_leave_out
        self._most_bytes = most_bytes
        self._plans: dict[type, Plan] = dict(_PLANS)
        self._active: dict[int, Path] = {}
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._pending: list[tuple[Callable[[Any], Buffer], Any]] = []
        self.sizes: list[tuple[int, Path, str]] = []
        self.left_out: list[str] = []
        self.remarks: list[str] = []
        self.n_parts = 0
        self.n_text = 0

    def node(self, value: Any, path: Path) -> Any:
        """Return what stands for a value in the JSON tree.

        Raises:
            NotShippable: It, or a part of it, cannot travel.
        """
        self.n_parts += 1
        if self.n_parts > MOST_PARTS:
            raise NotShippable(
                f"{self._root} holds more than {MOST_PARTS:,} values. Put them into a tensor."
            )
        kind = type(value)
        write = WRITERS.get(kind)
        if write is not None:
            if kind is str:
                self.n_text += len(value)
            return write(value)
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = self._plan(value)
        return plan(self, value, path)

    @property
    def least_bytes(self) -> int:
        """Bytes of JSON that there are by now at least: two for each value, and its text."""
        return self.n_text + 2 * self.n_parts

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the bytes of everything that was set aside."""
        return tuple(make(value) for make, value in self._pending)

    def spelled(self, path: Path) -> str:
        """Return a way as the message names it."""
        return spelled(path, self._root)

    def _plan(self, value: Any) -> Plan:
        """Return how values of this type are packed; asked once for each type."""
        kind = type(value)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            return Packer._tensor
        if torch is not None and isinstance(value, torch.dtype | torch.device):
            return _leaf(torch_name)
        if torch is not None and isinstance(value, torch.Size):
            return _leaf(lambda size: {TAG: "torch.Size", "of": list(size)})
        for test, plan in _FAMILIES:
            if test(kind):
                return plan
        return Packer._unknown

    def _set_aside(
        self, make: Callable[[Any], Buffer], value: Any, n_bytes: int, path: Path, form: str
    ) -> int:
        self._pending.append((make, value))
        self.sizes.append((n_bytes, path, form))
        return len(self._pending) - 1

    # Single values.

    def _bytes(self, value: bytes | bytearray | memoryview, path: Path) -> Any:
        kind = "bytearray" if isinstance(value, bytearray) else "bytes"
        n_bytes = value.nbytes if isinstance(value, memoryview) else len(value)
        return {TAG: kind, "i": self._set_aside(_flat_bytes, value, n_bytes, path, kind)}

    def _slice(self, value: slice, path: Path) -> Any:
        ends = (value.start, value.stop, value.step)
        return {TAG: "slice", "of": [self.node(each, path) for each in ends]}

    def _enum(self, value: enum.Enum, path: Path) -> Any:
        inner = self.node(value.value, (path, ".", "value"))
        return {TAG: "enum", "class": class_name(type(value)), "name": value.name, "of": inner}

    def _subclass(self, value: Any, path: Path) -> Any:
        """Pack an object of somebody's own list, text or number as what it is underneath."""
        base = next(base for base in (str, int, float, list, tuple, set, frozenset, dict)
                    if isinstance(value, base))  # fmt: skip
        return self._as(base(value), value, path)

    # Arrays.

    def _tensor(self, value: Any, path: Path) -> Any:
        dtype = tensor_bytes.check_tensor(value, self.spelled(path))
        key = tensor_bytes.tensor_key(value) if value.numel() else (id(value),)
        if key not in self._numbers:
            form = f"{dtype} tensor of shape {tuple(value.shape)}"
            n_bytes = value.numel() * value.element_size()
            self._numbers[key] = self._set_aside(
                tensor_bytes.bytes_of_tensor, value, n_bytes, path, form
            )
        node = {TAG: "tensor", "i": self._numbers[key], "dtype": dtype, "shape": list(value.shape)}
        if value.device.type != "cpu":
            node["device"] = str(value.device)
        return node

    def _array(self, value: tensor_bytes.Array, path: Path) -> Any:
        dtype = tensor_bytes.check_array(value, self.spelled(path))
        key: tuple[Any, ...] = (id(value),)
        if value.size:
            start = value.__array_interface__["data"][0]
            key = (start, value.dtype, value.shape, value.strides)
        if key not in self._numbers:
            form = f"{value.dtype} array of shape {value.shape}"
            self._numbers[key] = self._set_aside(
                tensor_bytes.bytes_of_array, value, value.nbytes, path, form
            )
        return {TAG: "array", "i": self._numbers[key], "dtype": dtype, "shape": list(value.shape)}

    def _numpy_scalar(self, value: np.generic, path: Path) -> Any:
        dtype = tensor_bytes.check_array(value, self.spelled(path))
        return {TAG: "number", "dtype": dtype, "hex": value.astype(dtype).tobytes().hex()}

    # Containers.

    def _enter(self, value: Any, path: Path) -> int:
        key = id(value)
        if key in self._active:
            raise NotShippable(
                f"{self.spelled(path)} is {self.spelled(self._active[key])} again: a "
                f"{type(value).__name__} that contains itself cannot travel. Break the circle."
            )
        if len(self._active) >= MOST_DEEP:
            raise NotShippable(
                f"{self.spelled(path)[:200]} is nested more than {MOST_DEEP} levels deep. "
                "Return a flat list with the position of each entry instead."
            )
        if self._most_bytes is not None and self.least_bytes > self._most_bytes:
            raise NotShippable(
                f"{self.spelled(None) or 'The arguments'} would be more than the "
                f"{self._most_bytes:,} bytes that may travel, by its text and numbers alone. Put "
                "numbers into a tensor, or return less."
            )
        self._active[key] = path
        return key

    def _each(self, values: Any, path: Path) -> list[Any]:
        key = self._enter(values, path)
        if is_plain_json(values):
            self.n_parts += len(values)
            nodes = list(values)
        else:
            nodes = [self.node(each, (path, "[", i)) for i, each in enumerate(values)]
        del self._active[key]
        return nodes

    def _tuple(self, value: Any, path: Path) -> Any:
        return {TAG: "tuple", "of": self._each(value, path)}

    def _deque(self, value: deque[Any], path: Path) -> Any:
        return {TAG: "deque", "of": self._each(value, path), "most": value.maxlen}

    def _set(self, value: Any, path: Path) -> Any:
        # Sorted by what they are written as: the order of a set differs between processes.
        nodes = sorted((self.node(each, (path, "", "{…}")) for each in value), key=orjson.dumps)
        return {TAG: type(value).__name__, "of": nodes}

    def _pairs(self, value: Mapping[Any, Any], path: Path) -> list[Any]:
        return [
            [self.node(key, (path, "", f".keys()[{i}]")), self.node(each, (path, "[", key))]
            for i, (key, each) in enumerate(value.items())
        ]

    def _dict(self, value: Mapping[Any, Any], path: Path) -> Any:
        entered = self._enter(value, path)
        tag = _MAPPINGS.get(type(value), "")
        node: Any
        if tag or TAG in value or not all(type(key) is str and is_json_text(key) for key in value):
            node = {TAG: tag or "dict", "of": self._pairs(value, path)}
        else:
            self.n_text += sum(map(len, value))
            node = {key: self.node(each, (path, "[", key)) for key, each in value.items()}
        del self._active[entered]
        return node

    def _mapping(self, value: Mapping[Any, Any], path: Path) -> Any:
        return self._as(dict(value), value, path)

    def _as(self, plain: Any, value: Any, path: Path) -> Any:
        """Pack a plain value in place of another one, and say so."""
        was, came = type(value).__qualname__, type(plain).__name__
        self.remarks.append(f"{self.spelled(path)} was a {was} and came as a {came}")
        return self.node(plain, path)

    def _fields(
        self, value: Any, tag: str, name: str, fields: Mapping[str, Any], path: Path
    ) -> Any:
        key = self._enter(value, path)
        nodes = {field: self.node(each, (path, ".", field)) for field, each in fields.items()}
        del self._active[key]
        return {TAG: tag, "class": name, "of": nodes}

    def _dataclass(self, value: Any, path: Path) -> Any:
        names = [each.name for each in dataclasses.fields(value)]
        return self._fields(value, "data", class_name(type(value)), _values(value, names), path)

    def _output(self, value: Any, path: Path) -> Any:
        # In the order of its mapping, which holds what was added to it and nothing that is None.
        names = dict.fromkeys([*value, *(each.name for each in dataclasses.fields(value))])
        return self._fields(value, "output", class_name(type(value)), _values(value, names), path)

    def _encoding(self, value: Any, path: Path) -> Any:
        if not all(type(name) is str and is_json_text(name) for name in value):
            return self._as(value.data, value, path)
        if getattr(value, "encodings", None):
            self.remarks.append(
                f"{self.spelled(path)} came without what only its tokenizer knows: which token "
                "stands for which characters"
            )
        return self._fields(value, "output", class_name(type(value)), value.data, path)

    def _named_tuple(self, value: Any, path: Path) -> Any:
        names = getattr(value, "_fields", None) or type(value).__match_args__
        fields = dict(zip(names, value, strict=True))
        return self._fields(value, "named", class_name(type(value)), fields, path)

    def _namespace(self, value: SimpleNamespace, path: Path) -> Any:
        return self._fields(value, "namespace", "", vars(value), path)

    def _record(self, value: Record, path: Path) -> Any:
        tag = "output" if isinstance(value, Output) else "data"
        return self._fields(value, tag, class_of(value), vars(value), path)

    # What does not travel.

    def _cache(self, value: Any, path: Path) -> Any:
        if path is None or not self._may_leave_out:
            raise NotShippable(
                f"{self.spelled(path)} is the key and value cache of a model "
                f"({type(value).__qualname__}), which stays where the model is. In a session it "
                "can be kept there; [(layer.keys, layer.values) for layer in cache.layers] travels."
            )
        self.left_out.append(spelled(path, "").removeprefix("."))

    def _unknown(self, value: Any, path: Path) -> Any:
        words = described(value)
        if self._pickled is None:
            hint = advice(value) or (
                "Tensors, arrays, numbers, text, dataclasses and their containers travel."
            )
            raise NotShippable(f"{self.spelled(path)} is {words}, which does not travel. {hint}")
        try:
            data = self._pickled(value)
        except NotShippable as error:
            raise NotShippable(
                f"{self.spelled(path)} is {words}, which cannot even be pickled: {error}"
            ) from error
        i = self._set_aside(bytes, data, len(data), path, "pickle")
        return {TAG: "pickle", "i": i, "type": class_name(type(value))}


def _leaf(write: Callable[[Any], Any]) -> Plan:
    """Return how values without parts are packed."""
    return lambda _packer, value, _path: write(value)


def _flat_bytes(value: bytes | bytearray | memoryview) -> Buffer:
    if isinstance(value, memoryview):
        return value.tobytes()
    return bytes(value) if isinstance(value, bytearray) else value


def _values(value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _is_named_tuple(kind: type) -> bool:
    has_names = hasattr(kind, "_fields") or kind.__module__ == "torch.return_types"
    return issubclass(kind, tuple) and has_names


_MAPPINGS = {OrderedDict: "ordered", Counter: "counter"}

_PLANS: dict[type, Plan] = {
    bytes: Packer._bytes,
    bytearray: Packer._bytes,
    memoryview: Packer._bytes,
    list: Packer._each,
    tuple: Packer._tuple,
    set: Packer._set,
    frozenset: Packer._set,
    deque: Packer._deque,
    dict: Packer._dict,
    OrderedDict: Packer._dict,
    Counter: Packer._dict,
    slice: Packer._slice,
    SimpleNamespace: Packer._namespace,
}

_FAMILIES: tuple[tuple[Callable[[type], bool], Plan], ...] = (
    (is_model_cache, Packer._cache),
    (lambda kind: issubclass(kind, np.ndarray), Packer._array),
    (lambda kind: issubclass(kind, np.generic), Packer._numpy_scalar),
    (lambda kind: issubclass(kind, enum.Enum), Packer._enum),
    (lambda kind: issubclass(kind, Record), Packer._record),
    (is_model_output, Packer._output),
    (dataclasses.is_dataclass, Packer._dataclass),
    (_is_named_tuple, Packer._named_tuple),
    (lambda kind: issubclass(kind, pathlib.PurePath), _leaf(path_leaf)),
    (
        lambda kind: issubclass(kind, str | int | float | list | tuple | set | frozenset | dict),
        Packer._subclass,
    ),
    (is_encoding, Packer._encoding),
    (lambda kind: issubclass(kind, Mapping), Packer._mapping),
)
"""Asked in this order, for types that are not in the table."""
