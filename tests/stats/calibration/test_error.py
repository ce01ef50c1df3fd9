import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.calibration.corp import corp_curve, with_fewer_points
from glassbox.stats.calibration.error import (
    debiased_calibration_error,
    ece,
    ece_interval,
    mce,
    null_level,
    spiegelhalter,
)
from glassbox.stats.calibration.smooth_error import smooth_ece
from glassbox.stats.intervals import Interval, bootstrap_interval, clopper_pearson
from tests.stats.worlds import calibrated, outcomes, unchecked


@given(outcomes(), st.integers(1, 30), st.randoms(use_true_random=False))
def test_errors_are_bounded_and_blind_to_order(rows, n_bins, random):
    confidence, correct = rows
    order = list(range(len(correct)))
    random.shuffle(order)
    for error in (
        lambda c, r: ece(c, r, n_bins=n_bins),
        lambda c, r: mce(c, r, n_bins=n_bins).value,
        smooth_ece,
    ):
        value = error(confidence, correct)
        assert -1e-12 <= value <= 1 + 1e-12
        assert error(confidence[order], correct[order]) == pytest.approx(value, abs=1e-9)


@given(outcomes(), st.integers(1, 30))
def test_the_mean_gap_is_at_most_the_largest(rows, n_bins):
    confidence, correct = rows
    mean = ece(confidence, correct, n_bins=n_bins)
    assert mean <= mce(confidence, correct, n_bins=n_bins).value + 1e-9


@given(outcomes(), st.integers(1, 20))
def test_every_row_is_in_one_bin(rows, n_bins):
    confidence, correct = rows
    curve = reliability_curve(confidence, correct, n_bins=n_bins)
    assert curve.counts.sum() == confidence.size == curve.n_rows
    for low, high, mean in zip(curve.edges, curve.edges[1:], curve.mean_confidence, strict=False):
        assert np.isnan(mean) or low - 1e-12 <= mean <= high + 1e-12
    filled = curve.counts > 0
    assert (np.isnan(curve.accuracy) == ~filled).all()
    assert (curve.accuracy_low[filled] <= curve.accuracy[filled]).all()
    assert (curve.accuracy[filled] <= curve.accuracy_high[filled]).all()


def test_bins_are_right_closed_and_the_first_holds_zero():
    confidence = np.array([0.0, 0.2, 0.20001, 0.6, 1.0])
    curve = reliability_curve(confidence, np.ones(5, bool), n_bins=5)
    assert curve.counts.tolist() == [2, 1, 1, 0, 1]


def test_confidence_of_exactly_one_is_in_the_last_bin():
    assert ece(np.array([0.95, 1.0]), np.array([True, False]), n_bins=10) == pytest.approx(0.475)


def test_equal_mass_bins_keep_ties_together():
    confidence = np.repeat([0.5, 0.6], [3, 6])
    labels = np.array([0, 1, 0, 1, 1, 1, 1, 1, 0], bool)
    curve = reliability_curve(confidence, labels, n_bins=3, binning="equal-mass")
    assert curve.counts.tolist() == [3, 6]


def test_two_discrete_levels_by_hand():
    confidence = np.array([0.5, 0.5, 0.5, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6])
    correct = np.array([0, 1, 0, 1, 0, 1, 1, 1, 0], bool)
    assert ece(confidence, correct, n_bins=10) == pytest.approx(2 / 9)


def test_two_bins_by_hand():
    confidence = np.array([0.25, 0.25, 0.55, 0.75, 0.75])
    correct = np.array([0, 0, 1, 1, 1], bool)
    assert ece(confidence, correct, n_bins=2) == pytest.approx(0.29)
    worst = mce(confidence, correct, n_bins=2)
    assert worst.value == pytest.approx(0.3167, abs=5e-5)
    assert (worst.bin_low, worst.bin_high, worst.n_rows) == (0.5, 1.0, 3)


def test_multiclass_by_hand():
    label_probs = np.array(
        [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]]
    )
    correct = label_probs.argmax(axis=1) == np.array([0, 1, 2, 0])
    confidence = label_probs.max(axis=1)
    assert ece(confidence, correct, n_bins=3) == pytest.approx(0.2)
    assert mce(confidence, correct, n_bins=3).value == pytest.approx(0.2333, abs=5e-5)


def test_smooth_error_of_overconfidence_is_its_mean_gap():
    confidence = np.repeat([1.0, 0.6], [900, 100])
    correct = np.concatenate([np.arange(900) >= 10, np.arange(100) >= 60])
    assert smooth_ece(confidence, correct) == pytest.approx(0.03, abs=1e-6)


