"""Puts a packed value together again, without running any code that the other side chose.

A dataclass becomes the same class where that is imported here and has the same fields, and is then
filled without calling it; else a ``Record``, and a model's output an ``Output``. What was pickled
stays closed unless it is asked for.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from glassbox.errors import CorruptArtifact, NotShippable
from glassbox.techniques.calls import Buffer, Packed
from glassbox.techniques.packed import tensor_bytes
from glassbox.techniques.packed.leaves import READERS, TAG, RemoteValue, enum_member
from glassbox.techniques.packed.live_things import is_encoding, is_model_output
from glassbox.techniques.packed.named_classes import find_class
from glassbox.techniques.packed.record import Output, Record

_OPEN = (dict, list)

_TORCH_ERRORS = (RuntimeError, AssertionError, NotImplementedError)
"""What torch raises for a device that is not there."""


class Unpacker:
    """Puts one value together.

    Args:
        packed: Its tensors' bytes.
        torch: The library; None makes numpy arrays.
        unpickled: Opens what was pickled; None refuses it.
        resolve: Gives the value that a reference stands for; None leaves references as they are.
        classes: Classes that are looked at first, by ``module:qualname``.
    """

    def __init__(
        self,
        packed: Packed,
        torch: Any,
        unpickled: Callable[[bytes], Any] | None,
        resolve: Callable[[RemoteValue], Any] | None,
        classes: Mapping[str, type] | None,
    ) -> None:
        self._buffers: dict[int, Buffer] = {}
        self._packed = packed
        self._torch = torch
        self._unpickled = unpickled
        self._resolve = resolve
        self._classes = classes
        self._arrays: dict[tuple[Any, ...], Any] = {}
        self.remarks: list[str] = []

    def value(self, node: Any) -> Any:
        """Return the value that a node of the JSON tree stands for.

        Raises:
            NotShippable: It was pickled, and that was not asked for.
            CorruptArtifact: It names what does not exist.
        """
        if type(node) is list:
            return self._each(node)
        if type(node) is not dict:
            return node
        tag = node.get(TAG)
        if tag is None:
            return {
                key: self.value(each) if type(each) in _OPEN else each for key, each in node.items()
            }
        read = READERS.get(tag)
        if read is not None:
            found = read(node["of"])
            if tag == "remote" and self._resolve is not None:
                return self._resolve(found)
            return found
        plan = _PLANS.get(tag)
        if plan is None:
            raise CorruptArtifact("packed value", f"it holds a {tag!r}, which nothing here reads")
        return plan(self, node)

    def _each(self, nodes: list[Any]) -> list[Any]:
        return [self.value(each) if type(each) in _OPEN else each for each in nodes]

    def _of(self, node: Any) -> list[Any]:
        return self._each(node["of"])

    def _pairs(self, node: Any) -> list[tuple[Any, Any]]:
        return [(self.value(key), self.value(each)) for key, each in node["of"]]

    def _fields(self, node: Any) -> dict[str, Any]:
        return {str(name): self.value(each) for name, each in node["of"].items()}

    def _buffer(self, i: int) -> Buffer:
        if not 0 <= i < len(self._packed.buffers):
            raise CorruptArtifact("packed value", f"it has no buffer {i}")
        return self._packed.buffers[i]

    # Arrays.

    def _tensor(self, node: Any) -> Any:
        i, dtype, shape = int(node["i"]), str(node["dtype"]), tuple(map(int, node["shape"]))
        device = str(node.get("device", "cpu"))
        key = (i, dtype, shape, device)
        if key not in self._arrays:
            buffer = self._sized(i, shape, tensor_bytes.item_bytes(dtype))
            self._arrays[key] = self._made(buffer, dtype, shape, device)
        return self._arrays[key]

    def _made(self, buffer: Buffer, dtype: str, shape: tuple[int, ...], device: str) -> Any:
        if self._torch is None:
            if dtype in tensor_bytes.WIDENED:
                self._remark(f"{dtype} became float32, because numpy has no {dtype}")
            return tensor_bytes.array_from(buffer, dtype, shape)
        tensor = tensor_bytes.tensor_from(buffer, dtype, shape)
        if device == "cpu":
            return tensor
        try:
            return tensor.to(device)
        except _TORCH_ERRORS as error:
            why = str(error).partition("\n")[0]
            self._remark(f"a tensor of device {device} came to the CPU: {why}")
            return tensor

    def _array(self, node: Any) -> Any:
        i, dtype, shape = int(node["i"]), str(node["dtype"]), tuple(map(int, node["shape"]))
        key = (i, dtype, shape)
        if key not in self._arrays:
            kind = tensor_bytes.plain_dtype(dtype)
            buffer = self._sized(i, shape, kind.itemsize)
            self._arrays[key] = tensor_bytes.array_from(buffer, dtype, shape)
        return self._arrays[key]

    def _sized(self, i: int, shape: tuple[int, ...], n_bytes: int) -> Buffer:
        buffer = self._buffer(i)
        if min(shape, default=0) < 0 or math.prod(shape) * n_bytes != len(buffer):
            raise CorruptArtifact(
                "packed value", f"buffer {i} has {len(buffer)} bytes, which is not shape {shape}"
            )
        return buffer

    def _number(self, node: Any) -> Any:
        kind = tensor_bytes.plain_dtype(str(node["dtype"]))
        if kind.itemsize == 0:  # A text without any characters.
            return kind.type()
        return tensor_bytes.array_from(bytes.fromhex(node["hex"]), kind.str, ())[()]

    def _torch_dtype(self, node: Any) -> Any:
        name = str(node["of"])
        if self._torch is None or name not in tensor_bytes.TORCH_DTYPES:
            return name
        return getattr(self._torch, name)

    def _torch_device(self, node: Any) -> Any:
        return str(node["of"]) if self._torch is None else self._torch.device(str(node["of"]))

    def _torch_size(self, node: Any) -> Any:
        sizes = tuple(map(int, node["of"]))
        return sizes if self._torch is None else self._torch.Size(sizes)

    # Objects.

    def _found(self, node: Any) -> type | None:
        return find_class(str(node["class"]), self._classes)

    def _data(self, node: Any) -> Any:
        kind, fields = self._found(node), self._fields(node)
        if kind is None or not dataclasses.is_dataclass(kind):
            return Record.of(node["class"], fields)
        known = [each.name for each in dataclasses.fields(kind)]
        if set(known) != set(fields):
            return Record.of(node["class"], fields)
        # Filled, not called: all its fields came, and no code of the class needs to run.
        made = object.__new__(kind)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made

    def _output(self, node: Any) -> Any:
        kind, fields = self._found(node), self._fields(node)
        if kind is not None and is_encoding(kind):
            return kind(fields)
        if kind is None or not is_model_output(kind) or not issubclass(kind, dict):
            return Output.of(node["class"], fields)
        # What its own constructor would do, without the guesses that it makes.
        made = kind.__new__(kind)
        for name, value in fields.items():
            if value is None:
                object.__setattr__(made, name, None)
            else:
                made[name] = value
        return made

    def _named(self, node: Any) -> Any:
        kind, fields = self._found(node), self._fields(node)
        if kind is not None and issubclass(kind, tuple):
            if getattr(kind, "_fields", None) == tuple(fields):
                return tuple.__new__(kind, fields.values())
            if kind.__module__ == "torch.return_types":
                return kind(tuple(fields.values()))
        return _named_tuple(node["class"], tuple(fields))(*fields.values())

    def _enum(self, node: Any) -> Any:
        value = self.value(node["of"])
        member = enum_member(self._found(node), node["name"], value)
        if member is not None:
            return member
        return Record.of(node["class"], {"name": node["name"], "value": value})

    def _pickle(self, node: Any) -> Any:
        if self._unpickled is None:
            raise NotShippable(
                f"A part of it is a {node['type']}, which came pickled. Opening that can run any "
                "code that the other side chose; pass allow_pickle=True if you trust it so far."
            )
        return self._unpickled(bytes(self._buffer(int(node["i"]))))

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)


@lru_cache(maxsize=256)
def _named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    # ``namedtuple`` refuses names that are not plain identifiers.
    return collections.namedtuple(name.rpartition(":")[2].rpartition(".")[2], fields)


_PLANS: dict[str, Callable[[Unpacker, Any], Any]] = {
    "tuple": lambda self, node: tuple(self._of(node)),
    "set": lambda self, node: set(self._of(node)),
    "frozenset": lambda self, node: frozenset(self._of(node)),
    "deque": lambda self, node: collections.deque(self._of(node), node["most"]),
    "slice": lambda self, node: slice(*self._of(node)),
    "dict": lambda self, node: dict(self._pairs(node)),
    "ordered": lambda self, node: collections.OrderedDict(self._pairs(node)),
    "counter": lambda self, node: collections.Counter(dict(self._pairs(node))),
    "ellipsis": lambda _, __: ...,
    "bytes": lambda self, node: bytes(self._buffer(int(node["i"]))),
    "bytearray": lambda self, node: bytearray(self._buffer(int(node["i"]))),
    "tensor": Unpacker._tensor,
    "array": Unpacker._array,
    "number": Unpacker._number,
    "torch.dtype": Unpacker._torch_dtype,
    "torch.device": Unpacker._torch_device,
    "torch.Size": Unpacker._torch_size,
    "data": Unpacker._data,
    "output": Unpacker._output,
    "named": Unpacker._named,
    "namespace": lambda self, node: SimpleNamespace(**self._fields(node)),
    "enum": Unpacker._enum,
    "pickle": Unpacker._pickle,
}
