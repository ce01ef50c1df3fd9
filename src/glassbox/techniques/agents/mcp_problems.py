"""What went wrong, as an agent reads it: a stable code, one sentence, where, and a short traceback.

Knows errors; knows nothing of runs and of how an agent speaks to us.
"""

import re
from typing import Any, Final

from glassbox.errors import GlassboxError, QueueFull, TechniqueFailed
from glassbox.techniques.catalogue.written import as_written
from glassbox.techniques.packed.paging import shortened

TRACEBACK_BYTES: Final = 1500
"""Of JSON: the end of a traceback that is told."""

MESSAGE_BYTES: Final = 1500
"""Of JSON: of a message that is told."""

_OURS: Final = re.compile(r"\A(?:glassbox\.errors\.\w+: |builtins\.)")
"""What stands before the words of errors that everybody knows."""


def problem_of(error: Exception | None) -> dict[str, Any]:
    """Return an error as JSON: ``code`` and ``message``; of a technique ``where`` and ``trace``.

    There is a trace only where whoever wrote the technique can do something about it.
    """
    if error is None:
        return {"code": TechniqueFailed.code, "message": "It ended without a result."}
    cause = error.__cause__
    if isinstance(error, TechniqueFailed) or isinstance(cause, TechniqueFailed):
        return _of_technique(error)
    if isinstance(error, GlassboxError):
        message = shortened(str(error), MESSAGE_BYTES)
        if isinstance(error, QueueFull):
            message += " list_runs shows what is under way, and cancel_run ends it."
        return {"code": error.code, "message": message}
    return {
        "code": "unexpected",
        "message": shortened(f"{type(error).__name__}: {error}", MESSAGE_BYTES),
    }


def _of_technique(error: Exception) -> dict[str, Any]:
    cause = error if isinstance(error, TechniqueFailed) else error.__cause__
    message, _, trace = str(cause).partition("\n\n")
    told: dict[str, Any] = {
        "code": error.code if isinstance(error, GlassboxError) else TechniqueFailed.code,
        "message": shortened(_OURS.sub("", message), MESSAGE_BYTES),
    }
    where = [note for note in getattr(error, "__notes__", ()) if note.startswith("line ")]
    trace, line = as_written(trace.partition("\n")[2], where[0] if where else "")
    if line:
        told["where"] = line
    # Our own errors say themselves what is allowed, and a trace without a place says nothing more.
    is_ours = isinstance(error, GlassboxError) and not isinstance(error, TechniqueFailed)
    if 'File "' in trace and not is_ours:
        # Its end says the most, so that is what stays.
        told["trace"] = shortened(trace[-TRACEBACK_BYTES:][::-1], TRACEBACK_BYTES)[::-1]
    return told
