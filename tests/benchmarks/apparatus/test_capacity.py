"""What the capacity benchmark makes of its measurements, without a server."""

import dataclasses

import numpy as np
import pytest

from benchmarks.apparatus.capacity import (
    IN_FLIGHT,
    Opened,
    Seen,
    compared,
    curves,
    sizes_of,
    with_sizes,
)
from benchmarks.apparatus.served import Reserved, Served
from glassbox.deploy.plan.simulator import simulate
from tests.deploy.plan.worlds import CAPACITY

WORKS = {
    "read": Served("read", "/r", (b"",) * 4, (40, 60, 80, 60), (0,) * 4),
    "write": Served("write", "/w", (b"",) * 4, (20,) * 4, (1, 15, 8, 8)),
}


def seen_rates():
    """Rates of a server that takes 2 ms for a token read and 20 ms for one written."""
    return {
        (name, k): [0.9 * rate, rate, 1.1 * rate]
        for name, rate in (("read", 1 / 0.12), ("write", 1 / 0.2))
        for k in IN_FLIGHT
    }


def test_the_curve_is_the_median_of_the_rounds():
    works = curves(WORKS, Seen(seen_rates(), {}))
    assert [point.in_flight for point in works["read"].points] == list(IN_FLIGHT)
    assert works["read"].points[0].rate == pytest.approx(1 / 0.12)
    assert works["write"].n_written == 8


def test_sizes_weigh_tokens_by_what_they_cost():
    works = curves(WORKS, Seen(seen_rates(), {}))
    capacity = with_sizes(dataclasses.replace(CAPACITY, works=works, compared=()), WORKS)
    assert sizes_of(capacity, [10], [2])[0] == pytest.approx(10 * 0.002 + 2 * 0.02)
    sizes = np.array([0.04, 0.04, 0.04, 0.04]) + 0.02 * np.array([1, 15, 8, 8])
    assert capacity.works["write"].size_cv == pytest.approx(sizes.std() / sizes.mean())


def test_a_server_that_is_its_own_model_is_off_by_nothing():
    works = curves(WORKS, Seen(seen_rates(), {}))
    capacity = dataclasses.replace(CAPACITY, works=works, compared=())
    due = np.cumsum(np.random.default_rng(0).exponential(0.3, (1, 40)))[None]
    sent = Reserved(lambda _: None, [60] * 40, [0] * 40)
    times = (simulate(capacity.server(works["read"]), due, np.ones((1, 40))) - due).ravel()
    opened = Opened(3.3, due.ravel().tolist(), sent, times.tolist())
    (found,) = compared(capacity, Seen({}, {("read", 0.5): [opened]}))
    assert found.n == 40
    assert found.p50_error == pytest.approx(0, abs=1e-9)
    assert found.p99_error == pytest.approx(0, abs=1e-9)
