"""Isotonic calibrator: any non-decreasing map of each class's probability.

It follows whatever shape the miscalibration has, at the price of needing many rows (about a
thousand before it beats Platt scaling) and of making ties. More than two classes are calibrated
one against the rest and renormalised, which may change the likeliest label.

Source: Zadrozny & Elkan 2002, sections 3 and 4.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.stats.calibration.corp import corp_curve, level_ends
from glassbox.stats.calibrators.parametric import (
    ROWS_PER_PARAMETER,
    calibrator_json,
    checked_fit_rows,
    require_every_class,
)
from glassbox.stats.checking import checked_label_probs


@dataclass(frozen=True)
class Knots:
    """A non-decreasing map, linear between its knots and constant beyond them."""

    prob: tuple[float, ...]
    """Probabilities in, strictly ascending."""
    calibrated: tuple[float, ...]
    """Probabilities out, non-decreasing, inside (0, 1)."""

    def __call__(self, prob: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Calibrated probabilities."""
        return np.asarray(np.interp(prob, self.prob, self.calibrated))


@dataclass(frozen=True)
class Isotonic:
    """One non-decreasing map per class; with two classes, a single one for the second class."""

    n_classes: int
    """Number of classes, at least 2."""
    knots: tuple[Knots, ...]
    """One map for two classes, else one per class."""
    kind: Literal["isotonic"] = "isotonic"
    """Its name."""

    @classmethod
    def fit(
        cls, label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]
    ) -> Self:
        """The maps of least squared error, kept away from 0 and 1.

        Values are clipped to [e, 1 - e] with e = 1 / (n_classes * (n + 2)), the rule of succession
        for an event not seen in n rows, shared among the classes: an unseen label costs many nats
        but never infinitely many.

        Raises:
            InvalidData: NaN, out of range, or labels out of range.
            NotEnoughData: Fewer than ten rows per class, or a class without rows.

        Source: Zadrozny & Elkan 2002; Laplace 1774 for the clipping.
        """
        n_classes = checked_label_probs(label_probs).shape[1]
        need = ROWS_PER_PARAMETER * n_classes
        label_probs, labels = checked_fit_rows(label_probs, labels, need=need)
        require_every_class(labels, n_classes, "Isotonic calibration")
        floor = 1 / (n_classes * (labels.size + 2))
        columns = (1,) if n_classes == 2 else range(n_classes)
        fitted = tuple(_fit_knots(label_probs[:, k], labels == k, floor) for k in columns)
        return cls(n_classes, fitted)

    def apply(
        self, label_probs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """Mapped probabilities, renormalised.

        Raises:
            InvalidData: NaN, out of range, or another number of classes.
        """
        label_probs = checked_label_probs(label_probs, n_classes=self.n_classes)
        if self.n_classes == 2:
            second = self.knots[0](label_probs[:, 1])
            return np.stack([1 - second, second], axis=1)
        mapped = np.stack(
            [knots(column) for knots, column in zip(self.knots, label_probs.T, strict=True)], axis=1
        )
        return np.asarray(mapped / mapped.sum(axis=1, keepdims=True))

    def to_json(self) -> str:
        """All of it as JSON text."""
        maps = [{"prob": k.prob, "calibrated": k.calibrated} for k in self.knots]
        return calibrator_json(self.kind, self.n_classes, knots=maps)


def _fit_knots(
    prob: Float[np.ndarray, " n"], is_class: Bool[np.ndarray, " n"], floor: float
) -> Knots:
    curve = corp_curve(np.minimum(prob, 1.0), is_class)
    value = np.clip(curve.accuracy, floor, 1 - floor)
    kept = level_ends(value)
    return Knots(tuple(map(float, curve.confidence[kept])), tuple(map(float, value[kept])))
