"""Arguments and results on their way: a JSON tree and the bytes of the tensors, and back.

Travels: text, numbers of every kind (non-finite ones too), bytes, dates, paths, enumerations,
lists, tuples, sets, dictionaries with any keys, dataclasses, named tuples, model outputs (their
caches left out by name), what tokenizers answer with, numpy arrays, and torch tensors of every
strided dtype; a tensor that appears twice travels once. Gradients stay behind: a tensor comes as
its values. Anything else is an error that names the path inside the value. There is no pickle here;
what was pickled on request is bytes to this module.
"""

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from glassbox.errors import CorruptArtifact, NotShippable
from glassbox.techniques.calls import Packed
from glassbox.techniques.packed.framing import frame, framed_bytes, unframe
from glassbox.techniques.packed.leaves import RemoteValue
from glassbox.techniques.packed.pack import Packer
from glassbox.techniques.packed.record import Record
from glassbox.techniques.packed.unpack import Unpacker

__all__ = [
    "Opened",
    "Record",
    "RemoteValue",
    "frame",
    "framed_bytes",
    "left_out",
    "opened",
    "owned",
    "pack",
    "pack_arguments",
    "remarks",
    "unframe",
    "unpack",
]

log = logging.getLogger(__name__)

VERSION = 1
"""Of the tree; another one is refused."""

_DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What a tree that was tampered with raises while it is read."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A value that was put together again."""

    value: Any
    """The value."""
    remarks: tuple[str, ...]
    """What is not as it was, such as a tensor that came to the CPU."""


def pack(
    value: Any,
    *,
    allow_pickle: bool = False,
    max_bytes: int | None = None,
    root: str = "result",
    may_leave_out: bool = True,
) -> Packed:
    """Return a value taken apart; its tensors' bytes are views of their memory where possible.

    Those views see later changes of the tensors: write them, or take ``owned``, before anything
    else runs.

    Args:
        value: What is to travel.
        allow_pickle: Pickle what has no other form.
        max_bytes: Most bytes of tree and tensors; checked before anything is copied.
        root: What messages call it.
        may_leave_out: Leave a model's caches out by name instead of refusing them.

    Raises:
        NotShippable: A part cannot travel, or all of it is too large; the message names the part.
    """
    packer = Packer(
        root,
        _pickled if allow_pickle else None,
        may_leave_out=may_leave_out,
        most_bytes=max_bytes,
    )
    return _sealed(packer, packer.node(value, None), max_bytes)


def pack_arguments(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]] | None = None,
    *,
    allow_pickle: bool = False,
    max_bytes: int | None = None,
) -> Packed:
    """Return the packed arguments of a call, ``[args, kwargs]`` or ``[args, kwargs, inputs]``.

    Args:
        args: After model and tokenizer, in order.
        kwargs: By name.
        inputs: Of a map: one mapping for each call.
        allow_pickle: Pickle what has no other form.
        max_bytes: Most bytes altogether.

    Raises:
        NotShippable: An argument cannot travel; the message names it and the part of it.
    """
    packer = Packer(
        "", _pickled if allow_pickle else None, may_leave_out=False, most_bytes=max_bytes
    )
    tree: list[Any] = [
        [packer.node(each, (None, "", f"argument {i + 1}")) for i, each in enumerate(args)],
        {name: packer.node(each, (None, "", f"argument {name}")) for name, each in kwargs.items()},
    ]
    if inputs is not None:
        tree.append(
            [
                {
                    name: packer.node(value, (None, "", f"input {i}, argument {name}"))
                    for name, value in each.items()
                }
                for i, each in enumerate(inputs)
            ]
        )
    return _sealed(packer, tree, max_bytes)


def unpack(
    packed: Packed,
    *,
    as_numpy: bool = False,
    allow_pickle: bool = False,
    resolve: Callable[[RemoteValue], Any] | None = None,
    classes: Mapping[str, type] | None = None,
) -> Any:
    """Return the value that was packed; see ``opened``. What is not as it was is logged."""
    found = opened(
        packed, as_numpy=as_numpy, allow_pickle=allow_pickle, resolve=resolve, classes=classes
    )
    for remark in found.remarks:
        log.info("%s", remark)
    return found.value


