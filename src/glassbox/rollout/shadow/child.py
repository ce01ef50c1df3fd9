"""The process that one version lives in: loads it, then answers what comes through one socket.

Started as ``python -m glassbox.rollout.shadow.child DESCRIPTOR``. What the version prints goes
nowhere; the socket is known to this file alone. Knows nothing of queues, requests or records.
"""

import importlib
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from glassbox.engine.model.attempt import attempt
from glassbox.errors import GlassboxError, InvalidValue
from glassbox.rollout.prediction import Features, Predictor
from glassbox.rollout.shadow.faults import fault_of
from glassbox.rollout.shadow.frames import receive, send
from glassbox.rollout.shadow.limits import ChildLimits, restrict
from glassbox.rollout.shadow.packing import packed

OUT_OF_MEMORY = "out-of-memory"
"""Code of an error after which the process is replaced: what leaked stays leaked."""

_LONGEST_WORDS = 500


def main() -> None:
    """Load the version that the first message names, then answer until the socket is closed."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    # What a version starts in its turn must not hold this end open.
    connection.set_inheritable(False)
    order = receive(connection)
    sys.path[:] = order["path"]
    restrict(ChildLimits(**order["limits"]), order["parent"])
    loaded = _held(lambda: _load(order))
    if isinstance(loaded, BaseException):
        send(connection, {"failed": _told(loaded)})
        return
    predictor: Predictor = loaded
    send(connection, {"ready": True})
    while True:
        try:
            asked = receive(connection)
        except EOFError:
            return
        began_s = time.perf_counter()
        answers = _answers(predictor, asked["rows"])
        spent_s = time.perf_counter() - began_s
        if isinstance(answers, BaseException):
            send(connection, {"id": asked["id"], "error": _told(answers), "seconds": spent_s})
        else:
            send(connection, {"id": asked["id"], "answers": answers, "seconds": spent_s})


def _load(order: Mapping[str, Any]) -> Predictor:
    module, _, name = str(order["factory"]).partition(":")
    make = getattr(importlib.import_module(module), name, None)
    if make is None:
        raise InvalidValue("factory", order["factory"], "module:function")
    return cast("Predictor", make(order["version"], order["overrides"]))


def _answers(predictor: Predictor, rows: Sequence[Features]) -> Any:
    return _held(lambda: [packed(each) for each in predictor.predict(rows)])


def _held(call: Callable[[], Any]) -> Any:
    """Return what came of foreign code: its result, or whatever it raised, an exit included."""
    try:
        return attempt(call)
    except (SystemExit, KeyboardInterrupt) as left:
        return left


def _told(error: BaseException) -> dict[str, str]:
    if isinstance(error, MemoryError):
        code = OUT_OF_MEMORY
    elif isinstance(error, GlassboxError):
        code = error.code
    else:
        code = "raised"
    words = str(error) if isinstance(error, GlassboxError) else f"{type(error).__name__}: {error}"
    return {"code": code, "message": words[:_LONGEST_WORDS], "fault": fault_of(error)}


if __name__ == "__main__":
    main()
