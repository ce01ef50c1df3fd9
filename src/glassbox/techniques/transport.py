"""Ships a function: by value, with the local modules it uses; the only file that knows cloudpickle.

The payload is the same bytes in every process for the same source, so its digest names the
function. Model and tokenizer never travel: whoever runs the function has them. What is received is
code, and receiving it runs code: whoever calls ``receive`` trusts the sender.
"""

import dataclasses
import hashlib
import inspect
import io
import pickle  # noqa: TID251
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any, TypeVar

import cloudpickle  # noqa: TID251
import orjson
from cloudpickle import cloudpickle as by_value  # noqa: TID251

from glassbox.errors import CorruptArtifact, NotShippable, VersionMismatch
from glassbox.techniques import values
from glassbox.techniques.calls import Shipment
from glassbox.techniques.packed.named_classes import home_name
from glassbox.techniques.shipping import rebuilding
from glassbox.techniques.shipping.code_reading import as_text, global_names, is_constant, text_of
from glassbox.techniques.shipping.locality import can_import, is_local, travels
from glassbox.techniques.shipping.shipped_code import (
    code_bytes,
    file_name,
    register_source,
    source_of,
)
from glassbox.techniques.shipping.survey import Survey, require_function, survey

MAGIC = b"GBXSHIP1"
"""First bytes of a payload; the number is the version of its layout."""

_PROTOCOL = 5
_ANY_PICKLING_ERROR = (
    pickle.PicklingError,
    TypeError,
    AttributeError,
    ValueError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
)
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    MemoryError,
    RecursionError,
)
_UNSTABLE = (
    "__firstlineno__",
    "__static_attributes__",
    "__annotate_func__",
    "__annotations_cache__",
)
"""Parts of a class that say where it stood or come in no order."""


def ship(function: Callable[..., Any]) -> Shipment:
    """Return a function ready to travel.

    Its digest depends on its source, on what it captures and on the Python version; not on the
    file it stands in, on the process, or on how often it was defined.

    Args:
        function: A function, a ``partial`` of one, or a method of an object that can travel.

    Raises:
        NotShippable: It is a generator or coroutine function, or it captures what cannot travel.
    """
    inner = require_function(function)
    found = survey(function)
    shipper = _Shipper(found)
    try:
        code = shipper.dumped(function)
    except _ANY_PICKLING_ERROR as error:
        raise NotShippable(_blame(shipper, error)) from error
    name = str(getattr(inner, "__qualname__", type(function).__qualname__))
    modules = tuple(sorted({*found.modules, *found.homes}))
    imports = tuple(sorted(found.imports))
    head = orjson.dumps(
        {
            "python": list(sys.version_info[:2]),
            "name": name,
            "modules": list(modules),
            "imports": list(imports),
            "sources": dict(sorted(shipper.sources.items())),
        }
    )
    payload = MAGIC + len(head).to_bytes(8, "little") + head + code
    written = inspect.unwrap(inner)
    source = source_of(written)[0] if isinstance(written, types.FunctionType) else ""
    return Shipment(
        name=name,
        digest=hashlib.sha256(payload).hexdigest(),
        payload=payload,
        source=textwrap.dedent(source),
        modules=modules,
        imports=imports,
    )


def receive(shipment: Shipment) -> Callable[..., Any]:
    """Return the function of a shipment. This runs code that the sender chose.

    Tracebacks through it show its own source lines from now on.

    Raises:
        CorruptArtifact: The payload is not what its digest says; nothing was opened.
        VersionMismatch: It was made under another version of Python.
        NotShippable: It needs modules that are not installed here; all of them are named.
    """
    if hashlib.sha256(shipment.payload).hexdigest() != shipment.digest:
        raise CorruptArtifact(
            f"technique {shipment.name}", f"its payload does not have digest {shipment.digest[:12]}"
        )
    head, code = _opened(shipment)
    theirs, ours = tuple(head["python"]), sys.version_info[:2]
    if theirs != ours:
        raise VersionMismatch(
            f"{shipment.name} was shipped from Python {'.'.join(map(str, theirs))}; here is "
            f"{'.'.join(map(str, ours))}. Code travels as bytecode, which each minor version has "
            "its own form of: use the same one on both sides."
        )
    missing = [name for name in head["imports"] if not can_import(name)]
    if missing:
        raise NotShippable(
            f"{shipment.name} needs modules that the other side does not have: "
            f"{', '.join(missing)}. Have them installed there, or do without."
        )
    for file, source in head["sources"].items():
        register_source(file, source)
    try:
        function = pickle.loads(code)
    except (ImportError, AttributeError) as error:
        raise NotShippable(
            f"{shipment.name} names something that the other side does not have: {error}. "
            "Its libraries are probably of another version."
        ) from error
    except _DAMAGE as error:
        raise CorruptArtifact(
            f"technique {shipment.name}", f"it does not open ({error})"
        ) from error
    if not callable(function):
        raise CorruptArtifact(f"technique {shipment.name}", "what came is not a function")
    return function  # type: ignore[no-any-return]


