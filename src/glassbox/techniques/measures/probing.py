"""Logistic probes on hidden states, layer by layer, with texts held out. Draws nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidData
from glassbox.stats.classification.grouped_auroc import value_auroc
from glassbox.stats.classification.linear_probe import grouped_folds, logistic_path
from glassbox.techniques.measures.anatomy import Anatomy, Spot
from glassbox.techniques.measures.steering import states_of

Layers = Float[np.ndarray, " n_layers"]


def probed(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    layers: Sequence[int],
    how: tuple[str, float, int],
) -> tuple[tuple[int, ...], Layers, Layers, float, Float[np.ndarray, "n_layers d_model"], Layers]:
    """Return layers, AUROC, accuracy, base rate, directions and biases.

    ``how`` is the position that stands for a text, the penalty and the number of folds. Equal
    texts stay in one fold, so that none is judged by a probe that saw it.

    Raises:
        InvalidData: Labels other than 0 and 1, or not one for each text.
        NotEnoughData: Too few texts of a kind for the folds.
        InvalidHookPoint: No such layer.
    """
    if len(labels) != len(texts) or not set(map(int, labels)) <= {0, 1}:
        raise InvalidData(f"{len(texts)} texts need as many labels, each 0 or 1")
    anatomy, (position, penalty, n_folds) = Anatomy(model), how
    numbers = tuple(anatomy.layer(each) for each in layers) or tuple(range(anatomy.n_layers))
    positive = np.array([bool(each) for each in labels])
    fold = grouped_folds(list(texts), positive, n_folds=n_folds, seed=0)
    spots = [Spot(layer) for layer in numbers]
    states = states_of(anatomy, tokenizer, texts, spots, position).astype(np.float64)
    logits = np.empty((len(numbers), len(texts)))
    rules = []
    for row, features in enumerate(states):
        for held_out in range(n_folds):
            out = fold == held_out
            (rule,) = logistic_path(features[~out], positive[~out], (penalty,))
            logits[row, out] = rule.logits(features[out])
        rules.append(logistic_path(features, positive, (penalty,))[0].folded())
    auroc = np.array([value_auroc(each, positive) for each in logits])
    accuracy = ((logits > 0) == positive).mean(axis=1)
    base = float(max(positive.mean(), 1 - positive.mean()))
    directions, biases = (np.array(each) for each in zip(*rules, strict=True))
    return numbers, auroc, accuracy, base, directions, biases
