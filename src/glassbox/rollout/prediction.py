"""What a version takes and gives, and the protocol that every kind of version follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Features = Mapping[str, Any]
"""Named values of one request: numbers, texts, truth values, or JSON where a kind takes it."""


@dataclass(frozen=True)
class Prediction:
    """One answer."""

    prediction: float
    """The number: for classes, the probability of the first label, [0, 1]."""
    confidence: float | None = None
    """Largest probability, [0, 1]; None where the version knows none."""
    label: str | None = None
    """Most probable class, for classifiers."""
    label_probs: Mapping[str, float] | None = None
    """Probability of every class in the order of the label set, for classifiers."""
    summaries: Mapping[str, float] = field(default_factory=dict)
    """Numbers about the input for drift: ``n_tokens``, ``unknown_share``, ``state_0`` and so on."""
    truncated: bool = False
    """Whether the end of a text was cut to fit the model's context."""


class Predictor(Protocol):
    """A version brought to life. Calls come from one thread at a time."""

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        """Return one answer to each row.

        Raises:
            GlassboxError: A row cannot be used, or the version failed.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def difference(answer: Prediction, other: Prediction) -> float:
    """Return how far two answers to one request lie apart.

    For classes it is the total variation distance, half the sum of absolute differences over all
    labels of either, [0, 1]; else the absolute difference of the two numbers.
    """
    if answer.label_probs is None or other.label_probs is None:
        return abs(answer.prediction - other.prediction)
    labels = answer.label_probs.keys() | other.label_probs.keys()
    return 0.5 * sum(
        abs(answer.label_probs.get(each, 0.0) - other.label_probs.get(each, 0.0))
        for each in sorted(labels)
    )
