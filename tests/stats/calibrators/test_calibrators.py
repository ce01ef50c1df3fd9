import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue, NotEnoughData, UnknownName
from glassbox.stats.calibration.proper_scoring import nll, row_nll
from glassbox.stats.calibrators.choice import (
    KINDS,
    calibrator_from_json,
    choose_calibrator,
    fit_calibrator,
    stratified_folds,
)
from glassbox.stats.calibrators.feature import (
    FeatureCalibrator,
    confidence_log_odds,
)
from glassbox.stats.calibrators.isotonic import Isotonic
from glassbox.stats.calibrators.label_bias import LabelBias, fit_label_bias
from glassbox.stats.calibrators.parametric import Identity, Platt, Temperature
from tests.stats.worlds import calibrated, classified, unchecked

worlds = st.tuples(st.sampled_from([2, 3, 5]), st.integers(0, 50), st.floats(0.3, 4))


@given(worlds, st.sampled_from(KINDS))
def test_rows_sum_to_one_and_json_reads_back(world, kind):
    n_classes, seed, sharpness = world
    label_probs, labels = classified(150, n_classes, seed, sharpness)
    calibrator = fit_calibrator(kind, label_probs, labels)
    mapped = calibrator.apply(label_probs)
    assert mapped.shape == label_probs.shape
    assert mapped.sum(axis=1) == pytest.approx(np.ones(150))
    assert (mapped >= 0).all()
    again = calibrator_from_json(calibrator.to_json())
    assert again == calibrator
    assert again.kind == kind
    assert (again.apply(label_probs) == mapped).all()
    assert again.n_classes == n_classes


@given(worlds, st.floats(0.02, 90))
def test_temperature_keeps_the_argmax(world, temperature):
    label_probs, _ = classified(60, world[0], world[1], world[2])
    mapped = Temperature(world[0], temperature).apply(label_probs)
    likeliest = label_probs.argmax(axis=1)
    assert (mapped[np.arange(60), likeliest] >= mapped.max(axis=1) - 1e-12).all()


@given(worlds)
def test_two_class_maps_are_monotone(world):
    label_probs, labels = classified(200, 2, world[1], world[2])
    grid = np.linspace(0, 1, 301)
    for kind in ("temperature", "isotonic"):
        found = fit_calibrator(kind, label_probs, labels).apply(np.stack([1 - grid, grid], axis=1))
        assert (np.diff(found[:, 1]) >= -1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_saturated_float32_stays_finite(kind):
    label_probs, labels = classified(400, 3, 1, 40.0)
    saturated = label_probs.astype(np.float32)
    saturated[saturated < 1e-6] = 0
    calibrator = fit_calibrator(kind, saturated, labels)
    assert np.isfinite(nll(calibrator.apply(saturated), labels))
    corners = np.eye(3, dtype=np.float32)
    assert np.isfinite(calibrator.apply(corners)).all()
    if kind == "isotonic":
        assert (calibrator.apply(corners) > 0).all()


def test_temperature_undoes_a_known_sharpening():
    label_probs, labels = classified(20_000, 4, 2, 2.5)
    assert Temperature.fit(label_probs, labels).temperature == pytest.approx(2.5, rel=0.05)


def test_temperature_of_a_model_below_chance_is_the_hottest():
    label_probs, _ = classified(200, 2, 1, 2.0)
    assert Temperature.fit(label_probs, label_probs.argmin(axis=1)).temperature == 100.0


def test_binary_platt_is_unpenalised_logistic_regression_on_log_odds():
    label_probs, labels = classified(800, 2, 5, 3.0)
    log_odds = np.log(label_probs[:, 1] / label_probs[:, 0])
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], labels)
    fitted = Platt.fit(label_probs, labels)
    assert fitted.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    assert fitted.offsets == pytest.approx((0.0, oracle.intercept_[0]), abs=1e-5)
    assert fitted.apply(label_probs)[:, 1] == pytest.approx(
        oracle.predict_proba(log_odds[:, None])[:, 1], abs=1e-6
    )


def test_multiclass_platt_is_the_minimum():
    label_probs, labels = classified(500, 4, 5, 3.0)
    fitted = Platt.fit(label_probs, labels)

    def loss(at):
        return nll(Platt(at[0], (0.0, *at[1:])).apply(label_probs), labels)

    oracle = minimize(loss, [1, 0, 0, 0], method="Nelder-Mead", options={"fatol": 1e-12})
    assert nll(fitted.apply(label_probs), labels) <= oracle.fun + 1e-9


def test_binary_isotonic_is_sklearn_away_from_the_clip():
    label_probs, labels = classified(500, 2, 5, 3.0)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(label_probs[:, 1], labels)
    grid = np.linspace(0, 1, 500)
    found = Isotonic.fit(label_probs, labels).apply(np.stack([1 - grid, grid], axis=1))[:, 1]
    floor = 1 / (2 * 502)
    # sklearn fits in the same precision but drops knots by its own rule.
    assert found == pytest.approx(np.clip(oracle.predict(grid), floor, 1 - floor), abs=2e-3)