def pickled(value: Any) -> bytes:
    """Return a value pickled, for sides that trust each other.

    Raises:
        NotShippable: It cannot be pickled.
    """
    try:
        return cloudpickle.dumps(value, protocol=_PROTOCOL)  # type: ignore[no-any-return]
    except _ANY_PICKLING_ERROR as error:
        raise NotShippable(f"{type(value).__qualname__} cannot be pickled: {error}") from error


def unpickled(data: bytes) -> Any:
    """Return the value of a pickle. This runs code that whoever made it chose.

    Raises:
        CorruptArtifact: It does not open.
        NotShippable: It names what is not installed here.
    """
    try:
        return pickle.loads(data)
    except (ImportError, AttributeError) as error:
        raise NotShippable(f"A pickled value names what is not here: {error}") from error
    except _DAMAGE as error:
        raise CorruptArtifact("pickled value", f"it does not open ({error})") from error


def _opened(shipment: Shipment) -> tuple[dict[str, Any], memoryview]:
    payload, what = shipment.payload, f"technique {shipment.name}"
    start = len(MAGIC) + 8
    if payload[: len(MAGIC)] != MAGIC:
        raise CorruptArtifact(what, f"its payload does not begin with {MAGIC!r}")
    end = start + int.from_bytes(payload[len(MAGIC) : start], "little")
    try:
        head = orjson.loads(payload[start:end])
        if {"python", "imports", "sources"} <= set(head):
            return head, memoryview(payload)[end:]
    except (orjson.JSONDecodeError, TypeError):
        pass
    raise CorruptArtifact(what, "its header cannot be read")


def _blame(shipper: "_Shipper", error: BaseException) -> str:
    """Return which captured variable the pickler could not write, and why."""
    chain = {id(each) for each in shipper.chain}
    names = [what for what, value in shipper.found.captured if id(value) in chain]
    where = names[-1] if names else "a part of the function"
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return f"{where} is nested too deeply to travel. Make it flat, or build it inside."
    return f"{where} cannot travel: {error}. Make it inside the technique, or pass plain values."


