"""Reads a function's code without running it: what it captures, imports, hands on and changes."""

import dis
import importlib.util
import inspect
import io
import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_LOADS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"))
_CHANGERS = frozenset(
    ("append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove")
)


def lines_of(source: str) -> list[str]:
    """Return the lines of source as Python counts them, with their ends.

    A form feed or a line separator of Unicode ends a line for ``str.splitlines`` and for no parser.
    """
    return list(io.StringIO(source, newline=""))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and everything that is nested in it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from codes(each)


@lru_cache(maxsize=1024)
def _steps(code: types.CodeType) -> tuple[dis.Instruction, ...]:
    return tuple(dis.get_instructions(code))


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Return the global names that code reads or writes, in order of appearance."""
    return tuple(
        dict.fromkeys(
            str(step.argval)
            for each in codes(code)
            for step in _steps(each)
            if step.opname in _GLOBALS
        )
    )


def captures(function: types.FunctionType) -> Iterator[tuple[str, str, Any]]:
    """Yield name, kind and value of everything that a function captures."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, "captured variable", cell.cell_contents
        except ValueError:  # It is not bound yet.
            continue
    for name in global_names(function.__code__):
        if name in function.__globals__:
            yield name, "global variable", function.__globals__[name]
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from (
        (name, "default of parameter", value)
        for name, value in zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    )
    for name, value in (function.__kwdefaults__ or {}).items():
        yield name, "default of parameter", value


def attribute_chains(code: types.CodeType, variable: str) -> list[tuple[str, ...]]:
    """Return for each time a variable is read the attributes that are read of it at once.

    ``package.module.f(x)`` gives ``("module", "f")``; a variable that is handed on gives ``()``.
    """
    chains = []
    for each in codes(code):
        steps = _steps(each)
        for i, step in enumerate(steps):
            if step.opname in _LOADS and step.argval == variable:
                chain = []
                while i + 1 < len(steps) and steps[i + 1].opname in _ATTRIBUTES:
                    i += 1
                    chain.append(str(steps[i].argval))
                chains.append(tuple(chain))
    return chains


def submodules(function: types.FunctionType, variable: str, package: str) -> tuple[str, ...]:
    """Return the modules of an installed package that a function reaches through its name.

    ``import scipy.special`` binds ``scipy`` only; the code then reads ``scipy.special``.
    """
    found = set()
    for chain in attribute_chains(function.__code__, variable):
        name = package
        for part in chain:
            name = f"{name}.{part}"
            if name not in sys.modules:
                break
            found.add(name)
    return tuple(sorted(found))


def mentioned(code: types.CodeType) -> set[str]:
    """Return every name and every text constant in code: what might be an attribute's name."""
    found: set[str] = set()
    for each in codes(code):
        found.update(each.co_names)
        for constant in each.co_consts:
            parts = constant if isinstance(constant, tuple) else (constant,)
            found.update(part for part in parts if isinstance(part, str))
    return found


def inner_imports(function: types.FunctionType) -> tuple[str, ...]:
    """Return the absolute names of the modules that a function imports when it runs."""
    found: dict[str, None] = {}
    for each in codes(function.__code__):
        steps = _steps(each)
        for i, step in enumerate(steps):
            if step.opname != "IMPORT_NAME":
                continue
            level = steps[i - 2].argval if i >= 2 else 0
            package = function.__globals__.get("__package__") or ""
            if isinstance(level, int) and level > 0:
                if package:
                    found[importlib.util.resolve_name("." * level + step.argval, package)] = None
            else:
                found[str(step.argval)] = None
    return tuple(found)


def changed_names(function: types.FunctionType) -> tuple[str, ...]:
    """Return the captured variables that a function itself assigns to, or calls ``append`` of.

    Such a change happens to the copy on the other side and is lost. Only what is written out in
    the code is found.
    """
    outer = set(function.__code__.co_freevars) | set(function.__globals__)
    found: dict[str, None] = {}
    for code in codes(function.__code__):
        steps = _steps(code)
        own = set() if code is function.__code__ else set(code.co_cellvars)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            name = str(step.argval)
            if name in own or name not in outer:
                continue
            if step.opname == "STORE_GLOBAL" or (
                step.opname == "STORE_DEREF" and name in function.__code__.co_freevars
            ):
                found[name] = None
            if (
                step.opname in _LOADS
                and following is not None
                and following.opname in _ATTRIBUTES
                and str(following.argval) in _CHANGERS
            ):
                found[name] = None
    return tuple(found)


def is_constant(value: Any) -> bool:
    """Return whether a value is one that code writes out, tuples of them included."""
    kind = type(value)
    if kind in (str, bytes, int, float, complex, bool, type(None), type(...)):
        return True
    return kind is tuple and all(map(is_constant, value))


def as_text(annotations: Mapping[str, Any]) -> dict[str, str]:
    """Return annotations as text, which needs nothing of what they name."""
    return {name: text_of(hint) for name, hint in annotations.items()}


def text_of(hint: Any) -> str:
    """Return one annotation as text."""
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)
