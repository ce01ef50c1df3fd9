import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from glassbox.errors import InvalidData
from glassbox.stats.intervals import (
    bootstrap_interval,
    clopper_pearson,
    clopper_pearson_upper,
    mcnemar,
    paired_difference,
    paired_share_difference,
    proportion_interval,
    wilson,
)
from tests.stats.worlds import unchecked


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.sampled_from([0.8, 0.9, 0.95]))
def test_clopper_pearson_covers(n_rows, rate, level):
    events = np.arange(n_rows + 1)
    weight = binom.pmf(events, n_rows, rate)
    low, high = clopper_pearson(events, n_rows, level=level)
    assert weight @ ((low <= rate) & (rate <= high)) >= level - 1e-9
    assert weight @ (rate <= clopper_pearson_upper(events, n_rows, level=level)) >= level - 1e-9
    wilson_low, wilson_high = wilson(events, n_rows, level=level)
    assert (wilson_high - wilson_low <= high - low + 0.02).all()


def test_intervals_equal_scipy_and_stand_without_rows():
    exact = binomtest(7, 50)
    low, high = clopper_pearson(7, 50)
    assert (low, high) == pytest.approx(tuple(exact.proportion_ci(0.95, "exact")))
    assert wilson(7, 50) == pytest.approx(tuple(exact.proportion_ci(0.95, "wilson")))
    assert tuple(map(float, clopper_pearson(0, 0))) == (0, 1)
    assert tuple(map(float, wilson(0, 0))) == (0, 1)
    interval = proportion_interval(np.arange(50) < 7)
    assert (interval.estimate, interval.low) == pytest.approx((0.14, float(low)))
    with pytest.raises(InvalidData, match="n_events <= n_rows"):
        clopper_pearson(3, 2)


def test_bootstrap_and_paired_difference():
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    interval = bootstrap_interval(lambda rows: values[rows].mean(axis=1), 400)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    gain = paired_difference(values, values + 0.1)
    assert (gain.low, gain.high) == pytest.approx((0.1, 0.1))
    with pytest.raises(InvalidData, match="paired"):
        unchecked(paired_difference)(values, values[:10])


def agreeing_but_for(n: int, n_lost: int, n_won: int) -> tuple[np.ndarray, np.ndarray]:
    """Two models that are right on every row but some of the one or the other."""
    first, second = np.ones((2, n), dtype=bool)
    second[:n_lost] = False
    first[n_lost : n_lost + n_won] = False
    return first, second


def test_a_difference_of_shares_by_hand():
    found = paired_share_difference(*agreeing_but_for(98, 4, 14))
    assert found.estimate == pytest.approx(0.10 * 100 / 98)
    half = 1.959964 * np.sqrt((0.15 + 0.05 - 0.1**2) / 100)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_a_difference_of_shares_is_never_a_point(n, n_lost, n_won):
    n_lost = min(n_lost, n)
    n_won = min(n_won, n - n_lost)
    found = paired_share_difference(*agreeing_but_for(n, n_lost, n_won))
    assert -1 <= found.low < found.high <= 1
    assert found.low - 1e-12 <= found.estimate <= found.high + 1e-12
    turned = paired_share_difference(*agreeing_but_for(n, n_won, n_lost))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("shares", [(0.0, 0.01), (0.0, 0.03), (0.01, 0.01), (0.02, 0.05)])
@pytest.mark.parametrize("n", [50, 100])
def test_a_difference_of_shares_covers_as_often_as_it_says_where_few_rows_differ(n, shares):
    """Exact: over every number of rows that the one or the other model may win."""
    outside = 0.0
    for n_lost in range(15 if shares[0] else 1):
        for n_won in range(20):
            found = paired_share_difference(*agreeing_but_for(n, n_lost, n_won))
            counts = [n_lost, n_won, n - n_lost - n_won]
            prob = multinomial.pmf(counts, n, [*shares, 1 - sum(shares)])
            outside += prob * (not found.low <= shares[1] - shares[0] <= found.high)
    assert outside < 0.055


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_is_a_fair_coin_on_the_rows_that_one_alone_got_right(pairs):
    first, second = np.array(pairs).T
    found = mcnemar(first, second)
    counts = (pairs.count((True, False)), pairs.count((False, True)))
    assert (found.n_first_only, found.n_second_only) == counts
    exact = binomtest(counts[0], sum(counts)).pvalue if sum(counts) else 1.0
    assert found.p_value == pytest.approx(exact)
