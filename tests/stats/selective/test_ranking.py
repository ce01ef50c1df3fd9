import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.calibration.proper_scoring import brier, brier_split, nll, top_label_brier
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
from glassbox.stats.selective.business import Costs, business_curve, business_figures
from glassbox.stats.selective.ranking import (
    auroc,
    coverage_at_risk,
    risk_coverage_curve,
    with_fewer_points,
)
from glassbox.stats.uncertainty.consistency import consistency_features
from tests.stats.worlds import calibrated, classified, outcomes, unchecked


@given(outcomes(), st.randoms(use_true_random=False))
def test_risk_coverage_is_bounded_and_blind_to_the_order_of_ties(rows, random):
    confidence, correct = rows
    order = list(range(correct.size))
    random.shuffle(order)
    curve = risk_coverage_curve(confidence, correct)
    again = risk_coverage_curve(confidence[order], correct[order])
    assert again.aurc == pytest.approx(curve.aurc, abs=1e-12)
    assert 0 <= curve.e_aurc <= curve.aurc + 1e-12
    assert curve.aurc <= 1
    assert 0 <= curve.augrc <= (~correct).mean() + 1e-12
    assert curve.risk[-1] == pytest.approx((~correct).mean())
    assert curve.coverage[-1] == 1
    assert (np.diff(curve.threshold) < 0).all()
    assert 0 <= coverage_at_risk(curve, 0.1) <= coverage_at_risk(curve, 0.3) <= 1
    assert coverage_at_risk(curve, 1.0) == 1


def test_a_long_curve_is_told_by_some_of_its_own_points():
    confidence, correct = calibrated(30_000, 3)
    whole = risk_coverage_curve(confidence, correct)
    kept = (coverage_at_risk(whole, 0.05), coverage_at_risk(whole, 0.1))
    short = with_fewer_points(whole, 2000, coverages=kept)
    assert whole.coverage.size > 20_000
    assert short.coverage.size <= 2002
    assert (short.aurc, short.e_aurc, short.augrc, short.n_rows) == (
        whole.aurc, whole.e_aurc, whole.augrc, whole.n_rows,
    )  # fmt: skip
    places = np.searchsorted(whole.coverage, short.coverage)
    for name in ("threshold", "coverage", "risk", "n_errors"):
        np.testing.assert_array_equal(getattr(short, name), getattr(whole, name)[places])
    assert (short.coverage[0], short.coverage[-1]) == (whole.coverage[0], 1)
    assert set(kept) <= set(short.coverage)
    # Between two points the risk of a share of rows can move by no more than their distance in it.
    drawn = np.interp(whole.coverage, short.coverage, short.risk)
    np.testing.assert_allclose(drawn, whole.risk, atol=0.012)


@given(outcomes())
def test_a_short_curve_stays_as_it_is(rows):
    curve = risk_coverage_curve(*rows)
    assert with_fewer_points(curve, max(4, curve.coverage.size)) is curve
    with pytest.raises(InvalidValue, match="an integer of at least 4"):
        with_fewer_points(curve, 3)


def test_aurc_is_the_mean_over_orders_of_ties():
    confidence, correct = np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, False, True, True])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        tail = rng.permutation(~correct[1:])
        found.append((np.cumsum([False, *tail]) / np.arange(1, 5)).mean())
    assert risk_coverage_curve(confidence, correct).aurc == pytest.approx(np.mean(found), abs=0.01)


@given(outcomes(min_size=2))
def test_auroc_equals_sklearn(rows):
    confidence, correct = rows
    if correct.all() or not correct.any():
        assert auroc(confidence, correct) is None
    else:
        assert auroc(confidence, correct) == pytest.approx(roc_auc_score(correct, confidence))


