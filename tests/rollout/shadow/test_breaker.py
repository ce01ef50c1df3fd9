import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.rollout.shadow.breaker import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    TRIPS_AT,
    CircuitBreaker,
)


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def opened(clock):
    breaker = CircuitBreaker(clock)
    for _ in range(int(TRIPS_AT)):
        assert breaker.circuit == "closed"
        breaker.failed()
    return breaker


def test_failures_in_a_row_open_it(clock):
    breaker = opened(clock)
    assert breaker.circuit == "open"
    assert breaker.open_for_s == FIRST_PAUSE_S


def test_one_failure_can_be_enough(clock):
    breaker = CircuitBreaker(clock)
    breaker.failed(at_once=True)
    assert breaker.circuit == "open"


def test_after_the_pause_one_trial_decides(clock):
    breaker = opened(clock)
    clock.now_s += FIRST_PAUSE_S
    assert breaker.circuit == "half_open"
    breaker.succeeded()
    assert breaker.circuit == "closed"
    breaker.failed()
    assert breaker.circuit == "closed", "it starts afresh"


def test_the_pause_doubles_with_each_trial_that_fails_up_to_a_limit(clock):
    breaker = opened(clock)
    pauses = []
    for _ in range(10):
        pauses.append(breaker.open_for_s)
        clock.now_s += breaker.open_for_s
        breaker.failed()
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert max(pauses) == LONGEST_PAUSE_S


@given(st.integers(2, 30))
def test_more_than_one_failure_in_five_opens_it_in_the_end(period):
    breaker = CircuitBreaker(Clock())
    for place in range(400):
        if breaker.circuit == "open":
            break
        if place % period:
            breaker.succeeded()
        else:
            breaker.failed()
    assert (breaker.circuit == "open") == (period < 5)


@given(st.lists(st.sampled_from(["failed", "succeeded", "wait"]), max_size=60))
def test_it_is_never_open_without_an_end(steps):
    clock = Clock()
    breaker = CircuitBreaker(clock)
    for step in steps:
        if step == "wait":
            clock.now_s += 0.7
        else:
            getattr(breaker, step)()
        assert 0.0 <= breaker.open_for_s <= LONGEST_PAUSE_S
        assert (breaker.circuit == "open") == (breaker.open_for_s > 0.0)
    clock.now_s += LONGEST_PAUSE_S
    assert breaker.circuit != "open"
