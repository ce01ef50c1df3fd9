"""What a run may use, held from inside the worker and from outside it.

Inside: the kernel refuses memory beyond the limit, a thread of Python counts processor time.
Outside: a board in shared memory tells the process that watches when to kill, which works however
the worker hangs. What runs in the worker could write on the board: limits stop accidents, a
container stops attacks. Knows nothing of techniques.
"""

import math
import mmap
import resource
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO

import psutil

from glassbox.errors import DeadlineExceeded, GlassboxError
from glassbox.techniques.calls import Call, Limits, allow_more

BOARD_BYTES = 4096
"""Size of the board: one page."""

MEMORY_SHARE = 0.8
"""Share of the memory that is free after loading which a run may take unless told otherwise."""

MOST_BYTES = 2**60
"""Memory that no machine has: a larger limit is the same, and neither kernel nor board could hold
it."""

MOST_S = 1e9
"""Processor seconds that no run takes, thirty years; a longer limit is the same."""

WATCH_S = 0.05
"""How often limits are looked at."""

_ENTRY = struct.Struct("<QB64s64sddQ16s")
_NAME = struct.Struct("<64s")
_N_NAMES = (BOARD_BYTES - _ENTRY.size) // _NAME.size
_PAGE = resource.getpagesize()
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Posted:
    """What is on the board."""

    run: str = ""
    """The run on the model; empty while there is none."""
    caller: str = ""
    """Whose it is."""
    kill_at_s: float = 0.0
    """Moment of ``time.monotonic`` after which the worker is killed; 0 is never."""
    cpu_end_s: float = 0.0
    """Processor seconds of the whole process after which it is killed; 0 is never."""
    memory_end_bytes: int = 0
    """Resident memory above which it is killed; 0 is never."""
    leaving: str = ""
    """Why the worker is about to end by itself."""


BACKSTOP_S = 30
"""Processor seconds by which the kernel's limit is above a run's: two watchers come before it."""


