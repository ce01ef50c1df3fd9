import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.apparatus.arrivals import (
    Bracket,
    Span,
    goodput,
    n_late_allowed,
    percentile,
    poisson,
    search,
)


def test_arrivals_are_a_poisson_process():
    times = np.array(poisson(20_000, 50.0, seed=3))
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] <= times[-1] <= 400
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.01)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.03)
    counts = np.histogram(times, bins=400, range=(0, 400))[0]
    assert counts.var() == pytest.approx(50, rel=0.2)


def test_a_seed_gives_one_pattern_that_the_rate_stretches():
    slow, fast = poisson(50, 2.0, seed=1), poisson(50, 8.0, seed=1)
    assert slow == pytest.approx([4 * each for each in fast])
    assert poisson(50, 2.0, seed=2) != slow


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.01, 0.07, 0.5, 0.99, 1.0]))
def test_the_percentile_is_that_of_numpy(values, share):
    expected = np.percentile(values, share * 100, method="inverted_cdf")
    assert percentile(values, share) == pytest.approx(expected)


@given(st.integers(1, 500), st.sampled_from([0.5, 0.99]))
def test_so_many_may_be_late_and_one_more_may_not(n, share):
    n_late = n_late_allowed(n, share)
    assert percentile([0.0] * (n - n_late) + [1.0] * n_late, share) == 0
    assert percentile([0.0] * (n - n_late - 1) + [1.0] * (n_late + 1), share) == 1


def test_below_a_hundred_the_99th_percentile_allows_none_to_be_late():
    assert [n_late_allowed(n, 0.99) for n in (1, 99, 100, 199, 200)] == [0, 0, 1, 1, 2]


def test_a_request_counts_with_its_share_of_the_window():
    spans = [Span(0, 2), Span(4, 6), Span(-1, 1), Span(9, 11), Span(20, 30)]
    assert goodput(spans, 0, 10) == pytest.approx((1 + 1 + 0.5 + 0.5) / 10)


def test_bursts_do_not_depend_on_where_the_window_ends():
    bursts = [Span(float(k), k + 1.0) for k in range(20) for _ in range(32)]
    assert goodput(bursts, 2.0, 15.0) == pytest.approx(32)
    assert goodput(bursts, 2.3, 15.1) == pytest.approx(32)


@given(st.floats(0.05, 400), st.integers(1, 16))
def test_the_search_closes_in_on_the_limit(limit, n_points):
    tried = []

    def holds(rate):
        tried.append(rate)
        return rate <= limit

    found = search(holds, 100.0, n_points)
    assert len(tried) == n_points
    assert found.rate <= limit < found.failing
    assert {found.rate, found.failing} <= {0.0, math.inf, *tried}
    if n_points == 16:
        assert found.failing - found.rate <= 200 / 2**11


def test_where_no_rate_holds_the_search_says_so():
    assert search(lambda _: False, 8.0, 3) == Bracket(0.0, 2.0)
