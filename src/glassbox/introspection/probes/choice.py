"""Choosing a probe's place and kind on folds of the training part, and nothing else.

Every layer and pooling is fitted with every penalty, and by the difference in means; the rows that
judge a candidate never fitted it, and rows of one group are never on both sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.introspection.probes.capture_cache import CapturedSet, Place
from glassbox.introspection.probes.figures import Candidate, Choice
from glassbox.introspection.probes.probe import ProbeKind
from glassbox.stats.classification.grouped_auroc import value_auroc
from glassbox.stats.classification.linear_probe import (
    PENALTIES,
    LinearRule,
    difference_in_means,
    grouped_folds,
    logistic_path,
    out_of_fold,
    selection_bias,
)

LOGISTIC: ProbeKind = "logistic"
MEANS: ProbeKind = "difference-in-means"


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows of a captured set."""

    rows: Int[np.ndarray, " m"]
    """Their numbers."""
    is_positive: Bool[np.ndarray, " m"]
    """Their target."""
    groups: tuple[str, ...]
    """Their groups."""

    def folds(self, n_folds: int, seed: int) -> Int[np.ndarray, " m"]:
        """Return the fold of each row.

        Raises:
            NotEnoughData: Too few groups of either kind for the folds.
        """
        return grouped_folds(self.groups, self.is_positive, n_folds=n_folds, seed=seed)


def choose_place(
    captured: CapturedSet,
    subset: Subset,
    *,
    penalties: Sequence[float] = PENALTIES,
    n_folds: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """Return the candidate of largest mean AUROC over grouped folds of some rows.

    Args:
        captured: States of all rows.
        subset: Those to choose on.
        penalties: Tried for logistic regression.
        n_folds: Folds.
        seed: Of the folds.
        progress: Called as places are done.

    Raises:
        NotEnoughData: Too few groups of either kind for the folds.
    """
    is_positive = subset.is_positive
    fold = subset.folds(n_folds, seed)
    places = captured.plan.places
    figures, candidates = [], []
    for done, place in enumerate(places, start=1):
        features = captured.features(place)[subset.rows]
        logits = out_of_fold(features, is_positive, fold, penalties)
        table = _by_fold(logits, is_positive, fold)
        figures.append(table)
        means = table.mean(axis=1)
        best = int(np.argmax(means[:-1]))
        candidates += [
            Candidate(place, LOGISTIC, float(penalties[best]), float(means[best])),
            Candidate(place, MEANS, None, float(means[-1])),
        ]
        if progress is not None:
            progress(done, len(places))
    everything = np.concatenate(figures)
    return Choice(
        chosen=max(candidates, key=lambda each: each.auroc),
        candidates=tuple(candidates),
        n_tried=len(everything),
        n_folds=n_folds,
        n_rows=len(subset.rows),
        selection_bias=selection_bias(everything),
    )


def fit_chosen(
    chosen: Candidate, features: Float[np.ndarray, "n d"], is_positive: Bool[np.ndarray, " n"]
) -> LinearRule:
    """Return the chosen candidate fitted on some rows.

    Raises:
        NotEnoughData: No positive or no negative row.
    """
    if chosen.penalty is None:
        return difference_in_means(features, is_positive)
    return logistic_path(features, is_positive, (chosen.penalty,))[0]


def places_of(choice: Choice, kind: ProbeKind) -> dict[Place, float]:
    """Return the AUROC over the folds of every place, for one kind."""
    return {each.place: each.auroc for each in choice.candidates if each.kind == kind}


def _by_fold(
    logits: Float[np.ndarray, "n_rules n"],
    is_positive: Bool[np.ndarray, " n"],
    fold: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "n_rules n_folds"]:
    return np.array(
        [
            [value_auroc(rule[fold == each], is_positive[fold == each]) for each in np.unique(fold)]
            for rule in logits
        ]
    )
