"""What a shipment calls, by name, to become a function again; kept stable between versions.

Functions of one module share one dictionary of globals, as they did at home. Where their code
imports local modules while it runs, they get an import of their own that knows those that came
along; nothing is put among the modules of the process.
"""

import builtins
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassbox.techniques import values
from glassbox.techniques.shipping.shipped_code import code_from as code_from


def make_module(name: str) -> types.ModuleType:
    """Return an empty module for what came of a local one."""
    return types.ModuleType(name)


def fill_module(module: types.ModuleType, state: Mapping[str, Any]) -> None:
    """Put the parts that travelled into a module.

    Args:
        module: From ``make_module``.
        state: ``names``: its parts; ``imports``: modules its code imports while it runs.
    """
    vars(module).update(state.get("names", {}))
    imports: dict[str, types.ModuleType] = state.get("imports", {})
    if imports:
        own = vars(module)["__builtins__"]
        own["__import__"].keywords["came_along"].update(imports)


def make_importing_module(name: str) -> types.ModuleType:
    """Return an empty module with an import of its own, for code that imports while it runs."""
    module = types.ModuleType(name)
    vars(module)["__builtins__"] = {
        **vars(builtins),
        "__import__": functools.partial(_import, came_along={}),
    }
    return module


def make_function(
    code: bytes, module: types.ModuleType, name: str, cells: Sequence[types.CellType]
) -> types.FunctionType:
    """Return a function without what it captures."""
    space = vars(module)
    space.setdefault("__builtins__", builtins)
    return types.FunctionType(code_from(code), space, name, None, tuple(cells) or None)


def fill_function(function: types.FunctionType, state: Mapping[str, Any]) -> None:
    """Give a function what it captures; it may capture itself."""
    function.__globals__.update(state["globals"])
    for cell, content in state["cells"]:
        cell.cell_contents = content
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["kwdefaults"]
    function.__annotations__ = state["annotations"]
    function.__doc__ = state["doc"]
    function.__module__ = state["module"]
    function.__qualname__ = state["qualname"]
    function.__dict__.update(state["attributes"])


def make_cell() -> types.CellType:
    """Return a captured variable that is not bound yet."""
    return types.CellType()


def make_field() -> dataclasses.Field[Any]:
    """Return a dataclass's field without its settings."""
    made: dataclasses.Field[Any] = object.__new__(dataclasses.Field)
    return made


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """Return a function that remembers its answers, with nothing remembered yet."""
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)


def open_value(data: bytes) -> Any:
    """Return a captured tensor or array."""
    return values.unpack(values.unframe(data))


def _import(
    name: str,
    space: Mapping[str, Any] | None = None,
    local: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
    *,
    came_along: Mapping[str, types.ModuleType],
) -> types.ModuleType:
    """Return what ``import`` would, from the modules that came along first."""
    full = name
    if level:
        package = str((space or {}).get("__package__") or "").split(".")
        full = ".".join([*package[: len(package) - level + 1], *([name] if name else [])])
    if full in came_along:
        if fromlist or "." not in full or level:
            return came_along[full]
        return _nested(full, came_along[full])
    return builtins.__import__(name, space, local, fromlist or (), level)


def _nested(full: str, module: types.ModuleType) -> types.ModuleType:
    """Return the first of ``package.module``, holding the others."""
    inner = module
    for name in reversed(full.split(".")[:-1]):
        outer = types.ModuleType(name)
        setattr(outer, inner.__name__.rpartition(".")[2], inner)
        inner = outer
    return inner
