"""A day of a fleet: how much comes, what it feels, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.deploy.plan.day import percentiles, simulate_day
from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.traffic import DAY_S, Traffic
from glassbox.errors import InvalidValue


@given(users=st.floats(1, 1e8), requests=st.floats(0.01, 100), factor=st.floats(1, 2))
def test_a_day_holds_what_its_users_send(users, requests, factor):
    traffic = Traffic(users, requests, factor)
    rates = traffic.rates(np.arange(0, DAY_S, 10.0))
    assert rates.mean() * DAY_S == pytest.approx(users * requests, rel=1e-9)
    assert rates.max() == pytest.approx(traffic.peak_rate, rel=1e-6)
    assert rates.min() >= -1e-9 * traffic.peak_rate


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((0, 1, 1), "users"),
        ((1, -1, 1), "requests_per_user"),
        ((1, 1, 0.9), "peak_factor"),
        ((1, 1, 2.1), "peak_factor"),
        ((math.nan, 1, 1), "users"),
    ],
)
def test_traffic_that_makes_no_sense_is_refused(given, what):
    with pytest.raises(InvalidValue, match=what):
        Traffic(*given)


def test_every_request_of_the_day_is_simulated_and_the_busy_hours_are_slower():
    server = ServerModel(np.array([2.5]), 1000)
    traffic = Traffic(20_000, 17.28, 1.5)
    told = []
    day = simulate_day(server, 3, traffic, report=lambda *each: told.append(each))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == told[0][1]
    expected = traffic.users * traffic.requests_per_user
    assert abs(day.n_requests - expected) < 5 * math.sqrt(expected)
    assert day.n_turned_away == 0
    assert day.hours[15].p99_s > 2 * day.hours[3].p99_s
    assert day.hours[14].utilisation == pytest.approx(traffic.peak_rate / 7.5, rel=0.01)
    assert day.p50_s <= day.p99_s


def test_a_day_of_equal_rate_feels_what_one_long_run_feels():
    """M/D/1 by Lindley's recursion: another way to the same queue.

    Source: Lindley, "The theory of queues with a single server" (1952).
    """
    server = ServerModel(np.array([2.5]), 10_000)
    day = simulate_day(server, 4, Traffic(8 * 86_400, 1.0), seed=1)
    draw = np.random.default_rng(2)
    arrivals = np.cumsum(draw.exponential(1 / 2.0, 300_000))
    work = np.cumsum(np.full(len(arrivals), 0.4)) - 0.4
    waits = (work - arrivals) - np.minimum.accumulate(work - arrivals)
    p50, p99 = np.quantile(waits + 0.4, [0.5, 0.99])
    assert day.p50_s == pytest.approx(p50, rel=0.03)
    assert day.p99_s == pytest.approx(p99, rel=0.06)


def test_the_same_seed_gives_the_same_day():
    server = ServerModel(np.array([2.5]), 1000)
    first, second = (simulate_day(server, 2, Traffic(2e5, 1.0), seed=7) for _ in range(2))
    assert first == second


def test_a_fleet_that_cannot_keep_up_is_refused_with_the_number_that_can():
    server = ServerModel(np.array([2.5]), 10)
    with pytest.raises(InvalidValue, match="5 or more: 10 requests a second"):
        simulate_day(server, 4, Traffic(864_000, 1.0))


def test_percentiles_leave_out_those_turned_away():
    assert percentiles(np.array([1.0, np.nan, 3.0, 2.0])) == (2.0, 3.0)
    assert all(math.isnan(each) for each in percentiles(np.array([np.nan])))
