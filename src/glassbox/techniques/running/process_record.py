"""What a process that runs nothing but techniques was like before the first: folder, log, warnings.

Not for a process with threads that have nothing to do with the model: those set the same things
while a run lasts. What belongs to torch's, NumPy's and Python's arithmetic is the lent model's to
put back (``Lent.undo``).
"""

import gc
import locale
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from glassbox.engine.model.attempt import attempt
from glassbox.settings.environment import environment_now, put_back_environment

_PRIVATE: Final = 0o077
"""The mask while it is asked for, which can only be done by setting one."""

_SHORT: Final = 40
"""Most characters of two values that are told."""


class ProcessRecord:
    """What this process was set to when this was made."""

    def __init__(self) -> None:
        self._log = [(each, _Logging(each)) for each in _top_loggers()]
        self._settings = [ask() for _, ask, _ in _SETTINGS]

    def restore(self) -> tuple[str, ...]:
        """Put everything back and return what was, in words."""
        notes = []
        for (name, ask, put), before in zip(_SETTINGS, self._settings, strict=True):
            now = ask()
            if now != before:
                notes.append(_put_back(name, put, now, before))
        changed = [each.name for each, before in self._log if before.put_back(each)]
        if changed:
            notes.append(f"logging put back ({', '.join(changed)})")
        return tuple(notes)


class _Logging:
    """What a logger was set to."""

    __slots__ = ("disabled", "handlers", "level", "propagate")

    def __init__(self, logger: logging.Logger) -> None:
        self.level, self.handlers = logger.level, logger.handlers[:]
        self.disabled, self.propagate = logger.disabled, logger.propagate

    def put_back(self, logger: logging.Logger) -> bool:
        """Put back what a logger was set to; return whether it was another."""
        if (
            logger.level == self.level
            and logger.handlers == self.handlers
            and logger.disabled is self.disabled
            and logger.propagate is self.propagate
        ):
            return False
        logger.setLevel(self.level)
        logger.disabled, logger.propagate = self.disabled, self.propagate
        logger.handlers[:] = self.handlers
        return True


def _put_back(name: str, put: Callable[[Any], object], now: Any, before: Any) -> str:
    """Put one thing back and return so in words; what cannot be is said, too."""
    failure = attempt(partial(put, before))
    if isinstance(failure, Exception):
        return f"{name} could not be put back: {failure}"
    is_told = isinstance(before, str | int | float) and len(f"{now}{before}") <= _SHORT
    return f"{name} put back" + (f" ({now} to {before})" if is_told else "")


def _top_loggers() -> list[logging.Logger]:
    """Return the root and all loggers right below it, which those further down take after."""
    root = logging.getLogger()
    known = root.manager.loggerDict.items()
    below = [each for name, each in known if "." not in name]
    return [root, *(each for each in below if isinstance(each, logging.Logger))]


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  asked after every run, and a path is slow to make
    except FileNotFoundError:
        return "(removed)"


def _mask() -> int:
    mask = os.umask(_PRIVATE)
    os.umask(mask)
    return mask


def _put_path(before: list[str]) -> None:
    sys.path[:] = before


def _put_filters(before: list[Any]) -> None:
    warnings.resetwarnings()  # What was said once is forgotten with it.
    warnings.filters[:] = before  # type: ignore[index]


def _timers() -> tuple[tuple[float, float], ...]:
    return tuple(signal.getitimer(kind) for kind in _TIMERS)


def _put_timers(before: tuple[tuple[float, float], ...]) -> None:
    for kind, (after_s, every_s) in zip(_TIMERS, before, strict=True):
        signal.setitimer(kind, after_s, every_s)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

_PRINTING: Any = torch._tensor_str.PRINT_OPTS

_SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], object]], ...] = (
    ("working folder", _folder, os.chdir),
    ("environment variables", environment_now, put_back_environment),
    ("mask of file modes", _mask, os.umask),
    ("search path of modules", lambda: sys.path[:], _put_path),
    ("filters of warnings", lambda: warnings.filters[:], _put_filters),
    ("limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    ("switch interval of threads", sys.getswitchinterval, sys.setswitchinterval),
    ("garbage collection", gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
    (
        "locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda before: locale.setlocale(locale.LC_ALL, before),
    ),
    ("time limit of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    ("timers", _timers, _put_timers),
    ("level below which nothing is logged", lambda: logging.root.manager.disable, logging.disable),
    ("how NumPy prints", np.get_printoptions, lambda before: np.set_printoptions(**before)),
    (
        "how torch prints",
        lambda: dict(vars(_PRINTING)),
        lambda before: vars(_PRINTING).update(before),
    ),
)
"""What is set, how it is asked for, and how it is set. A program can have no handlers of signals
set here, because runs are not on its first thread."""
