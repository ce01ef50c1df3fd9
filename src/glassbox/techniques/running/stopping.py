"""Ending a technique that goes on for too long, as far as Python can.

Two means: before each call of the model its hook looks whether the run is to end, and an exception
is put into the thread that executes it, which Python raises between two steps of its own. What runs
inside one call of C code, a long matrix product or ``time.sleep``, ends first. Code that swallows
every exception and never calls the model is asked again and again, and can go on for ever: only the
end of its process ends it.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from glassbox.errors import GlassboxError

_RAISE = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Stopped(BaseException):
    """Raised inside a technique that is to end.

    No ``Exception``, so that a technique that catches those lets it pass.
    """


class StopSign:
    """Whether a run is to end, and why."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._thread: int | None = None
        self._hook: RemovableHandle | None = None
        self.reason: GlassboxError | None = None
        """Why, once it is to end."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> "StopSign":
        """Return itself: a guest's copy of the model carries the hook and ends with its run."""
        return self

    def raise_for(self, reason: GlassboxError) -> None:
        """Ask the run to end; the first reason counts. May be called again, to insist."""
        with self._guard:
            if self.reason is None:
                self.reason = reason
            if self._thread is not None:
                _RAISE(ctypes.c_ulong(self._thread), ctypes.py_object(Stopped))

    @contextmanager
    def heeded(self, model: nn.Module) -> Iterator[None]:
        """Let the calling thread be stopped inside the block, and never after it.

        Raises:
            Stopped: The run is to end.
        """
        try:
            self._begin(model)
            yield
        finally:
            self._finish()

    @contextmanager
    def paused(self, model: nn.Module) -> Iterator[None]:
        """Let nothing be stopped inside the block, where the model is as it was lent.

        Raises:
            Stopped: The run is to end; before or after the block.
        """
        self._finish()
        yield
        self._begin(model)

    def _begin(self, model: nn.Module) -> None:
        self._hook = model.register_forward_pre_hook(self._look)
        with self._guard:
            self._thread = threading.get_ident()
        self._look()

    def _finish(self) -> None:
        # The exception may come in the midst of this. None is put into the thread any more once the
        # guarded part is over, and one that still waits there comes with the call after it. It is
        # not taken back: CPython would go on looking for it in every call, and under a tracer in
        # 3.11 for ever.
        interrupted = False
        while True:
            try:
                with self._guard:
                    self._thread = None
                if self._hook is not None:
                    self._hook.remove()
                _let_it_come()
                break
            except Stopped:
                interrupted = True
        if interrupted:
            raise Stopped

    def _look(self, *_: Any) -> None:
        if self.reason is not None:
            raise Stopped


def _let_it_come() -> None:
    """Do nothing: Python raises at the latest here what was put into this thread before."""
