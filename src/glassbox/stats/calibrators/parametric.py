"""Parametric calibrators: identity, temperature, and Platt scaling on log-odds.

A calibrator maps label_probs to label_probs, fitted on rows that nothing else is judged on. It
corrects what is systematically wrong with the probabilities; it cannot add information, and it
holds only for texts like those it was fitted on.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import softmax

from glassbox.errors import NotEnoughData
from glassbox.stats.calibrators.newton import Expansion, convex_minimum
from glassbox.stats.checking import checked_label_probs, checked_labels
from glassbox.stats.versioned_json import versioned_json

CalibratorKind = Literal["identity", "temperature", "platt", "isotonic"]
"""Names of the calibrators, simplest first."""

SCHEMA: Final = "glassbox.calibrator"
SCHEMA_VERSION: Final = 1
ROWS_PER_PARAMETER: Final = 10
"""Rows asked for per fitted parameter. Source: Peduzzi et al. 1996, ten events per variable."""
TEMPERATURE_RANGE: Final = (0.01, 100.0)
"""Temperatures searched; at the upper end the probabilities are uniform for all purposes."""


LOGPROB_FLOOR: Final = -27.631021115928547
"""Least log-probability that a calibrator reads, log(1e-12): one saturated row, whose probability
was rounded to 0, must not rule a fit."""


class Calibrator(Protocol):
    """A fitted map from label_probs to calibrated label_probs."""

    @property
    def kind(self) -> CalibratorKind:
        """Its name."""

    @property
    def n_classes(self) -> int:
        """Number of classes it was fitted for."""

    def apply(
        self, label_probs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """Calibrated label_probs, rows of sum 1."""

    def to_json(self) -> str:
        """All of it as JSON text with a schema version."""


@dataclass(frozen=True)
class Identity:
    """Leaves label_probs as they are."""

    n_classes: int
    """Number of classes, at least 2."""
    kind: Literal["identity"] = "identity"
    """Its name."""

    @classmethod
    def fit(
        cls, label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]
    ) -> Self:
        """The identity for that number of classes.

        Raises:
            InvalidData: NaN, out of range, or labels out of range.
            NotEnoughData: No rows.
        """
        label_probs, _ = checked_fit_rows(label_probs, labels)
        return cls(label_probs.shape[1])

    def apply(
        self, label_probs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """The label_probs, renormalised from rounding.

        Raises:
            InvalidData: NaN, out of range, or another number of classes.
        """
        return checked_label_probs(label_probs, n_classes=self.n_classes)

    def to_json(self) -> str:
        """All of it as JSON text."""
        return calibrator_json(self.kind, self.n_classes)


@dataclass(frozen=True)
class Temperature:
    """Divides log-probabilities by one number: keeps the order of labels, changes how sure."""

    n_classes: int
    """Number of classes, at least 2."""
    temperature: float
    """Above 1 for an over-confident model; in [0.01, 100]."""
    kind: Literal["temperature"] = "temperature"
    """Its name."""

    @classmethod
    def fit(
        cls, label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]
    ) -> Self:
        """The temperature of least NLL; the upper end of the range if the model is below chance.

        Raises:
            InvalidData: NaN, out of range, or labels out of range.
            NotEnoughData: Fewer than ten rows, or no row whose likeliest label is wrong (then
                no finite temperature is best).

        Source: Guo et al. 2017, equation 9; the NLL is convex in 1/T, whose root is bracketed.
        """
        label_probs, labels = checked_fit_rows(label_probs, labels, need=ROWS_PER_PARAMETER)
        logprob = log_probs(label_probs)
        truth = logprob[np.arange(labels.size), labels]

        def slope(inverse: float) -> float:
            expected = (softmax(inverse * logprob, axis=1) * logprob).sum(axis=1)
            return float((expected - truth).mean())

        coldest, hottest = TEMPERATURE_RANGE
        if slope(1 / coldest) < 0 or not (truth < logprob.max(axis=1)).any():
            raise NotEnoughData(
                "Fitting a temperature (rows whose likeliest label is wrong)",
                0,
                1,
                remedy="Bring more rows, or keep the identity.",
            )
        if slope(1 / hottest) >= 0:
            return cls(label_probs.shape[1], hottest)
        inverse = brentq(slope, 1 / hottest, 1 / coldest, xtol=1e-12, rtol=1e-12)
        return cls(label_probs.shape[1], 1 / inverse)

    def apply(
        self, label_probs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """Softmax of log-probabilities over the temperature.

        Raises:
            InvalidData: NaN, out of range, or another number of classes.
        """
        label_probs = checked_label_probs(label_probs, n_classes=self.n_classes)
        return np.asarray(softmax(log_probs(label_probs) / self.temperature, axis=1))

    def to_json(self) -> str:
        """All of it as JSON text."""
        return calibrator_json(self.kind, self.n_classes, temperature=self.temperature)


@dataclass(frozen=True)
class Platt:
    """One slope for all log-probabilities and one offset per class, without penalty.

    With two classes this is Platt's sigmoid(slope * log-odds + offset), exactly; with more it is
    its one-parameter-per-class extension, still convex. It may change the likeliest label.
    """

    slope: float
    """Multiplies log-probabilities; below 1 for an over-confident model."""
    offsets: tuple[float, ...]
    """Nats added per class; the first is 0."""
    kind: Literal["platt"] = "platt"
    """Its name."""

    @property
    def n_classes(self) -> int:
        """Number of classes, at least 2."""
        return len(self.offsets)

    @classmethod
    def fit(
        cls, label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"]
    ) -> Self:
        """The slope and offsets of least NLL.

        Raises:
            InvalidData: NaN, out of range, or labels out of range.
            NotEnoughData: Fewer than ten rows per class, a class without rows, or labels that the
                log-probabilities separate perfectly (then no finite slope is best).

        Source: Platt 1999, equation 1 without its prior; Alexandari, Kundaje & Shrikumar 2020
            (bias-corrected temperature scaling) for more than two classes.
        """
        n_classes = checked_label_probs(label_probs).shape[1]
        need = ROWS_PER_PARAMETER * n_classes
        label_probs, labels = checked_fit_rows(label_probs, labels, need=need)
        require_every_class(labels, n_classes, "Platt scaling")
        logprob = log_probs(label_probs)
        # Only differences between classes matter, and they are better conditioned.
        logprob = logprob - logprob[:, :1]
        start = np.concatenate([[1.0], np.zeros(n_classes - 1)])
        fitted = convex_minimum(lambda at: _platt_expansion(at, logprob, labels), start)
        if fitted is not None:
            logits = _platt_logits(fitted, logprob)
            rivals = logits.copy()
            rivals[np.arange(labels.size), labels] = -np.inf
            if (logits[np.arange(labels.size), labels] <= rivals.max(axis=1)).any():
                return cls(float(fitted[0]), (0.0, *map(float, fitted[1:])))
        raise NotEnoughData(
            "Platt scaling (rows whose label contradicts the order of the log-probabilities)",
            0,
            1,
            remedy="Bring more rows, or choose the temperature or the identity.",
        )

    def apply(
        self, label_probs: Float[np.ndarray, "n n_classes"]
    ) -> Float[np.ndarray, "n n_classes"]:
        """Softmax of slope * log-probability + offset.

        Raises:
            InvalidData: NaN, out of range, or another number of classes.
        """
        label_probs = checked_label_probs(label_probs, n_classes=self.n_classes)
        return np.asarray(
            softmax(self.slope * log_probs(label_probs) + np.array(self.offsets), axis=1)
        )

    def to_json(self) -> str:
        """All of it as JSON text."""
        return calibrator_json(
            self.kind, self.n_classes, slope=self.slope, offsets=list(self.offsets)
        )


def checked_fit_rows(
    label_probs: Float[np.ndarray, "n n_classes"], labels: Int[np.ndarray, " n"], *, need: int = 1
) -> tuple[Float[np.ndarray, "n n_classes"], Int[np.ndarray, " n"]]:
    """The rows to fit on, checked.

    Raises:
        InvalidData: NaN, out of range, or labels out of range.
        NotEnoughData: Fewer rows than ``need``.
    """
    label_probs = checked_label_probs(label_probs)
    labels = checked_labels(labels, *label_probs.shape)
    if labels.size < need:
        raise NotEnoughData(
            "Fitting this calibrator", labels.size, need, remedy="A simpler one needs fewer."
        )
    return label_probs, labels


def require_every_class(labels: Int[np.ndarray, " n"], n_classes: int, what: str) -> None:
    """Do nothing if every class has a row.

    Raises:
        NotEnoughData: A class has none; it is named by its index.
    """
    counts = np.bincount(labels, minlength=n_classes)
    if (counts == 0).any():
        absent = int(np.argmin(counts))
        raise NotEnoughData(
            f"{what} (rows of the class with index {absent})",
            0,
            1,
            remedy="Bring rows of every class, or choose the temperature.",
        )


def log_probs(probs: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Natural logarithm of probabilities, at least ``LOGPROB_FLOOR``."""
    return np.asarray(np.log(np.maximum(probs, np.exp(LOGPROB_FLOOR))))