class Board:
    """A page that the worker writes and its watcher reads.

    Args:
        file: A file of ``BOARD_BYTES`` that both have open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._page = mmap.mmap(file.fileno(), BOARD_BYTES)
        self._lock = threading.Lock()
        self._now = Posted()
        self._n_written = 0
        self._n_begun = 0

    def post(self, posted: Posted) -> None:
        """Put something on the board in place of what is there."""
        with self._lock:
            if posted.run:
                place = _ENTRY.size + self._n_begun % _N_NAMES * _NAME.size
                _NAME.pack_into(self._page, place, posted.run.encode())
                self._n_begun += 1
            self._write(posted)

    def begun(self) -> tuple[str, ...]:
        """Return the latest runs that were on the model, in no order; for after the worker's end.

        What was being written when it ended is read as it is.
        """
        names = (
            _NAME.unpack_from(self._page, _ENTRY.size + place * _NAME.size)[0]
            for place in range(_N_NAMES)
        )
        return tuple(_text(name) for name in names if name.strip(b"\0"))

    def hasten(self, run: str, kill_at_s: float) -> None:
        """Bring the moment of killing forward, if that run is still on the model."""
        with self._lock:
            now = self._now
            if now.run == run and not 0.0 < now.kill_at_s <= kill_at_s:
                self._write(_with(now, kill_at_s=kill_at_s))

    def leave(self, why: str) -> None:
        """Say that the worker is about to end by itself."""
        with self._lock:
            self._write(_with(self._now, leaving=why))

    def read(self) -> Posted:
        """Return what is on the board; what is just being written is read again."""
        while True:
            before, *_ = struct.unpack_from("<Q", self._page)
            n, _, run, caller, kill, cpu, memory, leaving = _ENTRY.unpack_from(self._page)
            if n % 2 == 0 and n == before == struct.unpack_from("<Q", self._page)[0]:
                return Posted(_text(run), _text(caller), kill, cpu, memory, _text(leaving))
            time.sleep(0)

    def _write(self, posted: Posted) -> None:
        """Write; an odd number in front says that it is not all there yet. The lock is held."""
        self._now = posted
        self._n_written += 1
        struct.pack_into("<Q", self._page, 0, 2 * self._n_written - 1)
        _ENTRY.pack_into(
            self._page,
            0,
            2 * self._n_written - 1,
            1,
            posted.run.encode(),
            posted.caller.encode(),
            posted.kill_at_s,
            posted.cpu_end_s,
            posted.memory_end_bytes,
            posted.leaving.encode(),
        )
        struct.pack_into("<Q", self._page, 0, 2 * self._n_written)


def least(one: Limits, other: Limits) -> Limits:
    """Return the stricter of two limits in each respect; None is no limit."""
    pairs = {
        each.name: (getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
    }
    return Limits(
        **{
            name: min((x for x in pair if x is not None), default=None)
            for name, pair in pairs.items()
        }
    )


def free_bytes() -> int:
    """Return how much memory this process may still take: the machine's, or its container's."""
    free = psutil.virtual_memory().available
    try:
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return int(free)
    return int(free) if most == "max" else max(0, min(int(free), int(most) - int(used)))


class RunLimits:
    """Holds every run in this process to its limits.

    Args:
        board: Read by the process that watches.
        own: Most that any run may use.
        grace_s: Seconds between asking a run to end and killing the worker.
        end: Ends a run with an error, as its deadline would.
    """

    def __init__(
        self,
        board: Board,
        own: Limits,
        grace_s: float,
        end: Callable[[str, GlassboxError], None],
    ) -> None:
        self._board = board
        self._own = own
        self._grace_s = grace_s
        self._end = end
        self._default_bytes: int | None = None

    @contextmanager
    def guard(self, run_id: str, call: Call) -> Iterator[int]:
        """Hold whatever runs inside the block, on its thread, to what the call may use.

        Yields the bytes of memory that it may take beyond what is taken already.
        """
        limits = least(self._own, call.limits)
        if limits.memory_bytes is not None:
            limits = replace(limits, memory_bytes=min(limits.memory_bytes, MOST_BYTES))
        if limits.cpu_s is not None:
            limits = replace(limits, cpu_s=min(limits.cpu_s, MOST_S))
        memory = limits.memory_bytes if limits.memory_bytes is not None else self._free_bytes()
        used_s = time.process_time()
        grace_s = self._grace_s
        self._board.post(
            Posted(
                run=run_id[:64],
                caller=call.caller[:64],
                kill_at_s=0.0
                if limits.wall_s is None
                else time.monotonic() + limits.wall_s + grace_s,
                cpu_end_s=0.0 if limits.cpu_s is None else used_s + limits.cpu_s + grace_s,
                memory_end_bytes=_resident_bytes() + memory + memory // 8,
            )
        )
        done = threading.Event()
        if limits.cpu_s is not None:
            watch = (run_id, used_s, limits.cpu_s, done)
            threading.Thread(target=self._watch_cpu, args=watch, daemon=True).start()
        before = _restrict(memory, limits.cpu_s, used_s + 2 * grace_s)
        try:
            yield memory
        finally:
            for kind, soft in before:
                _set_soft(kind, soft)
            done.set()
            self._board.post(Posted())

    def hasten(self, run_id: str) -> None:
        """Kill the worker if a run that was told to end has not done so after the grace."""
        self._board.hasten(run_id[:64], time.monotonic() + self._grace_s)

    def _free_bytes(self) -> int:
        if self._default_bytes is None:
            self._default_bytes = int(MEMORY_SHARE * free_bytes())
        return self._default_bytes

    def _watch_cpu(self, run_id: str, used_s: float, cpu_s: float, done: threading.Event) -> None:
        while not done.wait(WATCH_S):
            if time.process_time() - used_s > cpu_s:
                reason = (
                    f"It used more than {cpu_s:g} s of processor time, the most it may. "
                    + allow_more("Limits(cpu_s=…)")
                )
                self._end(run_id, DeadlineExceeded(reason))
                return


def _restrict(memory: int, cpu_s: float | None, cpu_slack_s: float) -> list[tuple[int, int]]:
    """Let the kernel refuse more memory and processor time; return the limits there were before."""
    before = []
    data = _data_bytes()
    if data is not None:
        before.append((resource.RLIMIT_DATA, resource.getrlimit(resource.RLIMIT_DATA)[0]))
        _set_soft(resource.RLIMIT_DATA, data + memory)
    if cpu_s is not None:
        before.append((resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU)[0]))
        # The kernel kills at this one, should both watchers have failed.
        _set_soft(resource.RLIMIT_CPU, math.ceil(cpu_slack_s + cpu_s) + BACKSTOP_S)
    return before


def _set_soft(kind: int, soft: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.setrlimit(kind, (soft, hard))


def _data_bytes() -> int | None:
    """Return the private memory of this process as the kernel counts it for its limit.

    Source: proc(5), ``/proc/pid/statm``, sixth field: data and stack, in pages.
    """
    return int(_STATM.read_bytes().split()[5]) * _PAGE if _STATM.exists() else None


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _with(posted: Posted, *, kill_at_s: float | None = None, leaving: str | None = None) -> Posted:
    return Posted(
        posted.run,
        posted.caller,
        posted.kill_at_s if kill_at_s is None else kill_at_s,
        posted.cpu_end_s,
        posted.memory_end_bytes,
        posted.leaving if leaving is None else leaving,
    )


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