@pytest.mark.parametrize("certainty", [0.0, 1.0])
def test_smooth_error_of_certainty_is_the_share_of_surprises_however_few(certainty):
    """One of 20,000 is far less than a cell of the grid, and the rows lie at its very end."""
    right = np.full(20_000, certainty == 1)
    right[0] = not right[0]
    assert smooth_ece(np.full(20_000, certainty), right) == pytest.approx(1 / 20_000, rel=0.05)


def test_mce_says_how_thin_its_bin_is():
    confidence, correct = np.repeat([0.1, 0.9], [1, 20]), np.ones(21, bool)
    assert mce(confidence, correct).n_rows == 1


def test_debiased_errors_of_calibrated_models():
    plugin, debiased = [], []
    for seed in range(40):
        confidence, correct = calibrated(1000, seed, 5, 1.5)
        curve = reliability_curve(confidence, correct, binning="equal-mass")
        gap = np.abs(curve.accuracy - curve.mean_confidence)
        plugin.append(curve.counts @ gap / curve.n_rows)
        debiased.append(debiased_calibration_error(confidence, correct))
    assert np.mean(debiased) < 0.85 * np.mean(plugin)


def test_folded_normal_mean_equals_simulation():
    confidence, correct = calibrated(600, 3, 5, 1.5)
    curve = reliability_curve(confidence, correct, binning="equal-mass")
    rng = np.random.default_rng(0)
    spread = np.sqrt(curve.accuracy * (1 - curve.accuracy) / curve.counts)
    drawn = rng.normal(curve.accuracy, spread, (200_000, spread.size))
    weight = curve.counts / curve.n_rows
    plugin = weight @ np.abs(curve.accuracy - curve.mean_confidence)
    simulated = 2 * plugin - (np.abs(drawn - curve.mean_confidence) @ weight).mean()
    assert debiased_calibration_error(confidence, correct) == pytest.approx(simulated, abs=1e-4)


def test_null_level_of_the_published_table():
    levels = [null_level(calibrated(1000, s, 5, 1.5)[0], n_draws=200) for s in range(5)]
    assert np.mean([level.mean for level in levels]) == pytest.approx(0.031, abs=0.0015)
    assert np.mean([level.quantile_95 for level in levels]) == pytest.approx(0.044, abs=0.003)
    assert levels[0].p_value is None


def test_consistency_resampling_p_value_is_uniform_under_calibration():
    found = [null_level(*calibrated(300, s), n_draws=99, seed=s).p_value for s in range(200)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.07)
    confidence, correct = calibrated(300, 1)
    assert null_level(np.sqrt(np.sqrt(confidence)), correct).p_value < 0.01


def test_null_level_is_seeded():
    confidence, correct = calibrated(200, 1)
    assert null_level(confidence, correct, seed=4) == null_level(confidence, correct, seed=4)
    assert null_level(confidence, correct, seed=4) != null_level(confidence, correct, seed=5)


def test_ece_interval_contains_its_estimate_and_is_seeded():
    confidence, correct = calibrated(500, 2, 5, 1.5)
    interval = ece_interval(confidence**2, correct)
    assert interval.estimate == pytest.approx(ece(confidence**2, correct))
    assert interval.low <= interval.estimate <= interval.high
    assert interval == ece_interval(confidence**2, correct)


SURE = {
    "spread": lambda draw, n: 0.5 + 0.5 * draw.beta(4, 0.8, n),
    "tied": lambda draw, n: draw.choice([0.62, 0.81, 0.93, 0.985], n),
    "saturated": lambda draw, n: np.where(draw.random(n) < 0.6, 1 - 1e-6, draw.uniform(0.5, 1, n)),
    "one bin": lambda draw, n: np.full(n, 0.9999),
}


@pytest.mark.parametrize("excess", [0.0, 0.03, 0.1], ids="over-confident by {}".format)
@pytest.mark.parametrize("n_rows", [50, 1_000])
@pytest.mark.parametrize("kind", SURE)
def test_each_end_of_the_ece_interval_misses_the_truth_as_seldom_as_it_says(kind, n_rows, excess):
    draw = np.random.default_rng(n_rows)
    many = SURE[kind](draw, 400_000)
    in_bins = np.bincount(
        np.ceil(many * 15).astype(int), weights=np.clip(many - excess, 0, 1) - many
    )
    truth = np.abs(in_bins).sum() / many.size
    n_too_high = n_too_low = 0
    for _ in range(200):
        confidence = SURE[kind](draw, n_rows)
        correct = draw.random(n_rows) < confidence - excess
        interval = ece_interval(confidence, correct, n_draws=1_000)
        n_too_high += interval.low > truth + 1e-4
        n_too_low += interval.high < truth - 1e-4
    # One in forty of 200, and three standard deviations of that.
    assert max(n_too_high, n_too_low) <= 5 + 3 * np.sqrt(5)


