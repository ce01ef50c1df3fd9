"""A bag of words beside every language model: TF-IDF and logistic regression.

It stands in the same table, because the user should know if counting words is enough.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from glassbox.confidence.data.labelled import label_indices
from glassbox.errors import InvalidData, NotEnoughData
from glassbox.progress import Progress, untold

PENALTIES = (1.0, 4.0, 16.0, 64.0)
"""Inverse penalties (scikit-learn's C) that are tried on the validation rows, rising."""

DEFAULT_PENALTY = 4.0
"""Inverse penalty where there are no validation rows."""

_TOLERANCE = 1e-6
"""Largest slope of the mean loss that is left: probabilities are then right to three digits."""

_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class BagOfWords:
    """A fitted baseline."""

    classes: tuple[str, ...]
    """Class names, in the order of the columns."""
    penalty: float
    """The inverse penalty that was chosen."""
    vectorizer: TfidfVectorizer
    """Texts to term weights."""
    regression: LogisticRegression
    """Term weights to the classes that training texts have."""
    n_texts: int
    """Texts that it was fitted on."""

    def label_probs(self, texts: Sequence[str]) -> Float[np.ndarray, "n n_classes"]:
        """Return the probability of each class; rows sum to 1."""
        if not texts:
            return np.zeros((0, len(self.classes)))
        return _label_probs(
            self.regression, self.vectorizer.transform(texts), len(self.classes), self.n_texts
        )


def fit_baseline(
    texts: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    validation: tuple[Sequence[str], Sequence[str]] | None = None,
    progress: Progress = untold,
) -> BagOfWords:
    """Return TF-IDF over words and word pairs with a logistic regression; deterministic.

    A class that no training text has gets the probability of an event never seen in n texts.

    Args:
        texts: Training texts.
        labels: Their classes.
        classes: Order of the columns; two of them must occur.
        validation: Texts and labels that choose the penalty by their negative log-likelihood.
        progress: Told how many penalties have been tried.

    Raises:
        NotEnoughData: The training texts are of fewer than two classes.
        InvalidData: No training text holds a word.
        UnknownName: A label is not among the classes.
    """
    targets = label_indices(labels, classes)
    n_seen = len(np.unique(targets))
    if n_seen < 2:
        raise NotEnoughData("The bag-of-words baseline (classes with training texts)", n_seen, 2)
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float64
    )
    if not any(vectorizer.build_analyzer()(text) for text in texts):
        raise InvalidData("no training text holds a word, so there is nothing to count")
    weights = vectorizer.fit_transform(texts)
    if validation is None or not validation[0]:
        (regression,) = _fits(weights, targets, (DEFAULT_PENALTY,))
        return BagOfWords(tuple(classes), DEFAULT_PENALTY, vectorizer, regression, len(texts))
    held = vectorizer.transform(validation[0])
    expected = label_indices(validation[1], classes)
    tried = []
    for penalty, regression in zip(PENALTIES, _fits(weights, targets, PENALTIES), strict=True):
        loss = _nll(_label_probs(regression, held, len(classes), len(texts)), expected)
        tried.append((loss, penalty, regression))
        progress(len(tried), len(PENALTIES))
    _, chosen, regression = min(tried, key=lambda each: each[:2])
    return BagOfWords(tuple(classes), chosen, vectorizer, regression, len(texts))


def _fits(
    weights: csr_matrix, targets: np.ndarray, penalties: Sequence[float]
) -> Iterator[LogisticRegression]:
    """Yield a regression for each penalty; each fit begins where the one before it ended.

    Newton's method: with dozens of classes there are millions of coefficients, and L-BFGS, which
    keeps ten of their changes, takes several times as long and ends further from the optimum.
    """
    regression = LogisticRegression(
        solver="newton-cg", warm_start=True, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS
    )
    for each in penalties:
        yield copy.copy(regression.set_params(C=each).fit(weights, targets))


def _label_probs(
    regression: LogisticRegression, weights: csr_matrix, n_classes: int, n_texts: int
) -> Float[np.ndarray, "n n_classes"]:
    """Return probabilities of all classes; those not trained on by Laplace's rule of succession."""
    seen: Float[np.ndarray, "n n_seen"] = regression.predict_proba(weights)
    unseen = 1 / (n_texts + n_classes)
    probs = np.full((seen.shape[0], n_classes), unseen)
    probs[:, regression.classes_] = seen * (1 - unseen * (n_classes - seen.shape[1]))
    return probs


def _nll(probs: Float[np.ndarray, "n n_classes"], targets: np.ndarray) -> float:
    return float(-np.log(probs[np.arange(len(targets)), targets]).mean())
