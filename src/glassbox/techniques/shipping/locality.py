"""Tells local modules, whose code travels, from installed ones, which the other side must have.

A module is local when its file is neither in the standard library nor among installed packages, or
when it has no file at all (a notebook, a prompt). Glassbox's own never is: both sides have it.
"""

import importlib.machinery
import importlib.util
import site
import sys
import sysconfig
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

_OWN = "glassbox"


def is_local(module: types.ModuleType) -> bool:
    """Return whether a module's code must travel because the other side cannot have it."""
    name = module.__name__
    if name in ("__main__", "__mp_main__"):
        return True
    if name.partition(".")[0] == _OWN or name in sys.builtin_module_names:
        return False
    spec = getattr(module, "__spec__", None)
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return False
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if file is None:
        # Made by hand: it is installed only if its name can be found.
        return spec is None and sys.modules.get(name) is not module
    return not (str(file).endswith(_COMPILED) or is_installed(str(file)))


def travels(value: types.FunctionType | type) -> bool:
    """Return whether a function or class travels by value, not as a name to be imported."""
    if isinstance(value, type) and not value.__flags__ & _HEAP_TYPE:
        return False  # It is part of the interpreter or of a compiled library.
    module = sys.modules.get(value.__module__ or "")
    if module is None or is_local(module):
        return True
    found: Any = module
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not value


def find_local(name: str) -> types.ModuleType | None:
    """Return the local module of that name, imported if it was not; None for any other."""
    module = sys.modules.get(name)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        if spec is None or not spec.origin or not Path(spec.origin).is_file():
            return None
        if is_installed(spec.origin) or spec.origin.endswith(_COMPILED):
            return None
        module = importlib.import_module(name)
    return module if is_local(module) else None


def can_import(name: str) -> bool:
    """Return whether a module can be imported here; its parents are imported for that."""
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


_HEAP_TYPE = 1 << 9
"""Flag of classes made by Python code. Source: CPython, Include/object.h, Py_TPFLAGS_HEAPTYPE."""

_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@lru_cache(maxsize=4096)
def is_installed(file: str) -> bool:
    """Return whether a file is part of the standard library or of an installed package."""
    path = Path(file).resolve()
    return any(path.is_relative_to(home) for home in _homes()) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )


@lru_cache(maxsize=1)
def _homes() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    names = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(Path(name).resolve() for name in dict.fromkeys(names))