def opened(
    packed: Packed,
    *,
    as_numpy: bool = False,
    allow_pickle: bool = False,
    resolve: Callable[[RemoteValue], Any] | None = None,
    classes: Mapping[str, type] | None = None,
) -> Opened:
    """Return the value that was packed, and what is not as it was.

    Tensors over writable buffers are made of that very memory; read-only buffers are copied, so
    that nobody writes into what belongs to somebody else.

    Args:
        packed: The value.
        as_numpy: Numpy arrays instead of tensors; always so where torch is absent.
        allow_pickle: Open what was pickled: this runs code that the other side chose.
        resolve: Gives what a reference stands for; None leaves references as they are.
        classes: Classes that are looked at first, by ``module:qualname``.

    Raises:
        NotShippable: A part was pickled, and that was not asked for.
        CorruptArtifact: It is damaged or of another version.
    """
    head = _head(packed)
    unpacker = Unpacker(
        packed,
        None if as_numpy or not _mentions_torch(packed.tree) else _torch(),
        _unpickled if allow_pickle else None,
        resolve,
        classes,
    )
    try:
        value = unpacker.value(head["value"])
    except _DAMAGE as error:
        raise CorruptArtifact(
            "packed value", f"its tree is damaged ({type(error).__name__}: {error})"
        ) from error
    return Opened(value, (*map(str, head.get("remarks", ())), *unpacker.remarks))


def left_out(packed: Packed) -> tuple[str, ...]:
    """Return the names of the parts that were left out, such as ``past_key_values``."""
    return tuple(map(str, _head(packed).get("left_out", ()))) if _has_notes(packed) else ()


def remarks(packed: Packed) -> tuple[str, ...]:
    """Return what was not packed as it was, in plain words."""
    return tuple(map(str, _head(packed).get("remarks", ()))) if _has_notes(packed) else ()


def owned(packed: Packed) -> Packed:
    """Return the same value with bytes of its own, which later changes of tensors do not touch.

    Nobody else holds them, so the first to unpack it gets tensors over this very memory; unpack it
    once only.
    """
    return Packed(packed.tree, tuple(map(bytearray, packed.buffers)))


_NO_NOTES = b'{"glassbox":%d,"value":' % VERSION


def _has_notes(packed: Packed) -> bool:
    return not packed.tree.startswith(_NO_NOTES)


def _sealed(packer: Packer, tree: Any, max_bytes: int | None) -> Packed:
    n_arrays = sum(n_bytes for n_bytes, _, _ in packer.sizes)
    # Before the tree is written, which takes long for what is too large.
    _check_size(packer, n_arrays + packer.least_bytes, max_bytes, "at least ")
    head: dict[str, Any] = {"glassbox": VERSION}
    if packer.left_out or packer.remarks:
        head |= {"left_out": packer.left_out, "remarks": packer.remarks}
    written = orjson.dumps(head | {"value": tree})
    _check_size(packer, n_arrays + len(written), max_bytes, "")
    return Packed(written, packer.buffers())


def _check_size(packer: Packer, n_bytes: int, limit: int | None, about: str) -> None:
    if limit is None or n_bytes <= limit:
        return
    largest = max(packer.sizes, key=lambda each: each[0], default=(0, None, ""))
    part = ""
    if largest[0] > n_bytes // 2 and (len(packer.sizes) > 1 or largest[1] is not None):
        part = f", of which {packer.spelled(largest[1])} ({largest[2]}) has {_size(largest[0])}"
    size, most = _size(n_bytes), _size(limit)
    if size == most:
        size, most = f"{n_bytes:,} bytes", f"{limit:,}"
    raise NotShippable(
        f"The {packer.spelled(None) or 'arguments'} would be {about}{size}{part}; "
        f"at most {most} may travel. Reduce it beside the model (a slice, a mean, half "
        "precision), keep it there in a session, or allow more."
    )


def _size(n_bytes: int) -> str:
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= step:
            return f"{n_bytes / step:.1f} {unit}"
    return f"{n_bytes} bytes"


def _head(packed: Packed) -> dict[str, Any]:
    try:
        head = orjson.loads(packed.tree)
    except orjson.JSONDecodeError as error:
        raise CorruptArtifact("packed value", f"its tree is not JSON ({error})") from error
    if not isinstance(head, dict) or head.get("glassbox") != VERSION or "value" not in head:
        raise CorruptArtifact("packed value", f"its tree is not one of version {VERSION}")
    return head


def _mentions_torch(tree: bytes) -> bool:
    return b'"!":"tensor"' in tree or b'"!":"torch.' in tree


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


def _pickled(value: Any) -> bytes:
    from glassbox.techniques import transport

    return transport.pickled(value)


def _unpickled(data: bytes) -> Any:
    from glassbox.techniques import transport

    return transport.unpickled(data)
