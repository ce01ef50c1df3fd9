"""Whether a function is still what it was when it was shipped, without shipping it again.

Taking a function apart costs milliseconds, looking at what it refers to costs microseconds. Where
something it refers to could have changed without a trace, such as a list in its module, the answer
is that nobody can tell, and it is taken apart again. Knows nothing of how functions travel.
"""

import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

Fingerprint = tuple[Any, ...]
"""Equal for a function that has not changed; holds what it names, so that no id is used twice."""

_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...))


class _CannotTell(Exception):
    """Something it refers to may change in place."""


def fingerprint(function: Callable[..., Any]) -> Fingerprint | None:
    """Return what identifies a function's present meaning; None where nobody can tell."""
    if not isinstance(function, FunctionType):
        return None
    try:
        return tuple(_walk(function, set()))
    except _CannotTell:
        return None


def _walk(value: object, seen: set[int]) -> Iterator[object]:
    """Yield everything that decides what a value means."""
    if isinstance(value, _ATOMS):
        yield (type(value), repr(value))
    elif isinstance(value, FunctionType):
        if id(value) in seen or _is_installed_function(value):
            yield _Same(value)
            return
        seen.add(id(value))
        yield from _walk_function(value, seen)
    elif isinstance(value, ModuleType):
        if not _is_installed(value.__name__):
            raise _CannotTell
        yield _Same(value)
    elif isinstance(value, type) or _belongs_to_module(value):
        if not _is_installed_name(value):
            raise _CannotTell
        yield _Same(value)
    elif isinstance(value, tuple | frozenset) and type(value) in (tuple, frozenset):
        yield type(value), len(value)
        for each in value:
            yield from _walk(each, seen)
    else:
        raise _CannotTell


def _belongs_to_module(value: object) -> bool:
    """Return whether it is a function written in C, which has no state of its own."""
    return isinstance(value, BuiltinFunctionType) and isinstance(
        value.__self__, ModuleType | type(None)
    )


def _walk_function(function: FunctionType, seen: set[int]) -> Iterator[object]:
    yield _Same(function.__code__)
    if function.__dict__.keys() - {"__technique__"}:
        raise _CannotTell
    for each in (function.__defaults__ or (), tuple((function.__kwdefaults__ or {}).values())):
        yield from _walk(each, seen)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError as error:
            raise _CannotTell from error
        yield from _walk(content, seen)
    for name in sorted(set(_names(function.__code__))):
        if name in function.__globals__:
            yield name
            yield from _walk(function.__globals__[name], seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


class _Same:
    """Equal only for the same object, which it keeps alive."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _is_installed_function(value: FunctionType) -> bool:
    """Return whether a function is one of an installed module, and not only says so."""
    module = sys.modules.get(value.__module__ or "")
    return (
        module is not None and value.__globals__ is vars(module) and _is_installed(value.__module__)
    )


def _is_installed_name(value: object) -> bool:
    """Return whether an installed module knows a class or built-in function by its name."""
    name = getattr(value, "__module__", None) or "builtins"
    known: object = sys.modules.get(name)
    for part in getattr(value, "__qualname__", "").split("."):
        known = getattr(known, part, None)
    return known is value and _is_installed(name)


@lru_cache(maxsize=4096)
def _is_installed(module_name: str | None) -> bool:
    """Return whether a module came with Python or was installed, and so does not change."""
    module = sys.modules.get(module_name or "")
    if module is None or module_name == "__main__":
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        # Built-in modules have no file; neither has a namespace, whose parts may be anybody's.
        return module_name in sys.builtin_module_names
    paths = sysconfig.get_paths()
    homes = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    homes.add(str(Path(__file__).parents[2]))
    path = Path(file)
    return any(path.is_relative_to(home) for home in homes)
