import threading
import time

import pytest

from benchmarks.apparatus.flights import Times, closed_loop, open_loop
from glassbox.errors import QueueFull
from tests.waiting import PATIENCE_S


class Timer:
    """A request that is answered after some seconds."""

    def __init__(self, seconds, on_end=lambda: None):
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.cancelled = False
        self.calls = [on_end]
        self.timer = threading.Timer(seconds, self.end)
        self.seconds = seconds
        self.timer.start()

    def end(self):
        with self.lock:
            self.ended.set()
            calls, self.calls = self.calls, []
        for call in calls:
            call()

    def times(self):
        assert self.ended.wait(PATIENCE_S)
        return Times(0.0, self.seconds / 2)

    def cancel(self):
        self.cancelled = True
        self.timer.cancel()
        self.end()

    def when_done(self, call):
        # It may have ended already, like a real request that is answered at once.
        with self.lock:
            if not self.ended.is_set():
                self.calls.append(call)
                return
        call()


def test_an_open_loop_does_not_wait_for_answers():
    seen = open_loop(lambda _: Timer(0.2), [0.0, 0.01, 0.02, 0.03])
    assert seen.in_time
    assert seen.n_shed == 0
    sent = [each.sent_s - seen.begun_s for each in seen.flown]
    assert sent == pytest.approx([0.0, 0.01, 0.02, 0.03], abs=0.05)
    for each in seen.flown:
        assert each.latency_s >= 0.2
        assert each.due_s <= each.sent_s <= each.first_s <= each.done_s


def test_times_count_from_when_a_request_was_due():
    def slow_to_send(_):
        time.sleep(0.1)
        return Timer(0.01)

    seen = open_loop(slow_to_send, [0.0, 0.0, 0.0])
    assert seen.flown[2].latency_s >= 0.3


def test_shed_requests_are_counted_and_the_others_answered():
    def start(index):
        if index % 2:
            raise QueueFull(3, 1.0)
        return Timer(0.01)

    seen = open_loop(start, [0.0] * 6)
    assert (len(seen.flown), seen.n_shed) == (3, 3)
    assert not open_loop(start, [0.0] * 6, limit_s=5.0, share=0.99).in_time


def test_the_rest_is_given_up_once_too_many_are_late():
    sent = []

    def start(_):
        sent.append(Timer(30.0))
        return sent[-1]

    begun = time.perf_counter()
    seen = open_loop(start, [0.0, 0.0, 20.0], limit_s=0.05, share=0.99)
    assert time.perf_counter() - begun < 5
    assert not seen.in_time
    assert seen.flown == ()
    assert len(sent) == 2
    assert all(each.cancelled for each in sent)


def test_a_few_late_ones_are_allowed():
    seen = open_loop(
        lambda index: Timer(3.0 if index == 0 else 0.001), [0.0] * 10, limit_s=2.0, share=0.9
    )
    assert seen.in_time
    assert len(seen.flown) == 10


def test_a_closed_loop_keeps_so_many_under_way():
    lock, now, most = threading.Lock(), [0], [0]

    def leave():
        with lock:
            now[0] -= 1

    def start(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        return Timer(0.01, leave)

    assert len(closed_loop(start, 20, 4)) == 20
    assert most[0] == 4
