"""Memory that each stage of some work takes: the device's peak, or the process's, reset properly.

On CUDA the peak is torch's own, reset before every stage. On a processor it is the resident set:
Linux resets and keeps its peak exactly; elsewhere it is looked at every few milliseconds. Knows
nothing of what the stages do.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch

_EVERY_S: Final = 0.005
"""Time between two looks where the system keeps no peak."""

_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True)
class Stage:
    """What one stage took."""

    name: str
    """Of the stage."""
    seconds: float
    """How long it ran."""
    before_bytes: int
    """In use when it began."""
    peak_bytes: int
    """Most in use meanwhile."""
    after_bytes: int
    """In use when it ended."""

    @property
    def added_bytes(self) -> int:
        """Most that it took beyond what was in use before, at least 0."""
        return max(0, self.peak_bytes - self.before_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"added_bytes": self.added_bytes}


class MemoryMeter:
    """Measures stages one after another on one device.

    Args:
        device: ``cuda`` devices are asked, anything else means this process.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.stages: list[Stage] = []

    @property
    def kind(self) -> str:
        """What is measured: ``cuda`` or ``resident set``."""
        return "cuda" if self.device.type == "cuda" else "resident set"

    @property
    def peak_bytes(self) -> int:
        """Most in use in any stage so far."""
        return max((stage.peak_bytes for stage in self.stages), default=0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what runs inside the block; a block that fails is measured too."""
        probe = _Cuda(self.device) if self.device.type == "cuda" else _resident()
        before = probe.begin()
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            peak, after = probe.end()
            self.stages.append(Stage(name, seconds, before, max(peak, before, after), after))


class _Cuda:
    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> int:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        # Without this the peak of an earlier stage would be told as this one's.
        torch.cuda.reset_peak_memory_stats(self._device)
        return int(torch.cuda.memory_allocated(self._device))

    def end(self) -> tuple[int, int]:
        torch.cuda.synchronize(self._device)
        return (
            int(torch.cuda.max_memory_allocated(self._device)),
            int(torch.cuda.memory_allocated(self._device)),
        )


class _Kept:
    """The peak that Linux keeps for a process. Source: proc(5), clear_refs (5), VmHWM."""

    def begin(self) -> int:
        _CLEAR.write_text("5")
        return resident_bytes()

    def end(self) -> tuple[int, int]:
        return _high_water(), resident_bytes()


class _Watched:
    """The peak that a thread sees which looks often."""

    def __init__(self) -> None:
        self._peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begin(self) -> int:
        self._peak = resident_bytes()
        self._thread.start()
        return self._peak

    def end(self) -> tuple[int, int]:
        self._end.set()
        self._thread.join()
        now = resident_bytes()
        return max(self._peak, now), now

    def _watch(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._peak = max(self._peak, resident_bytes())


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM now."""
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device | str) -> int:
    """Return how much memory a device has left: free on CUDA, available to programs elsewhere."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available)


def _resident() -> _Kept | _Watched:
    try:
        _CLEAR.write_text("5")
        _high_water()
    except (OSError, StopIteration):
        return _Watched()
    return _Kept()


def _high_water() -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
