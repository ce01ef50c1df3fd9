"""Code objects as bytes that are the same in every process, with their source for tracebacks.

A function's code gets a file name of its own, ``<technique NAME 1a2b3c4d>``, whose lines are those
of its source counted from 1: the same function has the same bytes wherever it was defined.
"""

import hashlib
import inspect
import linecache
import types
from typing import Any

from glassbox.techniques import values
from glassbox.techniques.shipping.code_reading import lines_of

_FIELDS = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_nlocals",
    "co_stacksize",
    "co_flags",
    "co_firstlineno",
    "co_code",
    "co_consts",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_filename",
    "co_name",
    "co_qualname",
    "co_linetable",
    "co_exceptiontable",
)

_EMPTY = (lambda: None).__code__

MOST_SOURCES = 1024
"""Sources of received code that are kept for tracebacks; the oldest go first."""

_registered: dict[str, None] = {}


def source_of(function: types.FunctionType) -> tuple[str, int]:
    """Return a function's source as it stands in its file, and its first line there.

    Empty and the line of its code where there is no source: at a prompt, from ``exec``.
    """
    code = function.__code__
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError, SyntaxError, IndexError):
        return "", code.co_firstlineno
    return "".join(lines), max(first, 1)


def file_name(function: types.FunctionType, source: str) -> str:
    """Return the file name that the code of a shipped function carries."""
    if not source:
        return f"<technique {function.__qualname__}>"
    return f"<technique {function.__qualname__} {hashlib.sha256(source.encode()).hexdigest()[:8]}>"


def code_bytes(code: types.CodeType, file: str, first: int) -> bytes:
    """Return a code object as bytes.

    Args:
        code: With everything nested in it.
        file: Name of its file from now on.
        first: Line of its old file that becomes line 1.
    """
    packed = values.pack(_described(code, file, first), root="code")
    return b"".join(bytes(part) for part in values.frame(packed))


def code_from(data: bytes) -> types.CodeType:
    """Return the code object of bytes that ``code_bytes`` made."""
    return _code(values.unpack(values.unframe(data)))


def register_source(file: str, source: str) -> None:
    """Make a source known to tracebacks under its file name."""
    linecache.cache[file] = (len(source), None, lines_of(source), file)
    _registered[file] = None
    while len(_registered) > MOST_SOURCES:
        oldest = next(iter(_registered))
        del _registered[oldest]
        linecache.cache.pop(oldest, None)


def _described(code: types.CodeType, file: str, first: int) -> dict[str, Any]:
    fields = {name: getattr(code, name) for name in _FIELDS}
    fields["co_filename"] = file
    fields["co_firstlineno"] = max(1, code.co_firstlineno - first + 1)
    # A constant is never a dictionary, so one stands for nested code.
    fields["co_consts"] = [
        _described(each, file, first) if isinstance(each, types.CodeType) else each
        for each in code.co_consts
    ]
    return fields


def _code(fields: dict[str, Any]) -> types.CodeType:
    consts = tuple(_code(each) if isinstance(each, dict) else each for each in fields["co_consts"])
    return _EMPTY.replace(**{**fields, "co_consts": consts})
