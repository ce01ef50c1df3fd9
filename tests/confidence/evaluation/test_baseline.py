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


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_regression_is_at_its_optimum_for_the_chosen_penalty(n_classes):
    rng = np.random.default_rng(0)
    classes = tuple("abcde"[:n_classes])
    words = np.array([f"w{i}" for i in range(40)])
    targets = rng.integers(n_classes, size=300)
    texts = [" ".join(words[(rng.integers(20, size=4) + 5 * k) % 40]) for k in targets]
    labels = [classes[k] for k in targets]
    done = []
    found = fit_baseline(
        texts[:200], labels[:200], classes, validation=(texts[200:], labels[200:]),
        progress=lambda *told: done.append(told),
    )  # fmt: skip
    assert done == [(k, len(PENALTIES)) for k in range(1, len(PENALTIES) + 1)]
    # The slope of: mean NLL + |coefficients|^2 / (2 C n), by the coefficients and the intercepts.
    weights = found.vectorizer.transform(texts[:200])
    excess = found.label_probs(texts[:200]) - np.eye(n_classes)[targets[:200]]
    excess = excess[:, -len(found.regression.intercept_) :]
    slope = excess.T @ weights + found.regression.coef_ / found.penalty
    assert np.abs(slope).max() / 200 < 2e-6
    assert np.abs(excess.mean(axis=0)).max() < 2e-6


@pytest.mark.parametrize("validation", [None, (TEXTS, [*LABELS[:-1], "unseen"])])
def test_a_class_without_training_texts_gets_what_laplace_gives_it(validation):
    classes = ("pos", "unseen", "mid", "never", "neg")
    found = fit_baseline(TEXTS, LABELS, classes, validation=validation)
    probs = found.label_probs(TEXTS)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(probs[:, [1, 3]], 1 / (len(TEXTS) + len(classes)))
    others = found.regression.predict_proba(found.vectorizer.transform(TEXTS))
    np.testing.assert_allclose(
        probs[:, [4, 2, 0]] / probs[:, [4, 2, 0]].sum(axis=1, keepdims=True), others[:, ::-1]
    )


def test_what_cannot_be_fitted():
    with pytest.raises(
        NotEnoughData, match=r"classes with training texts.* at least 2 .*there is 1"
    ):
        fit_baseline(TEXTS, ["pos"] * len(TEXTS), ("pos", "neg"))
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