def test_errors_of_fitting_say_what_is_needed():
    label_probs, labels = classified(100, 2, 1)
    with pytest.raises(NotEnoughData, match="at least 10 rows; there are 5"):
        Temperature.fit(label_probs[:5], labels[:5])
    with pytest.raises(NotEnoughData, match="at least 20 rows; there are 12"):
        Platt.fit(label_probs[:12], labels[:12])
    right = label_probs.argmax(axis=1)
    with pytest.raises(NotEnoughData, match="likeliest label is wrong"):
        Temperature.fit(label_probs, right)
    with pytest.raises(NotEnoughData, match="contradicts the order"):
        Platt.fit(label_probs, right)
    for kind in ("platt", "isotonic"):
        with pytest.raises(NotEnoughData, match="class with index 1"):
            fit_calibrator(kind, label_probs, np.zeros(100, int))
    constant = np.tile([0.3, 0.7], (100, 1))
    with pytest.raises(NotEnoughData, match="contradicts the order"):
        Platt.fit(constant, labels)
    with pytest.raises(UnknownName, match="Did you mean 'platt'"):
        unchecked(fit_calibrator)("plat", label_probs, labels)


@pytest.mark.parametrize(
    ("label_probs", "labels", "match"),
    [
        ([[0.5, 0.6]], [0], "rows of sum 1"),
        ([[0.5, np.nan]], [0], "nan"),
        ([[0.5, 0.5]], [2], "class indices in 0 … 1"),
        ([[0.5, 0.5]], [0, 1], r"labels has shape \(2,\)"),
        ([[1.0]], [0], "at least 2 classes"),
        ([[0.5, 0.5]], [0.0], "integer class indices"),
    ],
)
def test_bad_label_probs_are_refused(label_probs, labels, match):
    with pytest.raises(InvalidData, match=match):
        unchecked(row_nll)(np.array(label_probs), np.array(labels))


def test_apply_refuses_another_number_of_classes():
    with pytest.raises(InvalidData, match="has 3 classes; 2 were expected"):
        Temperature(2, 1.5).apply(np.full((1, 3), 1 / 3))


def test_choice_takes_the_lowest_cross_validated_nll():
    label_probs, labels = classified(2000, 3, 7, 3.0)
    choice = choose_calibrator(label_probs, labels)
    by_kind = {each.kind: each for each in choice.candidates}
    assert tuple(by_kind) == KINDS
    assert choice.calibrator.kind == min(by_kind.values(), key=lambda each: each.nll).kind
    assert by_kind["temperature"].nll < by_kind["identity"].nll - 0.1
    assert by_kind["identity"].nll == pytest.approx(nll(label_probs, labels))
    assert choice == choose_calibrator(label_probs, labels)
    assert (choice.n_rows, choice.n_folds) == (2000, 5)


def test_choice_lists_what_cannot_be_fitted():
    label_probs, _ = classified(100, 2, 7)
    choice = choose_calibrator(label_probs, label_probs.argmax(axis=1), kinds=KINDS[:3])
    assert choice.calibrator == Identity(2)
    assert [each.nll is None for each in choice.candidates] == [False, True, True]
    assert "likeliest label is wrong" in choice.candidates[1].problem
    with pytest.raises(NotEnoughData, match="kinds that can be fitted"):
        choose_calibrator(label_probs, label_probs.argmax(axis=1), kinds=["temperature"])
    with pytest.raises(NotEnoughData, match="at least 5 rows; there are 3"):
        choose_calibrator(label_probs[:3], np.array([0, 1, 0]))
    with pytest.raises(InvalidValue, match="n_folds"):
        choose_calibrator(label_probs, label_probs.argmin(axis=1), n_folds=1)


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 20))
def test_folds_are_stratified(n_folds, n_classes, seed):
    labels = np.random.default_rng(seed).integers(n_classes, size=97)
    fold = stratified_folds(labels, n_folds=n_folds, seed=seed)
    assert np.ptp(np.bincount(fold, minlength=n_folds)) <= 1
    for label in range(n_classes):
        assert np.ptp(np.bincount(fold[labels == label], minlength=n_folds)) <= 1


def _changed(**fields):
    return json.dumps(json.loads(Platt(0.5, (0.0, 1.0)).to_json()) | fields)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not JSON"),
        ("[]", "schema"),
        (_changed(schema="other"), "schema"),
        (_changed(version=2), "schema version 2"),
        (_changed(kind="spline"), "known: identity, temperature"),
        (_changed(n_classes=1), "n_classes is 1"),
        (_changed(slope="steep"), "slope"),
        (_changed(slope=True), "slope"),
        (_changed(slope=float("nan")), "slope"),
        (_changed(offsets=[0.0]), "1 offsets for 2 classes"),
        (_changed(offsets=None), "offsets is not a list"),
        (_changed(extra=1), "extra"),
        (Temperature(2, -1.0).to_json(), "not above 0"),
        (json.dumps({"schema": "glassbox.calibrator", "version": 1, "kind": ["platt"]}), "kind"),
    ],
)
def test_damaged_json_is_refused(text, match):
    with pytest.raises(CorruptArtifact, match=match):
        calibrator_from_json(text)


