"""What went wrong, as an agent reads it: a stable code, one sentence, where, and a short traceback.

Knows errors; knows nothing of runs and of how an agent speaks to us.
"""

from typing import Any, Final

from glassbox.errors import GlassboxError, TechniqueFailed
from glassbox.techniques.catalogue.written import as_written

TRACEBACK_CHARACTERS: Final = 1500
"""The end of a traceback that is told."""

MESSAGE_CHARACTERS: Final = 1500
"""Of a message that is told."""


def problem_of(error: Exception | None) -> dict[str, Any]:
    """Return an error as JSON: ``code`` and ``message``; of a technique ``where`` and ``trace``."""
    if error is None:
        return {"code": TechniqueFailed.code, "message": "It ended without a result."}
    cause = error.__cause__
    if isinstance(error, TechniqueFailed) or isinstance(cause, TechniqueFailed):
        return _of_technique(error)
    if isinstance(error, GlassboxError):
        return {"code": error.code, "message": str(error)[:MESSAGE_CHARACTERS]}
    return {
        "code": "unexpected",
        "message": f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS],
    }


def _of_technique(error: Exception) -> dict[str, Any]:
    cause = error if isinstance(error, TechniqueFailed) else error.__cause__
    message, _, trace = str(cause).partition("\n\n")
    told: dict[str, Any] = {
        "code": error.code if isinstance(error, GlassboxError) else TechniqueFailed.code,
        "message": message.removeprefix("builtins.")[:MESSAGE_CHARACTERS],
    }
    where = [note for note in getattr(error, "__notes__", ()) if note.startswith("line ")]
    if where:
        told["where"] = as_written(where[0])
    trace = as_written(trace.partition("\n")[2])
    if trace:
        told["trace"] = trace[-TRACEBACK_CHARACTERS:]
    return told