class _Shipper(pickle._Pickler):
    """Writes functions by value so that the bytes depend on nothing but them.

    The pickler in Python, because the one in C decides by identity what it writes once: equal texts
    and constants are shared or not by accident of how the code was loaded.
    """

    dispatch_table = cloudpickle.Pickler.dispatch_table

    def __init__(self, found: Survey) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=_PROTOCOL)
        self.found = found
        self.sources: dict[str, str] = {}
        self.chain: list[Any] = []
        self._modules: dict[int, types.ModuleType] = {}
        self._filled: dict[int, Any] = {}

    def dumped(self, function: Any) -> bytes:
        """Return a function as bytes."""
        self.dump(function)
        return self._file.getvalue()

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write an object; the chain of those being written tells who is to blame for an error."""
        self.chain.append(obj)
        super().save(obj, save_persistent_id)  # type: ignore[misc]
        self.chain.pop()

    def memoize(self, obj: Any) -> None:
        """Remember an object as written, unless it is a constant, whose identity is an accident."""
        if not is_constant(obj):
            super().memoize(obj)  # type: ignore[misc]

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is made again; NotImplemented leaves that to pickle."""
        kind = type(obj)
        reduce = _REDUCERS.get(kind)
        if reduce is not None:
            return reduce(self, obj)
        if isinstance(obj, type):
            return self._class(obj)
        sentinel = _SENTINELS.get(id(obj))
        if sentinel is not None:
            return getattr, (dataclasses, sentinel)
        if hasattr(obj, "cache_parameters") and hasattr(obj, "__wrapped__"):
            settings = obj.cache_parameters()
            return rebuilding.make_cached, (obj.__wrapped__, settings["maxsize"], settings["typed"])
        if hasattr(obj, "nbytes") and kind.__module__.partition(".")[0] in ("torch", "numpy"):
            packed = values.pack(obj, root="a captured value")
            return rebuilding.open_value, (b"".join(bytes(x) for x in values.frame(packed)),)
        return NotImplemented

    def _function(self, function: types.FunctionType) -> Any:
        if not travels(function):
            return NotImplemented
        source, first = source_of(function)
        if not source:
            first = function.__code__.co_firstlineno
        file = file_name(function, source)
        if source:
            self.sources[file] = source
        cells = function.__closure__ or ()
        new = [cell for cell in cells if id(cell) not in self._filled]
        self._filled.update((id(cell), cell) for cell in new)
        space = function.__globals__
        names = global_names(function.__code__)
        state = {
            "globals": {name: space[name] for name in names if name in space},
            "cells": [(cell, cell.cell_contents) for cell in new if _is_bound(cell)],
            "defaults": function.__defaults__,
            "kwdefaults": function.__kwdefaults__,
            "annotations": as_text(function.__annotations__),
            "doc": function.__doc__,
            "module": home_name(function.__module__ or ""),
            "qualname": function.__qualname__,
            "attributes": dict(function.__dict__),
            # Importing them is all that is wanted of them.
            "reached": [
                sys.modules[name] for name in sorted(self.found.reached.get(id(function), ()))
            ],
        }
        code = code_bytes(function.__code__, file, first)
        made = (code, self._home(space), function.__name__, list(cells))
        return rebuilding.make_function, made, state, None, None, rebuilding.fill_function

    def _home(self, space: dict[str, Any]) -> types.ModuleType:
        """Return the module whose dictionary the functions of one home share from now on."""
        if id(space) not in self._modules:
            name = str(space.get("__name__", "__main__"))
            known = (*self.found.modules.values(), sys.modules.get(name))
            homes = [each for each in known if each is not None and vars(each) is space]
            is_here = bool(homes) and is_local(homes[0])
            self._modules[id(space)] = homes[0] if is_here else types.ModuleType(name)
        return self._modules[id(space)]

    def _module(self, module: types.ModuleType) -> Any:
        space = next((key for key, each in self._modules.items() if each is module), None)
        if space is None and not is_local(module):
            return by_value.subimport, (module.__name__,)
        used = sorted(self.found.uses.get(id(module), ()))
        state: dict[str, Any] = {
            "names": {name: vars(module)[name] for name in used if name in vars(module)}
        }
        make = rebuilding.make_module
        inner = self.found.inner_modules.get(space or id(vars(module)))
        if inner:
            make = rebuilding.make_importing_module
            state["imports"] = dict(sorted(inner.items()))
        return make, (home_name(module.__name__),), state, None, None, rebuilding.fill_module

    def _cell(self, cell: types.CellType) -> Any:  # noqa: ARG002
        # Its content is part of the state of the first function that captures it.
        return rebuilding.make_cell, ()

    def _code(self, code: types.CodeType) -> Any:
        return rebuilding.code_from, (code_bytes(code, f"<technique {code.co_qualname}>", 1),)

    def _set(self, members: Any) -> Any:
        return type(members), (sorted(members, key=_sort_key),)

    def _field(self, field: dataclasses.Field[Any]) -> Any:
        slots = {
            name: getattr(field, name) for name in dataclasses.Field.__slots__ if name != "type"
        }
        return rebuilding.make_field, (), (None, {**slots, "type": text_of(field.type)})

    def _type_variable(self, variable: TypeVar) -> Any:
        parts = by_value._decompose_typevar(variable)
        return by_value._make_typevar, (*parts[:-1], None)

    def _class(self, kind: type) -> Any:
        if not travels(kind):
            return by_value._class_reduce(kind)
        make, args, (names, slots), *rest = by_value._dynamic_class_reduce(kind)
        home = home_name(kind.__module__)
        # The one before last is a random number by which cloudpickle finds a class again.
        args = [*args[:-2], None, None]
        args = [{**arg, "__module__": home} if isinstance(arg, dict) and "__module__" in arg
                else arg for arg in args]  # fmt: skip
        if make is by_value._make_skeleton_enum:
            args[4] = home
        names = {name: value for name, value in names.items() if name not in _UNSTABLE}
        names["__module__"] = home
        if "__annotations__" in names:
            names["__annotations__"] = as_text(names["__annotations__"])
        return (make, tuple(args), (names, slots), *rest)


_SENTINELS = {
    id(getattr(dataclasses, name)): name for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
}

_REDUCERS: dict[type, Callable[[_Shipper, Any], Any]] = {
    types.FunctionType: _Shipper._function,
    types.ModuleType: _Shipper._module,
    types.CellType: _Shipper._cell,
    types.CodeType: _Shipper._code,
    set: _Shipper._set,
    frozenset: _Shipper._set,
    dataclasses.Field: _Shipper._field,
    TypeVar: _Shipper._type_variable,
}


def _is_bound(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell.cell_contents
    except ValueError:
        return False


def _sort_key(member: Any) -> bytes:
    try:
        return values.pack(member).tree
    except NotShippable:
        return repr(member).encode()
