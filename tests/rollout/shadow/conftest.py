import gc
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from glassbox.rollout.shadow import shadows
from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.settings.sections import RolloutSettings
from tests.rollout.shadow.lanes import ORIGIN, Following, Seen
from tests.waiting import PATIENCE_S


def _connections() -> dict[str, str]:
    """Return each open pipe, socket or the like by its number: what leads to other processes.

    Files are left out: any library may open one, once and for good, while these tests run.
    """
    found = {}
    for each in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            if not (target := each.readlink()).is_absolute():
                found[each.name] = str(target)
    return found


def _children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fails if processes, zombies, threads or file descriptors are left behind."""
    gc.collect()
    before, threads, children = _connections(), set(threading.enumerate()), _children()

    def left() -> tuple[list[object], ...]:
        opened = [each for each in _connections().items() if each not in before.items()]
        return (
            sorted(_children() - children),
            [each for each in threading.enumerate() if each not in threads],
            opened,
        )

    yield
    until = time.monotonic() + PATIENCE_S
    while any(left()) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.02)
    assert left() == ([], [], []), psutil.Process().net_connections("all")


@pytest.fixture
def _quick(monkeypatch):
    """One that yields to all else takes seconds to start where other tests keep the machine busy.

    That they yield is seen in ``test_process.py`` and ``test_isolation.py``.
    """
    monkeypatch.setattr(shadows, "ChildLimits", partial(ChildLimits, yields=False))


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def make(seen, _quick):
    made = []

    def build(*, on_event=None, again=None, in_engine=None, **settings):
        values = {"noise_floor": 0.0, "shadow_timeout_s": 10.0, **settings}
        following = Following(
            ORIGIN, RolloutSettings(**values), on_event or seen, again=again, in_engine=in_engine
        )
        made.append(following)
        return following

    yield build
    for each in made:
        each.close()