def calibrator_json(kind: CalibratorKind, n_classes: int, **fields: Any) -> str:
    """JSON text of a calibrator, keys sorted, floats so that they read back exactly."""
    return versioned_json(SCHEMA, SCHEMA_VERSION, {"kind": kind, "n_classes": n_classes} | fields)


def _platt_logits(
    at: Float[np.ndarray, " n_classes"], logprob: Float[np.ndarray, "n n_classes"]
) -> Float[np.ndarray, "n n_classes"]:
    return np.asarray(at[0] * logprob + np.concatenate([[0.0], at[1:]]))


def _platt_expansion(
    at: Float[np.ndarray, " n_classes"],
    logprob: Float[np.ndarray, "n n_classes"],
    labels: Int[np.ndarray, " n"],
) -> Expansion:
    """Mean NLL with its derivatives in (slope, offsets of all classes but the first)."""
    logits = _platt_logits(at, logprob)
    rows = np.arange(labels.size)
    logits -= logits.max(axis=1, keepdims=True)
    prob = np.exp(logits)
    total = prob.sum(axis=1, keepdims=True)
    prob /= total
    expected = (prob * logprob).sum(axis=1)
    residual = prob.copy()
    residual[rows, labels] -= 1
    gradient = np.concatenate(
        [[(expected - logprob[rows, labels]).mean()], residual.mean(axis=0)[1:]]
    )
    centred = prob * (logprob - expected[:, None])
    hessian = np.empty((at.size, at.size))
    hessian[0, 0] = (centred * logprob).sum(axis=1).mean()
    hessian[0, 1:] = hessian[1:, 0] = centred.mean(axis=0)[1:]
    inner = prob[:, 1:]
    value = float((np.log(total[:, 0]) - logits[rows, labels]).mean())
    hessian[1:, 1:] = np.diag(inner.mean(axis=0)) - inner.T @ inner / labels.size
    return Expansion(value, gradient, hessian)
