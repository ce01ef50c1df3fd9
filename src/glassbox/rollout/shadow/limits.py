"""What a challenger's process is allowed, set by the process itself before anything is loaded.

It yields to everything else on the machine: idle scheduling, first to go when memory runs out,
gone when its parent is. Knows nothing of versions.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

NICEST = 19
"""Lowest priority of POSIX. Source: setpriority(2)."""

FIRST_TO_GO = "1000"
"""The kernel ends this process first when memory runs out. Source: proc(5), ``oom_score_adj``."""

_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""


@dataclass(frozen=True)
class ChildLimits:
    """How a process is kept in its place."""

    yields: bool = True
    """Whether it runs when nothing else wants the processor, and goes first if memory ends."""
    memory_bytes: int | None = None
    """Private memory that it may take; None is no limit."""
    threads: int | None = 1
    """Threads of numeric libraries; None leaves the choice to them."""


def restrict(limits: ChildLimits, parent: int) -> None:
    """Put this process into its place.

    Args:
        limits: What it is allowed.
        parent: Process without which it has no reason to be.
    """
    _end_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, hard))
    if limits.yields:
        _yield_to_all()


def _yield_to_all() -> None:
    """Run when nothing else wants a processor, and on half of them only; go first without memory.

    Source: sched(7), ``SCHED_IDLE``. A kernel may take a processor that does idle work for a free
    one and wake the server's threads there, to wait for the next tick (milliseconds) until they
    run; so some processors are left alone. ``benchmarks/shadow.py`` shows the difference.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
    with contextlib.suppress(OSError):
        os.nice(NICEST)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        allowed = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed[len(allowed) // 2 :])


def _end_with(parent: int) -> None:
    """End this process when the thread that started it ends, however hard it hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The parent was gone before the signal was asked for.
        os._exit(1)
