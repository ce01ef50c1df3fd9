"""Bounds that hold at every look: laws, slow obvious versions, and what simulation says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue
from glassbox.stats.intervals import clopper_pearson
from glassbox.stats.sequential.differences import difference_bounds, difference_p_values
from glassbox.stats.sequential.means import (
    LOG_WEIGHTS,
    STAKES,
    BoundedMean,
    mean_bounds,
    normal_mixture_radius,
)

VALUES = st.lists(st.floats(-1.0, 1.0, allow_nan=False), min_size=1, max_size=60)


def tally_of(values, high=1.0, *, is_signed=True):
    tally = BoundedMean(high, is_signed=is_signed)
    tally.extend(values)
    return tally


def slow_coins(values, mean, high):
    """One gambler per stake, one observation after the other."""
    coins = np.exp(LOG_WEIGHTS)
    for value in values:
        coins = coins * (1 + STAKES * (mean - value) / (high - mean))
    return math.log(coins.sum())


@given(VALUES, st.floats(-0.9, 0.9))
def test_coins_are_those_of_a_gambler_who_plays_on_and_never_more(values, mean):
    coins = tally_of(values).log_coins_below(np.array([mean]))[0]
    assert coins <= slow_coins(values, mean, 1.0) + 1e-9
    above = tally_of(values).log_coins_above(np.array([mean]))[0]
    assert above <= slow_coins([-value for value in values], -mean, 1.0) + 1e-9


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60), st.floats(-0.9, 0.9))
def test_coins_are_exact_where_observations_are_errors(values, mean):
    coins = tally_of(values).log_coins_below(np.array([mean]))[0]
    assert coins == pytest.approx(slow_coins(values, mean, 1.0), abs=1e-9)


@given(VALUES)
def test_the_mean_is_exact_and_inside_its_bounds(values):
    tally = tally_of(values)
    assert tally.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert tally.variance == pytest.approx(np.var(values), abs=1e-9)
    bounds = mean_bounds(tally, 0.05, 0.05)
    assert -1 - 1e-9 <= bounds.low <= tally.mean + 1e-4
    assert tally.mean - 1e-4 <= bounds.high <= 1 + 1e-9


@given(VALUES, st.randoms())
def test_neither_order_nor_a_break_changes_a_tally(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    middle = len(values) // 2
    kept = BoundedMean.from_json(tally_of(shuffled[:middle]).to_json())
    kept.extend(shuffled[middle:])
    assert kept.upper(0.05) == pytest.approx(tally_of(values).upper(0.05), abs=1e-6)


@given(VALUES)
def test_coins_grow_with_the_claim_and_bend_upwards(values):
    grid = np.linspace(-0.95, 0.95, 41)
    coins = tally_of(values).log_coins_below(grid)
    assert (np.diff(coins) >= -1e-9).all()
    assert (np.diff(coins, 2) >= -1e-7 * (1 + np.abs(coins[1:-1]))).all()


@given(VALUES, st.floats(0.01, 0.4))
def test_a_stricter_promise_is_a_wider_range(values, alpha):
    tally = tally_of(values)
    assert tally.upper(alpha / 2) >= tally.upper(alpha) - 1e-9
    assert tally.lower(alpha / 2) <= tally.lower(alpha) + 1e-9


@given(VALUES)
def test_the_two_sides_mirror_each_other(values):
    mirrored = tally_of([-value for value in values])
    assert tally_of(values).lower(0.05) == pytest.approx(-mirrored.upper(0.05), abs=1e-6)


@settings(max_examples=30)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40),
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40),
    st.floats(-0.8, 0.8),
)
def test_the_smallest_product_is_found(first, second, difference):
    one, two = tally_of(first, is_signed=False), tally_of(second, is_signed=False)
    grid = np.linspace(0.0, 1.0, 2001)
    products = one.log_coins_below(grid + difference) + two.log_coins_above(grid)
    found = -math.log(difference_p_values(one, two, difference)[0])
    assert found <= max(float(products.min()), 0.0) + 1e-9
    assert found >= max(float(products.min()), 0.0) - 0.05


def test_a_second_mean_that_is_known_costs_little():
    rng = np.random.default_rng(1)
    first = tally_of(rng.beta(0.3, 9.7, size=800), is_signed=False)
    alone = mean_bounds(first, 0.05, 0.05)
    nothing = difference_bounds(first, BoundedMean(), 0.05, 0.05, second_at_most=0.0)
    assert nothing.high == pytest.approx(alone.high, abs=1e-3)
    assert nothing.low == pytest.approx(alone.low, abs=1e-3)
    silent = difference_bounds(first, tally_of([0.0] * 5000, is_signed=False), 0.05, 0.05)
    assert silent.high == pytest.approx(alone.high, abs=4e-3)
    assert silent.low == pytest.approx(alone.low, abs=5e-3)


def test_without_a_second_sample_only_what_is_known_of_it_counts():
    first = tally_of([0.6] * 300, is_signed=False)
    unknown = difference_bounds(first, BoundedMean(), 0.05, 0.05)
    capped = difference_bounds(first, BoundedMean(), 0.05, 0.05, second_at_most=0.2)
    assert unknown.low < 0.0 < 0.3 < capped.low < 0.4
    assert capped.high == pytest.approx(unknown.high, abs=1e-3)


def watched(draw, mean, *, high, n_streams=400, n=800, alpha=0.05):
    """Streams whose bound ever excludes the truth, looked at after every observation."""
    rng = np.random.default_rng(3)
    values = draw(rng, (n_streams, n))
    coins = np.full(values.shape, -np.inf)
    for stake, weight in zip(STAKES, LOG_WEIGHTS, strict=True):
        won = np.cumsum(np.log1p(stake * (mean - values) / (high - mean)), axis=1)
        np.logaddexp(coins, won + weight, out=coins)
    return int((coins >= math.log(1 / alpha)).any(axis=1).sum())


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, shape: (rng.random(shape) < 0.05).astype(float), 0.05),
        (lambda rng, shape: rng.beta(0.1, 1.9, size=shape), 0.05),
        (lambda rng, shape: 1.0 * (rng.random(shape) < 0.03) - (rng.random(shape) < 0.02), 0.01),
        (lambda rng, shape: (rng.random(shape) < 0.5).astype(float), 0.5),
    ],
)
def test_the_truth_is_excluded_at_any_look_at_most_as_often_as_promised(draw, mean):
    n_excluded = watched(draw, mean, high=1.0)
    # Within what 400 streams can tell apart: 5 % is not refused at 1 %.
    assert clopper_pearson(n_excluded, 400, level=0.98)[0] <= 0.05


def test_a_z_test_that_is_watched_does_not_keep_that_promise():
    rng = np.random.default_rng(3)
    values = (rng.random((400, 800)) < 0.5).astype(float)
    n = np.arange(1, 801)
    mean = np.cumsum(values, axis=1) / n
    error = np.sqrt(np.maximum(mean * (1 - mean), 1e-9) / n)
    ever = ((mean + 1.645 * error < 0.5) & (n >= 30)).any(axis=1)
    assert ever.mean() > 0.2


def test_bounds_close_in_on_the_truth():
    rng = np.random.default_rng(5)
    tally = BoundedMean()
    widths = []
    for n in (100, 1000, 10_000):
        tally.extend(rng.random(n - tally.n))
        bounds = mean_bounds(tally, 0.025, 0.025)
        assert bounds.low < 0.5 < bounds.high
        widths.append(bounds.high - bounds.low)
    assert widths[1] < widths[0] / 2
    assert widths[2] < widths[1] / 2


def test_the_normal_mixture_is_the_mixture_of_gaussian_coins():
    """Oracle: the coins against a sum, mixed over stakes by quadrature, reach 1/alpha there."""
    spread_for, variance, alpha = 300.0, 500.0, 0.05
    radius = normal_mixture_radius(variance, alpha=alpha, tuned_for=spread_for)
    spread = spread_for / (2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha)))
    stakes = np.linspace(-2, 2, 200_001)
    density = np.exp(-0.5 * stakes**2 * spread) * math.sqrt(spread / (2 * math.pi))
    coins = np.trapezoid(density * np.exp(stakes * radius - 0.5 * stakes**2 * variance), stakes)
    assert coins == pytest.approx(1 / alpha, rel=1e-6)


def test_the_normal_mixture_keeps_its_promise_on_gaussian_sums():
    sums = np.cumsum(np.random.default_rng(2).standard_normal((400, 2000)), axis=1)
    radii = [normal_mixture_radius(float(n), alpha=0.05, tuned_for=500.0) for n in range(1, 2001)]
    n_left = int((np.abs(sums) >= radii).any(axis=1).sum())
    assert clopper_pearson(n_left, 400, level=0.98)[0] <= 0.05


def test_what_is_no_observation_is_refused():
    with pytest.raises(InvalidData, match="NaN"):
        BoundedMean().add(math.nan)
    with pytest.raises(InvalidValue, match="high"):
        BoundedMean(0.0)
    with pytest.raises(InvalidValue, match="alpha"):
        BoundedMean().upper(0.0)
    with pytest.raises(CorruptArtifact, match="not readable"):
        BoundedMean.from_json({"high": 1.0})


def test_an_empty_tally_says_nothing():
    bounds = mean_bounds(BoundedMean(is_signed=True), 0.05, 0.05)
    assert math.isnan(bounds.value)
    assert (bounds.low, bounds.high) == pytest.approx((-1.0, 1.0))


def test_what_lies_beyond_the_range_counts_as_its_end():
    assert tally_of([7.0, -7.0, 1.0]).mean == pytest.approx(1 / 3)
