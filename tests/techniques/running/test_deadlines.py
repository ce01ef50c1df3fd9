"""The clock tells a run when its time is over, however far away other ends are."""

import time
from collections.abc import Callable

from glassbox.errors import DeadlineExceeded
from glassbox.techniques.running.deadlines import Clock
from glassbox.techniques.running.stopping import StopSign
from tests.waiting import PATIENCE_S


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something, with long patience."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_an_end_beyond_all_time_does_not_stop_the_clock() -> None:
    clock, first, second = Clock(), StopSign(), StopSign()
    try:
        clock.begin(first, 1e300)
        until(lambda: clock._wakes_s is not None)
        clock.end()
        clock.begin(second, 0.01)
        until(lambda: second.reason is not None)
        assert isinstance(second.reason, DeadlineExceeded)
        assert "longer than the 0.01 s" in str(second.reason)
        assert first.reason is None
    finally:
        clock.close()
