import numpy as np
import pytest

from glassbox.confidence.data.labelled import read_texts
from glassbox.confidence.data.split import split_rows
from glassbox.confidence.evaluation.baseline import DEFAULT_PENALTY, PENALTIES, fit_baseline
from glassbox.errors import InvalidData, NotEnoughData, UnknownName

TEXTS = ["good film", "bad film", "good plot", "bad plot", "fine film", "poor plot"]
LABELS = ["pos", "neg", "pos", "neg", "mid", "mid"]


def test_probabilities_of_each_class_in_the_order_given():
    found = fit_baseline(TEXTS, LABELS, ("pos", "mid", "neg"))
    probs = found.label_probs(["good", "bad", "fine", "xyz"])
    assert probs.shape == (4, 3)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert probs[:3].argmax(axis=1).tolist() == [0, 2, 1]
    assert found.penalty == DEFAULT_PENALTY
    assert found.label_probs([]).shape == (0, 3)


def test_deterministic():
    one, other = (fit_baseline(TEXTS, LABELS, ("pos", "mid", "neg")) for _ in range(2))
    np.testing.assert_array_equal(one.label_probs(TEXTS), other.label_probs(TEXTS))


def test_validation_rows_choose_the_penalty():
    found = fit_baseline(TEXTS, LABELS, ("pos", "mid", "neg"), validation=(TEXTS, LABELS))
    assert found.penalty == max(PENALTIES)


def test_what_cannot_be_fitted():
    with pytest.raises(NotEnoughData, match="baseline for class 'other'"):
        fit_baseline(TEXTS, LABELS, ("pos", "mid", "neg", "other"))
    with pytest.raises(UnknownName, match="No label 'mid'"):
        fit_baseline(TEXTS, LABELS, ("pos", "neg"))
    with pytest.raises(InvalidData, match="no training text holds a word"):
        fit_baseline(["!", "?"], ["a", "b"], ("a", "b"))


@pytest.mark.data
def test_on_real_sentences(data_dir):
    data = read_texts(data_dir / "text-classification" / "subj" / "subj.all")
    split = split_rows(data)

    def rows(own):
        return [data.texts[i] for i in own], [data.labels[i] for i in own]

    found = fit_baseline(*rows(split.train), data.classes, validation=rows(split.validation))
    texts, labels = rows(split.test)
    correct = found.label_probs(texts).argmax(axis=1) == [
        data.classes.index(each) for each in labels
    ]
    assert correct.mean() > 0.88, "the literature has about 0.90 to 0.92 for a bag of words"
