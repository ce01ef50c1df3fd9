"""What a technique raised, as values, and the same exception again on the side that asked.

Frames of ours are cut out of tracebacks; the technique's own lines stay with their source. Nothing
is unpickled: a class is looked up by name among what is already imported here. Knows exceptions;
knows nothing of runs' queues and models.
"""

import ast
import builtins
import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from glassbox.engine.model.attempt import attempt
from glassbox.errors import GlassboxError, TechniqueFailed
from glassbox.techniques.calls import RemoteError, Run
from glassbox.techniques.packed.leaves import json_text
from glassbox.techniques.packed.named_classes import home_name

N_NOTED = 20
"""Printed lines, the last ones, that are told with an error."""

_LONGEST = 20_000
"""Characters of a traceback and of a message that are kept; what is left out is said."""

_OURS = (
    *(str(Path(__file__).with_name(name)) for name in ("execution.py", "visit.py", "stopping.py")),
    str(Path(__file__).parents[2] / "engine" / "model" / "attempt.py"),
)


def describe(error: BaseException, own_file: str = "") -> RemoteError:
    """Return an exception as values.

    Args:
        error: What was raised.
        own_file: File name of the technique's code, as frames show it; finds its own line.
    """
    kind = type(error)
    summary = traceback.TracebackException.from_exception(error, compact=True)
    own: traceback.FrameSummary | None = None
    is_traced = False
    for part in _chain(summary):
        frames = _without_ours(list(part.stack))
        is_traced = is_traced or bool(frames)
        part.stack = traceback.StackSummary.from_list(frames)
        mine = [frame for frame in frames if own_file and frame.filename == own_file]
        if own is None and mine:
            own = mine[-1]
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    message = "\n".join(filter(None, [_text(error), *notes]))
    return RemoteError(
        type=f"{kind.__module__}.{kind.__qualname__}",
        message=_shortened(message),
        # Without a line of anybody's code it would only say the message again.
        traceback=_shortened("".join(summary.format())) if is_traced else "",
        line=own.lineno if own is not None else None,
        source_line=(own.line or "").strip() if own is not None else "",
        code=error.code if isinstance(error, GlassboxError) else "",
    )


def edited(error: RemoteError, edit: Callable[[str], str]) -> RemoteError:
    """Return a described exception with every text of it edited."""
    return RemoteError(
        type=error.type,
        message=edit(error.message),
        traceback=edit(error.traceback),
        line=error.line,
        source_line=edit(error.source_line),
        code=error.code,
    )


def raise_here(run: Run) -> NoReturn:
    """Raise what a run ended with: the same class where it exists here.

    Its cause is a ``TechniqueFailed`` with the traceback of the other side; notes hold the
    technique's own line and what it printed.

    Args:
        run: One that failed, was cancelled or was lost, with all that it printed.

    Raises:
        Exception: Of the class that was raised on the other side.
        TechniqueFailed: There is no such class here, or nothing was raised.
    """
    error = run.error
    printed = list(run.lines)[-N_NOTED:]
    if error is None:
        raise TechniqueFailed(f"The run {run.id} has {run.status}.")
    is_ours = _find(error.type) is TechniqueFailed
    words = error.message if is_ours else f"{error.type}: {error.message}"
    if error.traceback:
        words = f"{words}\n\nOn the other side:\n{error.traceback.rstrip()}"
    failed = TechniqueFailed(words)
    local = _local(error)
    raised: Exception = failed if local is None else local
    if error.source_line:
        raised.add_note(f"line {error.line} of the technique: {error.source_line}")
    if printed:
        raised.add_note("\n".join(["it printed:", *(f"  {line}" for line in printed)]))
    if local is None:
        raise failed
    raise local from failed


def _local(error: RemoteError) -> Exception | None:
    """Return an exception of the same class with the same text; None where there is no class."""
    kind = _find(error.type)
    if kind is None or issubclass(kind, TechniqueFailed):
        return None
    text = error.message
    if issubclass(kind, KeyError):
        # Its text is the key as Python writes it.
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            text = ast.literal_eval(text)
    try:
        # Without its initialiser, which may want other arguments and may do anything.
        made = kind.__new__(kind, text)
        if isinstance(made, kind) and _text(made) == error.message:
            return made
    except TypeError:
        return None
    same: Any = type(kind.__name__, (kind,), {"__str__": lambda _: error.message})
    same.__module__, same.__qualname__ = kind.__module__, kind.__qualname__
    raised: Exception = same.__new__(same, error.message)
    return raised


def _find(name: str) -> type[Exception] | None:
    """Return the class of a dotted name among what is imported already."""
    parts = name.split(".")
    for at in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:at])
        # A script has the name of its file on the other side.
        home = "__main__" if path == home_name("__main__") else path
        found: object = builtins if path == "builtins" else sys.modules.get(home)
        if found is None:
            continue
        for part in parts[at:]:
            # Only what is there already: looking may not import or compute anything.
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        if isinstance(found, type) and issubclass(found, Exception):
            return found
        return None
    return None


def _chain(summary: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yield an exception and those that it came from."""
    waiting, seen = [summary], set()
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [each for each in (part.__cause__, part.__context__) if each is not None]


def _without_ours(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return a stack from the technique's first frame on; ours alone where there is no other."""
    first = next(
        (at for at, frame in enumerate(frames) if frame.filename not in _OURS), len(frames)
    )
    return [frame for frame in frames[first:] if frame.filename not in _OURS]


def _text(error: BaseException) -> str:
    # A class of somebody else's, whose way to text may fail in any way.
    text = attempt(partial(str, error))
    if isinstance(text, str):
        return text
    return f"(its text cannot be had: {type(text).__name__})"


def _shortened(text: str) -> str:
    text = json_text(text)
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]}\n[{len(text) - _LONGEST:,} characters left out]\n{text[-half:]}"
