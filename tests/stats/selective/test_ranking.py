import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from glassbox.errors import InvalidValue
from glassbox.stats.selective.ranking import (
    auroc,
    coverage_at_risk,
    risk_coverage_curve,
    with_fewer_points,
)
from tests.stats.worlds import calibrated, outcomes


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
