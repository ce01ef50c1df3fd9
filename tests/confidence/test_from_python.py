"""The main job's parts, called as a notebook would: names, columns and paths as they come."""

import pytest

from glassbox import Classifier, default_labels, load_labels
from glassbox.errors import InvalidLabels
from glassbox.runtime import SHIPPED_RUN
from tests.untyped import outcomes

SCRIPT = """
from pathlib import Path
import numpy as np, pandas as pd
from glassbox import DataChoice, Job, Labeller, ModelSpec, Promise, default_labels, load_engine
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.testing import FakeEngine

engine = FakeEngine()
labeller = Labeller(LabelModel(engine, default_labels(["a", "b"])))

def job(model=ModelSpec("tiny"), data=DataChoice("tiny"), out=Path("run"), **options):
    return Job(model=model, data=data, out=out, **options)
"""


def test_columns_and_arrays_of_texts_are_answered_as_a_list():
    cases = [
        "[each.label for each in labeller.classify(['x', 'y'])]",
        "[each.label for each in labeller.classify(pd.Series(['x', 'y']))]",
        "[each.label for each in labeller.classify(np.array(['x', 'y']))]",
        "[each.label for each in labeller.classify(each for each in 'xy')]",
        "labeller.classify(pd.Series([], dtype=str))",
        "engine.close()",
    ]
    *answers, empty, _ = outcomes(SCRIPT, cases)
    assert len(set(answers)) == 1
    assert answers[0][0] == ""
    assert empty == ("", "[]")


def test_what_has_the_wrong_type_is_refused_by_name():
    cases = {
        "labeller.classify('one text')": "texts is 'one text'; allowed: a list of texts",
        "labeller.classify(['a', None])": "texts must be texts; row 1 (0-based) is None",
        "labeller.classify(pd.Series(['a', float('nan')]))": "texts must be texts; row 1",
        "default_labels([0, 1])": "Class names are texts, and 0 is none.",
        "default_labels(['a', float('nan')])": "Class names are texts, and nan is none.",
        "job(model='tiny')": "model is 'tiny'; allowed: a ModelSpec, such as ModelSpec('tiny')",
        "job(data='texts.csv')": "data is 'texts.csv'; allowed: a DataChoice, such as DataChoice(",
        "job(out='runs/x')": "out is 'runs/x'; allowed: a pathlib.Path",
        "job(seed=-1)": "seed is -1; allowed: an integer of at least 0",
        "job(tuning='yes')": "tuning is 'yes'; allowed: one of no, missing, again",
        "job(overlong='cut')": "overlong is 'cut'; allowed: one of error, truncate, skip",
        "job(data=DataChoice('x.csv', bad_rows='keep'))": "bad_rows is 'keep'; allowed: one of",
        "job(model=ModelSpec('tiny', quantization='2bit'))": "quantization is '2bit'; allowed: one",
        "Promise(max_error=5)": "max_error is 5; allowed: a fraction in (0, 1)",
        "Promise(confidence_level=1)": "confidence_level is 1; allowed: a fraction in (0, 1)",
        "load_engine('tiny')": "spec is 'tiny'; allowed: a ModelSpec, such as ModelSpec('tiny')",
        "engine.close()": "None",
    }
    for (case, words), (_, text) in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        assert text[: len(words)] == words, case


def test_a_single_name_is_not_taken_for_its_letters():
    with pytest.raises(InvalidLabels, match="not the single text 'positive'"):
        default_labels("positive")


def test_a_path_may_be_a_text(tmp_path):
    file = tmp_path / "labels.toml"
    file.write_text("[classes.a]\n[classes.b]\n", encoding="utf-8")
    assert load_labels(str(file)) == load_labels(file)
    shipped = Classifier.load(str(SHIPPED_RUN))
    assert shipped.save(str(tmp_path)) == shipped.save(tmp_path)
    assert Classifier.load(tmp_path) == shipped
