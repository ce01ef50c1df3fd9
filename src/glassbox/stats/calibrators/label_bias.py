"""Label-bias correction: what the model prefers before it has read the text.

The mean log-probability of each class over a calibration part is subtracted from every row. The
offsets are frozen: estimated on a live batch, a row's answer would depend on its neighbours. The
correction supposes that the calibration part holds the classes in about equal numbers; where they
are not, it leans against the truth, so its gain must be measured before it is switched on.

Source: Zhou et al. 2023 (batch calibration), equation 6, with offsets frozen.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.calibrators.parametric import LOGPROB_FLOOR

FEWEST_ROWS: Final = 10
"""Rows below which a mean log-probability is too noisy to correct with."""


@dataclass(frozen=True)
class LabelBias:
    """Offsets that a model adds to each class whatever the text."""

    offsets: tuple[float, ...]
    """Nats per class, mean 0."""

    def apply(
        self, label_logprobs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """label_probs without the offsets, rows of sum 1.

        Raises:
            InvalidData: NaN, another number of classes, or a row without any finite value.
        """
        checked = _checked_logprobs(label_logprobs)
        if checked.shape[1] != len(self.offsets):
            raise InvalidData(
                f"{checked.shape[1]} classes given, {len(self.offsets)} offsets known"
            )
        return np.asarray(softmax(checked - np.array(self.offsets), axis=1))


def fit_label_bias(label_logprobs: Float[np.ndarray, "n n_classes"]) -> LabelBias:
    """Offsets from the log-probabilities of a calibration part; no label is looked at.

    Args:
        label_logprobs: Nats, normalised over the classes or not; floored at -27.6 below the row's
            largest.

    Raises:
        InvalidData: NaN, or a row without any finite value.
        NotEnoughData: Fewer than ten rows.

    Source: Zhou et al. 2023, equation 6.
    """
    checked = _checked_logprobs(label_logprobs)
    if len(checked) < FEWEST_ROWS:
        raise NotEnoughData("Label-bias correction", len(checked), FEWEST_ROWS)
    mean = checked.mean(axis=0)
    return LabelBias(tuple(map(float, mean - mean.mean())))


def _checked_logprobs(
    label_logprobs: Float[np.ndarray, "n n_classes"],
) -> Float[np.ndarray, "n n_classes"]:
    array = np.asarray(label_logprobs, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 2:
        raise InvalidData(
            f"label_logprobs has shape {array.shape}; (rows, at least 2 classes) needed"
        )
    if not array.size:
        raise NotEnoughData("Label-bias correction", 0, FEWEST_ROWS)
    top = array.max(axis=1, keepdims=True)
    if np.isnan(array).any() or not np.isfinite(top).all():
        raise InvalidData("label_logprobs holds NaN, +infinity or a row of -infinity")
    return np.asarray(np.maximum(array - top, LOGPROB_FLOOR))