def test_ece_interval_of_a_plain_gap_is_as_narrow_as_a_bootstrap():
    confidence = np.random.default_rng(1).uniform(0.6, 1, 3_000)
    correct = np.random.default_rng(2).random(3_000) < confidence - 0.3
    resampled = bootstrap_interval(
        lambda rows: np.array([ece(confidence[each], correct[each]) for each in rows]), 3_000
    )
    interval = ece_interval(confidence, correct)
    assert (interval.low, interval.high) == pytest.approx((resampled.low, resampled.high), abs=2e-3)


def test_ece_interval_knows_what_no_error_leaves_open():
    ones = np.ones(10)
    assert ece_interval(ones, ones > 0).high == pytest.approx(clopper_pearson(0, 10)[1])
    assert ece_interval(ones, ones < 0) == Interval(1.0, 1.0, 1.0, 0.95)


def test_spiegelhalter_published_example_and_degenerate_cases():
    confidence = np.array([0.8, 0.3, 0.5, 0.5, 0.7, 0.1])
    found = spiegelhalter(confidence, np.array([1, 0, 1, 0, 1, 0]) > 0)
    # The published p-value is that of the upper tail alone.
    assert norm.sf(found.z) == pytest.approx(0.8486, abs=5e-5)
    assert found.p_value == pytest.approx(2 * (1 - 0.8486), abs=1e-4)
    certain = np.ones(3)
    assert spiegelhalter(certain, np.ones(3, bool)).p_value == 1
    assert spiegelhalter(certain, np.array([True, True, False])).p_value == 0


@given(outcomes())
def test_corp_curve_is_monotone_and_keeps_the_mean(rows):
    curve = corp_curve(*rows)
    assert (np.diff(curve.accuracy) >= 0).all()
    assert curve.counts @ curve.accuracy == pytest.approx(rows[1].sum(), abs=1e-6)
    assert ((curve.accuracy >= 0) & (curve.accuracy <= 1)).all()


@given(outcomes())
def test_the_ends_of_level_stretches_are_the_same_steps(rows):
    curve = corp_curve(*rows)
    short = with_fewer_points(curve, 1)
    assert set(short.confidence) <= set(curve.confidence)
    assert short.n_rows == curve.n_rows
    drawn = np.interp(curve.confidence, short.confidence, short.accuracy)
    np.testing.assert_array_equal(drawn, curve.accuracy)
    n_steps = np.unique(curve.accuracy).size
    assert short.confidence.size <= 2 * n_steps
    assert with_fewer_points(curve, curve.confidence.size) is curve


def test_bands_hold_calibrated_models_and_not_others():
    inside = []
    for seed in range(30):
        confidence, correct = calibrated(800, seed, 3, 1.5)
        band = binned_band(confidence, n_bins=10, n_draws=300)
        curve = reliability_curve(confidence, correct, n_bins=10)
        accuracy = curve.accuracy[curve.counts > 0]
        inside.append(((band.low <= accuracy) & (accuracy <= band.high)).mean())
    assert np.mean(inside) == pytest.approx(0.92, abs=0.05)
    confidence, correct = calibrated(2000, 1, 3, 1.5)
    sure = np.sqrt(confidence)
    curve, band = reliability_curve(sure, correct), binned_band(sure, n_draws=200)
    filled = curve.counts > 0
    below = curve.counts[filled] @ (curve.accuracy[filled] < band.low)
    assert below / curve.n_rows > 0.9


def test_bands_of_one_confidence():
    band = binned_band(np.full(50, 0.8))
    assert band.confidence == pytest.approx([0.8])
    assert band.low <= 0.8 <= band.high


@pytest.mark.parametrize(
    ("confidence", "correct", "match"),
    [
        ([0.5, np.nan], [True, True], "row 1 .* is nan"),
        ([0.5, 1.5], [True, True], r"fractions in \[0, 1\]; row 1"),
        ([-0.1, 0.5], [True, True], "row 0"),
        ([0.5, 0.5], [True], r"shape \(1,\)"),
    ],
)
def test_bad_rows_are_refused(confidence, correct, match):
    with pytest.raises(InvalidData, match=match):
        unchecked(ece)(np.array(confidence), np.array(correct))


def test_bad_arguments_are_refused():
    confidence, correct = calibrated(20, 0)
    with pytest.raises(NotEnoughData, match="there are 0"):
        ece(np.array([]), np.array([], bool))
    with pytest.raises(InvalidValue, match="n_bins is 0"):
        ece(confidence, correct, n_bins=0)
    with pytest.raises(NotEnoughData, match="at least 30 rows"):
        debiased_calibration_error(confidence, correct, n_bins=30)
    with pytest.raises(InvalidValue, match="level"):
        ece_interval(confidence, correct, level=1.0)
