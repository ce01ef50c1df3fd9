"""Seeded made-up outcomes whose truth is known."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

RECORDS = (
    "lenet-5-cifar-10",
    "wideresnet-16-4-cifar-10",
    "densenet-bc-100-cifar-100",
    "lenet-5-cifar-100",
    "wideresnet-16-4-cifar-100",
)


def load_record(data_dir: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw float64 predictions and labels of one public record."""
    with np.load(data_dir / "calibration" / "netcal-cifar" / f"{name}.npz") as record:
        return record["predictions"].astype(np.float64), record["ground_truth"].ravel()


def top_label(label_probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(label_probs.max(axis=1), 1.0), label_probs.argmax(axis=1) == labels


def calibrated(n_rows: int, seed: int, a: float = 8.0, b: float = 0.8):
    """Confidence that is the true probability of being right."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(a, b, n_rows)
    return confidence, rng.random(n_rows) < confidence


def classified(n_rows: int, n_classes: int, seed: int, sharpness: float = 1.0):
    """label_probs whose log is ``sharpness`` times too far from uniform, and labels."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n_rows, n_classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((n_rows, 1)) > np.cumsum(true, axis=1)).sum(axis=1)
    given = true**sharpness
    return given / given.sum(axis=1, keepdims=True), np.minimum(labels, n_classes - 1)


def unchecked(function):
    """The function without the run-time type check that the tests put on it."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


@st.composite
def outcomes(draw, min_size: int = 1, max_size: int = 60):
    """Confidences with many ties and exact 0 and 1, and correctness."""
    size = draw(st.integers(min_size, max_size))
    value = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.8, 1.0]), st.floats(0, 1))
    confidence = draw(hnp.arrays(np.float64, size, elements=value))
    return confidence, draw(hnp.arrays(np.bool_, size))