@pytest.mark.parametrize(
    ("knots", "match"),
    [
        ([], "1 maps for 2 classes"),
        ([{"prob": [0.1]}], "needs prob and calibrated"),
        ([{"prob": [0.1, 0.2], "calibrated": [0.5]}], "different lengths"),
        ([{"prob": [0.2, 0.1], "calibrated": [0.5, 0.6]}], "ascending"),
        ([{"prob": [0.1, 0.2], "calibrated": [0.0, 0.6]}], "inside"),
    ],
)
def test_damaged_knots_are_refused(knots, match):
    fields = {"schema": "glassbox.calibrator", "version": 1, "kind": "isotonic", "n_classes": 2}
    with pytest.raises(CorruptArtifact, match=f"model.json.*{match}"):
        calibrator_from_json(json.dumps(fields | {"knots": knots}), source="model.json")


def test_feature_calibrator_is_logistic_regression():
    confidence, correct = calibrated(900, 4, 4, 1.2)
    noise = np.random.default_rng(1).normal(size=900)
    features = np.column_stack([2 * confidence_log_odds(confidence), noise, np.ones(900)])
    fitted = FeatureCalibrator.fit(features, correct)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(features[:, :2], correct)
    assert fitted.weights[:2] == pytest.approx(oracle.coef_[0], rel=1e-4, abs=1e-6)
    assert fitted.weights[2] == 0
    assert fitted.weights[0] == pytest.approx(0.5, abs=0.12)
    foretold = oracle.predict_proba(features[:, :2])[:, 1]
    assert fitted.apply(features) == pytest.approx(foretold, abs=1e-5)


def test_a_feature_that_others_tell_is_left_out():
    confidence, correct = calibrated(900, 4, 4, 1.2)
    first = confidence_log_odds(confidence)
    plain = FeatureCalibrator.fit(first[:, None], correct)
    fitted = FeatureCalibrator.fit(np.column_stack([first, 2 - 3 * first]), correct)
    assert fitted.weights[1] == 0
    assert fitted.weights[0] == pytest.approx(plain.weights[0])


def test_feature_calibrator_failures():
    features = np.linspace(0, 1, 100)[:, None]
    with pytest.raises(NotEnoughData, match="perfect separation"):
        FeatureCalibrator.fit(features, features[:, 0] > 0.5)
    with pytest.raises(NotEnoughData, match="at least 10 rows; there is 1"):
        FeatureCalibrator.fit(features, np.arange(100) > 0)
    with pytest.raises(InvalidData, match="2 features given, 1 weights"):
        FeatureCalibrator(0.0, (1.0,)).apply(np.ones((1, 2)))
    with pytest.raises(InvalidData, match="NaN"):
        FeatureCalibrator(0.0, (1.0,)).apply(np.array([[np.nan]]))


def test_label_bias_removes_a_known_offset():
    label_probs, _ = classified(400, 3, 3)
    logprobs = np.log(label_probs)
    plain = fit_label_bias(logprobs)
    shifted = fit_label_bias(logprobs + np.array([1.0, 0.0, -0.4]))
    gain = np.array(shifted.offsets) - np.array(plain.offsets)
    assert gain == pytest.approx(np.array([1.0, 0.0, -0.4]) - 0.2, abs=1e-9)
    corrected = shifted.apply(logprobs + np.array([1.0, 0.0, -0.4]))
    assert corrected == pytest.approx(plain.apply(logprobs))
    assert corrected.sum(axis=1) == pytest.approx(np.ones(400))
    # A row's answer does not depend on its neighbours.
    assert plain.apply(logprobs[:1]) == pytest.approx(plain.apply(logprobs)[:1], abs=1e-15)


def test_label_bias_failures():
    with pytest.raises(NotEnoughData, match="at least 10 rows; there are 2"):
        fit_label_bias(np.zeros((2, 2)))
    with pytest.raises(InvalidData, match="NaN"):
        LabelBias((0.0, 0.0)).apply(np.array([[np.nan, 0.0]]))
    one_bad = np.zeros((12, 2))
    for bad in (-np.inf, np.inf):
        one_bad[5] = bad
        with pytest.raises(InvalidData, match="infinity"):
            fit_label_bias(one_bad)
    with pytest.raises(InvalidData, match="3 classes given, 2 offsets"):
        LabelBias((0.0, 0.0)).apply(np.zeros((1, 3)))
    impossible = np.array([[0.0, -np.inf]])
    assert LabelBias((0.0, 0.0)).apply(impossible)[0, 0] == pytest.approx(1)