@given(outcomes())
def test_the_brier_split_adds_up(rows):
    split = brier_split(*rows)
    total = split.miscalibration - split.discrimination + split.uncertainty
    assert total == pytest.approx(split.brier, abs=1e-9)
    assert split.miscalibration + split.refinement == pytest.approx(split.brier, abs=1e-9)
    assert split.brier == pytest.approx(top_label_brier(*rows))
    assert 0 <= split.uncertainty <= 0.25


def test_proper_scores_equal_sklearn():
    label_probs, labels = classified(300, 3, 1, 2.0)
    assert nll(label_probs, labels) == pytest.approx(log_loss(labels, label_probs))
    expected = brier_score_loss(labels, label_probs, scale_by_half=False)
    assert brier(label_probs, labels) == pytest.approx(expected)
    impossible = nll(np.array([[1.0, 0.0]]), np.array([1]))
    assert impossible == pytest.approx(87.34, abs=0.01)


def test_bins_equal_sklearn():
    prob = np.array([0.1, 0.2, 0.3, 0.4, 0.65, 0.7, 0.8, 0.9, 1.0])
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    curve = reliability_curve(prob, truth > 0, n_bins=3)
    accuracy, confidence = calibration_curve(truth, prob, n_bins=3)
    assert curve.accuracy == pytest.approx(accuracy)
    assert curve.mean_confidence == pytest.approx(confidence)


@given(outcomes(), st.floats(0, 1))
def test_business_figures_add_up(rows, threshold):
    confidence, correct = rows
    costs = Costs(wrong_automated=10.0, human_review=2.0, automated=0.5)
    found = business_figures(confidence, correct, threshold, costs=costs)
    is_automated = confidence >= threshold
    assert found.n_automated == is_automated.sum()
    assert found.n_errors == (is_automated & ~correct).sum()
    spent = 0.5 * is_automated.sum() + 10 * found.n_errors + 2 * (~is_automated).sum()
    assert found.cost_per_decision == pytest.approx(spent / correct.size)
    assert found.errors_per_1000 == pytest.approx(1000 * found.n_errors / correct.size)
    assert (found.error_rate is None) == (found.n_automated == 0)


def test_business_curve_falls_in_share():
    curve = business_curve(*calibrated(300, 1))
    assert curve.threshold.size == 101
    assert curve.share_automated[0] == 1
    assert (np.diff(curve.share_automated) <= 0).all()
    assert (np.diff(curve.errors_per_1000) <= 0).all()
    assert curve.cost_per_decision is None
    with pytest.raises(InvalidValue, match="human_review is -1"):
        Costs(1.0, -1.0)


def test_consistency_by_hand():
    found = consistency_features(
        np.array([[10, 0], [5, 5], [0, 0], [3, 1]]), np.array([0, 0, 4, 4])
    )
    assert found.agreement == pytest.approx([1, 0.5, 0, 3 / 8])
    assert found.entropy == pytest.approx([0, 1, 1, 0.811278], abs=1e-6)
    assert found.margin == pytest.approx([1, 0, 0, 2 / 8])
    assert found.predicted.tolist() == [0, 0, -1, 0]
    assert found.is_tied.tolist() == [False, True, False, False]
    assert found.off_task_fraction == pytest.approx([0, 0, 1, 0.5])
    with pytest.raises(NotEnoughData, match="samples of a row"):
        consistency_features(np.array([[0, 0]]))
    with pytest.raises(InvalidData, match="negative"):
        consistency_features(np.array([[-1, 2]]))
    with pytest.raises(InvalidData, match="one integer per row"):
        unchecked(consistency_features)(np.array([[1, 2]]), np.array([1, 2]))


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


def test_mcnemar_by_hand():
    first = np.array([1, 1, 1, 1, 1, 1, 0, 1]) > 0
    second = np.array([0, 0, 0, 0, 0, 0, 0, 1]) > 0
    found = mcnemar(first, second)
    assert (found.n_first_only, found.n_second_only) == (6, 0)
    assert found.p_value == pytest.approx(2 * 0.5**6)
    assert mcnemar(first, first).p_value == 1
