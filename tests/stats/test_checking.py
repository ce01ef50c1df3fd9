"""What scripts and notebooks hand over is read as it was meant, or refused as an error of ours."""

import numpy as np
import pytest

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.selective.threshold import check_classes, choose_threshold
from tests.untyped import outcomes

CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6])
CORRECT = np.array([True, True, False, True])

SCRIPT = """
import numpy as np, pandas as pd, pyarrow as pa
from glassbox import choose_threshold
from glassbox.stats.calibration.error import ece_interval
from glassbox.stats.calibrators.choice import (
    calibrator_from_json, choose_calibrator, fit_calibrator
)
from glassbox.stats.selective.business import Costs
from glassbox.stats.intervals import (
    bootstrap_interval, clopper_pearson, mcnemar, paired_share_difference, proportion_interval
)
from glassbox.stats.selective.threshold import check_classes

confidence, correct = [0.9, 0.8, 0.7, 0.6], [True, True, False, True]
classes = np.array([0, 1, 1, 0])
truth, probs = np.array(correct), np.full((4, 2), 0.5)

def chosen(confidence=confidence, correct=correct, max_error=0.4, **options):
    return choose_threshold(confidence, correct, max_error=max_error, **options)

def checked(classes=classes, threshold=0.5, n_classes=2):
    return check_classes(
        np.array(confidence), np.array(correct), classes,
        threshold=threshold, n_classes=n_classes, max_error=0.4,
    )
"""


def test_lists_and_columns_of_tables_are_arrays():
    expressions = [
        "chosen()",
        "chosen(np.array(confidence), np.array(correct))",
        "chosen(pd.Series(confidence, index=[3, 2, 1, 0]), pd.Series(correct))",
        "chosen(pd.Series(confidence, dtype='Float64'), pd.Series(correct, dtype='boolean'))",
        "chosen(pd.Series(confidence), pd.Series(correct, dtype=object))",
        "chosen(pa.array(confidence), pa.array(correct))",
        "chosen(pa.chunked_array([confidence]), pa.chunked_array([correct]))",
        "chosen(np.array(confidence), [1, 1, 0, 1])",
        "chosen(np.array(confidence), np.array([1.0, 1.0, 0.0, 1.0]))",
        "chosen(np.ma.array(confidence), np.ma.array(correct))",
    ]
    expected = repr(choose_threshold(CONFIDENCE, CORRECT, max_error=0.4))
    for expression, found in zip(expressions, outcomes(SCRIPT, expressions), strict=True):
        assert found == ("", expected), expression


def test_what_cannot_be_read_is_an_error_of_ours_that_names_it():
    cases = {
        "chosen(correct=pd.Series([None, True, True, True]))": "row 0 (0-based) is None",
        "chosen(correct=pd.Series([True, None, True, True], dtype='boolean'))": "row 1",
        "chosen(correct=['true', 'true', 'false', 'true'])": "row 0 (0-based) is 'true', and 3",
        "chosen(correct=[[True], [True, False], [], []])": "correct cannot be read as an array",
        "chosen(['high', 'low', 'low', 'low'])": "confidence cannot be read as an array: could not",
        "chosen([[1, 2], [3]])": "confidence cannot be read as an array",
        "chosen(x for x in confidence)": "confidence cannot be read as an array",
        "chosen(np.ma.array(confidence, mask=[0, 1, 0, 0]))": "confidence is masked in places",
        "chosen(correct=np.ma.array(correct, mask=[0, 1, 0, 0]))": "correct is masked in places",
        "chosen(max_error='0.05')": "max_error is '0.05'; allowed: a fraction in (0, 1)",
        "chosen(max_error=None)": "max_error is None",
        "chosen(n_min='5')": "n_min is '5'; allowed: an integer of at least 1",
        "chosen(n_min=2.5)": "n_min is 2.5",
        "checked(classes.astype(float))": "predicted has dtype float64; integer class indices",
        "checked(['yes', 'no', 'no', 'yes'])": "predicted has dtype <U3",
        "checked(threshold=None)": "threshold is None",
        "checked(n_classes=2.0)": "n_classes is 2.0",
        "fit_calibrator('platt', 0.5, 1)": "label_probs has shape ()",
        "fit_calibrator('isotonic', [['a', 'b']], [0])": "label_probs cannot be read as an array",
        "clopper_pearson('three', 10)": "n_events cannot be read as an array",
        "clopper_pearson([1, 2], [3, 3, 3])": "n_events has shape (2,), n_rows has (3,)",
        "bootstrap_interval(lambda rows: truth[rows].mean(), 4)": "has shape (), not (1,)",
        "choose_calibrator(probs, classes, kinds='platt')": "kinds is 'platt'; allowed: a list of",
        "choose_calibrator(probs, classes, n_folds=2.5)": "n_folds is 2.5; allowed: an integer",
        "choose_calibrator(probs, classes, n_folds=2, seed=-1)": "seed is -1; allowed: an integer",
        "choose_calibrator(probs, classes, n_folds=5)": "Cross-validation in 5 folds needs at "
        "least 5 rows; there are 4. Ask for fewer folds.",
        "choose_calibrator(probs, classes, n_folds=2, kinds=[3])": "No calibrator 3. Known: ident",
        "fit_calibrator(['platt'], probs, classes)": "No calibrator ['platt']. Known: identity",
        "calibrator_from_json({'kind': 'platt'})": "calibrator: JSON text is needed, as to_json()",
        "calibrator_from_json(None)": "not a value of type NoneType",
        "ece_interval(np.array(confidence), truth, seed=None)": "seed is None; allowed: an integer",
        "Costs('a lot', 1.0)": "wrong_automated is 'a lot'; allowed: a finite amount",
        # Each was taken for something else: fractions for the truth, -1 for true.
        "proportion_interval(confidence)": "events must hold true or false; row 0 (0-based) is 0.9",
        "proportion_interval([-1, 1])": "row 0 (0-based) is -1",
        "mcnemar(truth, confidence)": "second must hold true or false",
        "paired_share_difference(confidence, truth)": "first must hold true or false",
    }
    for (case, words), (kind, text) in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        assert kind in ("InvalidData", "InvalidValue", "NotEnoughData", "UnknownName"), case
        assert words in text, case


def test_one_wrong_row_is_not_told_with_others():
    truth = np.array([True, True])
    for confidence, words in (
        ([0.5, 2.0], r"row 1 \(0-based\) is 2\.?0?$"),
        ([3.0, 2.0], "and 1 other row is wrong, too"),
    ):
        with pytest.raises(InvalidData, match=words):
            choose_threshold(np.array(confidence), truth, max_error=0.1)


def test_a_class_needs_another():
    predicted = np.zeros(4, dtype=int)
    with pytest.raises(InvalidValue, match="n_classes is 1"):
        check_classes(CONFIDENCE, CORRECT, predicted, threshold=0.5, n_classes=1, max_error=0.4)
