"""The lanes agree with one event at a time, and both with what is known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.deploy.plan.one_by_one import simulate_one_by_one
from glassbox.deploy.plan.simulator import ServerModel, simulate
from glassbox.deploy.plan.sizes import draw_sizes
from glassbox.errors import InvalidValue


def poisson(n_lanes: int, n: int, rate: float, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, (n_lanes, n)), axis=1)


def one_by_one(server, arrivals, sizes):
    """The slow way over the same lanes: one fleet, every request sent to its own lane."""
    n_lanes, n = arrivals.shape
    due = arrivals.ravel()
    order = np.argsort(due, kind="stable")
    order = order[np.isfinite(due[order])]
    done = simulate_one_by_one(
        server,
        n_lanes,
        due[order].tolist(),
        sizes.ravel()[order].tolist(),
        routing="given",
        servers=(order // n).tolist(),
    )
    found = np.full(due.shape, np.nan)
    found[order] = done
    return found.reshape(arrivals.shape)


@given(
    n_rows=st.integers(1, 12),
    n_waiting=st.integers(0, 6),
    load=st.floats(0.1, 3.0),
    seed=st.integers(0, 10_000),
    is_even=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_lanes_agree_with_one_event_at_a_time(n_rows, n_waiting, load, seed, is_even):
    draw = np.random.default_rng(seed)
    speeds = np.sort(draw.uniform(0.2, 3.0, n_rows))[::-1].copy()
    server = ServerModel(speeds, n_waiting)
    arrivals = poisson(3, 40, load * server.peak_rate, seed)
    arrivals[1, 25:] = np.inf
    sizes = np.ones(arrivals.shape) if is_even else draw.exponential(1.0, arrivals.shape)
    fast, slow = simulate(server, arrivals, sizes), one_by_one(server, arrivals, sizes)
    assert np.array_equal(np.isnan(fast), np.isnan(slow))
    assert np.allclose(fast, slow, rtol=0, atol=1e-9, equal_nan=True)


def test_requests_at_the_same_moment_are_all_answered():
    server = ServerModel(np.array([1.0, 0.5]), 8)
    done = simulate(server, np.zeros((2, 5)), np.ones((2, 5)))
    # Two share the server for two seconds, then two more, then one has it alone.
    assert np.allclose(np.sort(done, axis=1), [[2, 2, 4, 4, 5]] * 2)


@pytest.mark.parametrize(("n_servers", "load"), [(1, 0.7), (3, 0.8), (8, 0.6)])
def test_times_of_several_servers_with_one_line_are_those_of_erlang(n_servers, load):
    """M/M/c: a constant speed for up to c requests at a time is c servers with one line.

    Source: Erlang C and its waiting time, Gross and others, *Fundamentals of Queueing Theory*
    (2008), section 2.3.
    """
    offered = load * n_servers
    terms = [offered**k / math.factorial(k) for k in range(n_servers)]
    last = offered**n_servers / math.factorial(n_servers) / (1 - load)
    waits = last / (sum(terms) + last)
    expected = 1 + waits / (n_servers - offered)
    arrivals = poisson(400, 1500, offered, seed=3)
    sizes = np.random.default_rng(4).exponential(1.0, arrivals.shape)
    server = ServerModel(np.ones(n_servers), 10_000)
    times = (simulate(server, arrivals, sizes) - arrivals)[:, 300:]
    by_lane = times.mean(axis=1)
    error = by_lane.std() / math.sqrt(len(by_lane))
    assert abs(times.mean() - expected) < 4 * error


def test_mean_time_of_equal_requests_one_after_another_is_that_of_pollaczek_and_khinchine():
    """M/D/1. Source: Gross and others (2008), section 5.1: 1 + rho / (2 (1 - rho))."""
    load = 0.75
    arrivals = poisson(400, 1500, load, seed=5)
    times = simulate(ServerModel(np.ones(1), 10_000), arrivals, np.ones(arrivals.shape)) - arrivals
    by_lane = times[:, 300:].mean(axis=1)
    expected = 1 + load / (2 * (1 - load))
    assert abs(by_lane.mean() - expected) < 4 * by_lane.std() / math.sqrt(len(by_lane))


@pytest.mark.parametrize("cv", [0.0, 1.5])
def test_a_shared_server_gives_the_same_mean_time_however_unequal_requests_are(cv):
    """M/G/1 with processor sharing: 1 / (1 - rho), whatever the sizes' law.

    Source: Kleinrock, *Queueing Systems* 2 (1976), section 4.4.
    """
    load, n_rows = 0.6, 60
    server = ServerModel(1 / np.arange(1, n_rows + 1), 10_000)
    arrivals = poisson(300, 1200, load, seed=6)
    sizes = draw_sizes(np.random.default_rng(7), cv, arrivals.shape)
    by_lane = (simulate(server, arrivals, sizes) - arrivals)[:, 300:].mean(axis=1)
    assert abs(by_lane.mean() - 1 / (1 - load)) < 4 * by_lane.std() / math.sqrt(len(by_lane))


def test_those_for_whom_no_place_is_left_are_turned_away_at_erlangs_rate():
    """M/M/c/c. Source: Erlang B, Gross and others (2008), section 2.5."""
    n, offered = 4, 3.0
    terms = [offered**k / math.factorial(k) for k in range(n + 1)]
    arrivals = poisson(300, 1200, offered, seed=8)
    sizes = np.random.default_rng(9).exponential(1.0, arrivals.shape)
    lost = np.isnan(simulate(ServerModel(np.ones(n), 0), arrivals, sizes)[:, 200:]).mean(axis=1)
    assert abs(lost.mean() - terms[-1] / sum(terms)) < 4 * lost.std() / math.sqrt(len(lost))


def test_sending_to_the_least_busy_never_leaves_one_idle_while_another_has_two():
    server = ServerModel(np.array([1.0, 0.5, 0.3]), 10)
    done = simulate_one_by_one(server, 3, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert done == [1.0, 1.0, 1.0]


def test_sending_to_the_least_busy_is_faster_than_sending_anywhere():
    server = ServerModel(np.ones(1), 10_000)
    arrivals = np.cumsum(np.random.default_rng(0).exponential(1 / 8, 8000)).tolist()
    sizes = [1.0] * len(arrivals)
    anywhere = np.random.default_rng(1).integers(10, size=len(arrivals)).tolist()
    least = np.array(simulate_one_by_one(server, 10, arrivals, sizes)) - arrivals
    given = simulate_one_by_one(server, 10, arrivals, sizes, routing="given", servers=anywhere)
    assert least.mean() < 0.7 * (np.array(given) - arrivals).mean()


def test_sizes_have_mean_one_and_the_variation_asked_for():
    sizes = draw_sizes(np.random.default_rng(0), 0.7, (400_000,))
    assert sizes.mean() == pytest.approx(1, abs=0.005)
    assert sizes.std() == pytest.approx(0.7, rel=0.02)
    assert (draw_sizes(np.random.default_rng(0), 0.0, (3,)) == 1).all()


@pytest.mark.parametrize("speeds", [[], [0.0], [1.0, -1.0], [np.nan]])
def test_a_server_without_speed_is_refused(speeds):
    with pytest.raises(InvalidValue, match="speeds"):
        ServerModel(np.array(speeds, dtype=float), 1)


def test_a_server_cannot_have_fewer_than_no_places():
    with pytest.raises(InvalidValue, match="n_waiting"):
        ServerModel(np.ones(1), -1)
