"""Finds the class that a packed value names, among what is imported already; imports nothing else.

A class is named ``module:qualname``. A file run as a script is ``__main__`` where it runs and has
its own name elsewhere, so both are looked at. Only Glassbox's own modules are imported for it.
"""

import importlib
import inspect
import sys
import types
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_OWN = "glassbox."

INTERACTIVE = "__interactive__"
"""Stands for ``__main__`` where that is no file: what is typed into a notebook or an interpreter.
``__main__`` would be another program on the other side."""


def class_name(kind: type) -> str:
    """Return what a class is called in a packed value."""
    return f"{home_name(kind.__module__)}:{kind.__qualname__}"


def home_name(module: str) -> str:
    """Return a module's name as it is the same wherever its file runs.

    A script is ``__main__`` to itself and has the name of its file elsewhere; of what was typed it
    is ``INTERACTIVE``.
    """
    if module != "__main__":
        return module
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).stem if file and not file.startswith("<") else INTERACTIVE


def find_class(name: str, known: Mapping[str, type] | None = None) -> type | None:
    """Return the class of that name, None when it is not here.

    Args:
        name: ``module:qualname``.
        known: Classes that are looked at first, by that name.
    """
    if known and name in known:
        return known[name]
    module, _, qualname = name.partition(":")
    for home in _homes(module):
        found: Any = home
        for part in qualname.split("."):
            found = getattr(found, part, None) if found is not None else None
        if isinstance(found, type) and found.__qualname__ == qualname:
            return found
    return None


def classes_of(function: Any) -> dict[str, type]:
    """Return the classes a function knows by name, as a packed value names them.

    Arguments that were dataclasses where the function came from become those it brought along.
    """
    inner = inspect.unwrap(getattr(function, "func", function))
    known = list(getattr(inner, "__globals__", {}).values())
    for cell in getattr(inner, "__closure__", None) or ():
        try:
            known.append(cell.cell_contents)
        except ValueError:  # It is not bound yet.
            continue
    return {class_name(each): each for each in known if isinstance(each, type)}


def _homes(module: str) -> list[types.ModuleType]:
    homes = [sys.modules.get(module)]
    if module.startswith(_OWN) and homes == [None] and not module.endswith("__main__"):
        homes.append(_own(module))
    main = sys.modules.get("__main__")
    if module == "__main__" or home_name("__main__") == module:
        homes.append(main)
    return [home for home in homes if home is not None]


@lru_cache(maxsize=256)
def _own(module: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
