"""How far repeated samples of one prompt agree.

Agreement of k samples takes k + 1 values only and is far too confident, so none of these is a
probability: they are inputs of a calibrator. Samples that name no label count as off task; they
lower the agreement and are left out of the entropy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidData, NotEnoughData


@dataclass(frozen=True, eq=False)
class ConsistencyFeatures:
    """Agreement of k sampled outcomes, per row."""

    agreement: Float[np.ndarray, " n"]
    """Samples that name the most frequent class, as a share of all samples, in [0, 1]."""
    entropy: Float[np.ndarray, " n"]
    """Entropy over classes of the samples on task, divided by log(n_classes), in [0, 1]; 1 where
    every sample is off task."""
    margin: Float[np.ndarray, " n"]
    """Share of the most frequent class minus that of the next, of all samples, in [0, 1]."""
    predicted: Int[np.ndarray, " n"]
    """Most frequent class, the lowest index among ties; -1 where every sample is off task."""
    is_tied: Bool[np.ndarray, " n"]
    """Whether more than one class is most frequent."""
    off_task_fraction: Float[np.ndarray, " n"]
    """Samples that name no label, as a share of all samples, in [0, 1]."""
    n_samples: Int[np.ndarray, " n"]
    """Samples of the row."""


def consistency_features(
    counts: Int[np.ndarray, "n n_classes"], off_task: Int[np.ndarray, " n"] | None = None
) -> ConsistencyFeatures:
    """Agreement, entropy and margin of sampled outcomes.

    Args:
        counts: Samples that name each class.
        off_task: Samples that name none; None for zero everywhere.

    Raises:
        InvalidData: Not integers, negative, fewer than two classes, or different lengths.
        NotEnoughData: No rows, or a row without a sample.

    Source: Wang et al. 2022 (self-consistency) for agreement; Shannon 1948 for the entropy.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[1] < 2 or not np.issubdtype(counts.dtype, np.integer):
        raise InvalidData(
            f"counts is {counts.dtype} {counts.shape}; integers (rows, classes) needed"
        )
    off_task = np.zeros(len(counts), np.intp) if off_task is None else np.asarray(off_task)
    if off_task.shape != (len(counts),) or not np.issubdtype(off_task.dtype, np.integer):
        raise InvalidData(
            f"off_task is {off_task.dtype} {off_task.shape}; one integer per row needed"
        )
    if (counts < 0).any() or (off_task < 0).any():
        raise InvalidData("counts and off_task must not be negative")
    on_task = counts.sum(axis=1)
    n_samples = on_task + off_task
    if n_samples.size == 0 or n_samples.min() == 0:
        raise NotEnoughData("Consistency (samples of a row)", 0, 1)
    ranked = -np.sort(-counts, axis=1)
    is_off = on_task == 0
    share = counts / np.maximum(on_task, 1)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return ConsistencyFeatures(
        agreement=ranked[:, 0] / n_samples,
        # Adding 0 turns the -0 of a unanimous row into 0.
        entropy=np.where(is_off, 1.0, np.clip(entropy / np.log(counts.shape[1]), 0, 1) + 0.0),
        margin=(ranked[:, 0] - ranked[:, 1]) / n_samples,
        predicted=np.where(is_off, -1, counts.argmax(axis=1)),
        is_tied=(ranked[:, 0] == ranked[:, 1]) & ~is_off,
        off_task_fraction=off_task / n_samples,
        n_samples=n_samples,
    )
