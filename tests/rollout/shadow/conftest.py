import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 10.0


def _fds() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def _children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fails if processes, zombies, threads or file descriptors are left behind."""
    gc.collect()
    fds, threads, children = _fds(), set(threading.enumerate()), _children()
    yield
    gc.collect()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and (
        _children() - children or set(threading.enumerate()) - threads or _fds() > fds
    ):
        time.sleep(0.02)
    assert not _children() - children
    assert not set(threading.enumerate()) - threads
    assert _fds() <= fds
