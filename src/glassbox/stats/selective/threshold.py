"""A threshold on confidence that keeps a promise about the error rate.

"Automate where confidence >= value, and at most ``max_error`` of the automated answers are wrong"
holds for new rows with probability ``confidence_level`` over the draw of the rows used here. Two
things must be true: new rows come from the same population (not drift), and neither the model nor
its calibrator has seen these rows. The promise is about all automated rows together;
``check_classes`` looks at each predicted class.

Source: Angelopoulos et al. 2021, "Learn then test", section 3.2 (fixed-sequence testing) with
exact binomial p-values; Bates et al. 2021 for the setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import bdtr

from glassbox.errors import InvalidData
from glassbox.stats.checking import (
    checked_count,
    checked_fraction,
    checked_outcomes,
)
from glassbox.stats.intervals import clopper_pearson, clopper_pearson_upper
from glassbox.stats.selective.ranking import accepted_by_threshold
from glassbox.stats.selective.sample_size import errors_allowed, rows_for_power, rows_needed
from glassbox.wording import counted, decimals_apart, estimated

__all__ = [
    "ClassCheck",
    "Threshold",
    "check_classes",
    "choose_threshold",
    "rows_for_power",
    "rows_needed",
]

START_POWER: Final = 0.9
"""Foreseen probability of passing that the first level tested should have."""
HOPED_SHARE: Final = 0.5
"""Share of max_error that a first level's true rate is supposed to be, where its errors leave so
much open."""
LEAST_FORESEEN: Final = 0.25
"""Share of max_error below which no foreseen error rate is believed."""
SUREST_SHARE: Final = 0.1
"""Share of the rows up to which those of the first level count as the surest that more rows would
bring. Where rows are few, the first level has to take most of them."""
START_CANDIDATES: Final = 200
"""Levels considered as a start, spaced evenly in the logarithm of their rows."""
WALK_BLOCK: Final = 4096
"""Levels tested at once on the way down."""


@dataclass(frozen=True)
class Threshold:
    """The least confidence at which automation keeps its promise, or why there is none."""

    value: float | None
    """Automate where confidence is at least this; None where no level is safe."""
    coverage: float
    """Share of the rows at or above the value; 0 without one."""
    n_automated: int
    """Rows at or above the value."""
    n_errors: int
    """Errors among them."""
    error_upper_bound: float | None
    """One-sided Clopper-Pearson bound of their error rate at ``confidence_level``."""
    max_error: float
    """Error rate promised among automated rows, a fraction."""
    confidence_level: float
    """Probability with which the promise holds, a fraction."""
    n_rows: int
    """Rows in all."""
    n_start: int
    """Rows at the first level tested."""
    n_start_errors: int
    """Errors at the first level tested."""
    n_more: int | None
    """Without a safe value: automated rows to add for a probability of 0.8 that the first level
    passes, if its true error rate is the observed one. Where that one is too near to max_error or
    above it, but so few rows leave half of max_error open (95 % interval), that half is supposed.
    None where the value is safe, or where the rate is shown to be such that more rows of that
    level's confidence would not help."""

    @property
    def is_safe(self) -> bool:
        """Whether there is a threshold."""
        return self.value is not None

    @property
    def surer_may_help(self) -> bool:
        """Whether many more rows may hold enough that are surer than those of the first level."""
        return self.n_start > SUREST_SHARE * self.n_rows

    @property
    def sentence(self) -> str:
        """What the threshold promises, or what it would take, for a reader."""
        promise = (
            f"at most {100 * self.max_error:.10g} % of the automated answers are wrong, with "
            f"{100 * self.confidence_level:.10g} % confidence"
        )
        if self.value is not None:
            wrong = counted(self.n_errors, "of them is wrong", "of them are wrong")
            return (
                f"Automate where confidence is at least {_threshold(self.value)} %: {promise}. "
                f"{self.n_automated:,} of {self.n_rows:,} rows ({100 * self.coverage:.3g} %) would "
                f"be automated; {wrong}. This holds for new texts of the same kind as these rows."
            )
        rate = f"{100 * self.n_start_errors / self.n_start:.3g} %"
        rows = "most confident row holds", "most confident rows hold"
        errors = counted(self.n_start_errors, "error")
        seen = f"the {counted(self.n_start, *rows)} {errors} ({rate})"
        if self.n_more is None:
            return (
                f"No safe threshold with these data: {seen}, so more rows as sure as these would "
                f"hardly show that {promise}. {self._remedy}"
            )
        supposed, _ = _rows_in_all(
            self.n_start, self.n_start_errors, self.max_error, self.confidence_level
        )
        open_to = ""
        if self.n_start_errors == 0:
            condition = "none is wrong"
        elif supposed == self.n_start_errors / self.n_start:
            condition = f"{rate} is the true rate of such rows"
        else:
            condition = f"it is half of what is allowed, {100 * supposed:.3g} %"
            low, high = clopper_pearson(self.n_start_errors, self.n_start)
            open_to = (
                f" Their true rate may be anything from {100 * low:.2g} to {100 * high:.2g} % "
                "(95 % interval)."
            )
        return (
            f"No safe threshold with these data: {seen}. That does not show that {promise}."
            f"{open_to} If {condition}, about {estimated(self.n_more)} more labelled rows as sure "
            f"as these would show it in 8 of 10 attempts{self._in_all}."
        )

    @property
    def _remedy(self) -> str:
        """What would help where more rows of the first level's confidence would not."""
        if not self.surer_may_help:
            return "A better model is needed, or a promise that allows more errors."
        share = 100 * self.n_start / self.n_rows
        these = (
            "all rows there are" if self.n_start == self.n_rows else f"{share:.3g} % of the rows"
        )
        return (
            f"But these are {these}: of many more, as many surer ones may do better. Else a better "
            "model is needed, or a promise that allows more errors."
        )

    @property
    def _in_all(self) -> str:
        """How many rows of any confidence hold so many sure ones, at the share seen here."""
        if self.n_more is None or self.n_start == self.n_rows:
            return ""
        share = self.n_start / self.n_rows
        return (
            f"; {100 * share:.3g} % of the rows are, so that is about "
            f"{estimated(self.n_more / share)} rows of any confidence. The nearer the rate is "
            "to the limit, the more it takes: a better model, or a promise that allows more "
            "errors, may be cheaper"
        )


@dataclass(frozen=True)
class ClassCheck:
    """The promise, for the automated rows of one predicted class alone."""

    label: int
    """Index of the predicted class."""
    n_automated: int
    """Automated rows with that prediction."""
    n_errors: int
    """Errors among them."""
    error_upper_bound: float
    """One-sided Clopper-Pearson bound; 1 where nothing is automated."""
    is_shown: bool
    """Whether the bound is at most max_error. Not shown is not the same as broken."""


def choose_threshold(
    confidence: Float[np.ndarray, " n"] | Sequence[float],
    correct: Bool[np.ndarray, " n"] | Sequence[bool],
    *,
    max_error: float,
    confidence_level: float = 0.9,
    n_min: int | None = None,
) -> Threshold:
    """The lowest threshold reached by testing from the most confident rows down.

    The first level is picked from confidences alone, where the promise is foreseen to pass with
    probability 0.9. From there each distinct confidence is tested in turn, tied rows together,
    and the walk ends at the first failure; so only one true hypothesis can ever be rejected
    wrongly and no correction for many tests is due.

    Args:
        confidence: Calibrated confidence, in [0, 1], on rows that fitted nothing.
        correct: Whether the predicted label was right.
        max_error: Error rate to promise, in (0, 1).
        confidence_level: Probability with which the promise must hold, in (0, 1).
        n_min: Fewest rows at the first level; by default those that pass without an error.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        InvalidValue: max_error or confidence_level outside (0, 1), or n_min below 1.
        NotEnoughData: No rows.

    Source: Angelopoulos et al. 2021, section 3.2 and proposition 1; Clopper & Pearson 1934.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    if n_min is None:
        n_min = rows_needed(max_error, confidence_level, 0)
    checked_count("n_min", n_min)
    values, n_accepted, n_errors = accepted_by_threshold(confidence, correct)
    start = _start_level(values, n_accepted, max_error, confidence_level, n_min)
    last = _last_passing(n_accepted, n_errors, start, max_error, 1 - confidence_level)
    n_start, n_start_errors = int(n_accepted[start]), int(n_errors[start])
    if last is None:
        _, in_all = _rows_in_all(n_start, n_start_errors, max_error, confidence_level)
        n_more = None if in_all is None else max(1, in_all - n_start)
        value, n_automated, n_wrong, bound = None, 0, 0, None
    else:
        n_more, value = None, float(values[last])
        n_automated, n_wrong = int(n_accepted[last]), int(n_errors[last])
        bound = float(clopper_pearson_upper(n_wrong, n_automated, level=confidence_level))
    return Threshold(
        value=value,
        coverage=n_automated / confidence.size,
        n_automated=n_automated,
        n_errors=n_wrong,
        error_upper_bound=bound,
        max_error=max_error,
        confidence_level=confidence_level,
        n_rows=confidence.size,
        n_start=n_start,
        n_start_errors=n_start_errors,
        n_more=n_more,
    )


def check_classes(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    *,
    threshold: float,
    n_classes: int,
    max_error: float,
    confidence_level: float = 0.9,
) -> tuple[ClassCheck, ...]:
    """Whether the promise is also shown for each predicted class above the threshold.

    Each class is judged by itself at ``confidence_level``, without correction for their number: it
    is a warning light, not a second guarantee.

    Raises:
        InvalidData: NaN, out of range, different lengths, or predicted classes that are no
            integers or out of range.
        InvalidValue: A fraction outside its range, or fewer than two classes.
        NotEnoughData: No rows.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    checked_fraction("max_error", max_error)
    checked_fraction("threshold", threshold, is_open=False)
    checked_count("n_classes", n_classes, minimum=2)
    predicted = np.asarray(predicted)
    if predicted.shape != confidence.shape:
        raise InvalidData(f"predicted has shape {predicted.shape}, not {confidence.shape}")
    if not np.issubdtype(predicted.dtype, np.integer):
        raise InvalidData(
            f"predicted has dtype {predicted.dtype}; integer class indices are needed"
        )
    if ((predicted < 0) | (predicted >= n_classes)).any():
        raise InvalidData(f"predicted must hold class indices in 0 … {n_classes - 1}")
    is_automated = confidence >= threshold
    n_automated = np.bincount(predicted[is_automated], minlength=n_classes)
    n_errors = np.bincount(predicted[is_automated & ~correct], minlength=n_classes)
    bound = clopper_pearson_upper(n_errors, n_automated, level=confidence_level)
    return tuple(
        ClassCheck(
            label=k,
            n_automated=int(n_automated[k]),
            n_errors=int(n_errors[k]),
            error_upper_bound=float(bound[k]),
            is_shown=bool(bound[k] <= max_error),
        )
        for k in range(n_classes)
    )


def _threshold(value: float) -> str:
    """In per cent with three digits, and more where they would read as 100."""
    decimals = decimals_apart(100 * value, 100, 1)
    return f"{100 * value:.3g}" if decimals == 1 else f"{100 * value:.{decimals}f}"


def _start_level(
    values: Float[np.ndarray, " m"],
    n_accepted: Int[np.ndarray, " m"],
    max_error: float,
    confidence_level: float,
    n_min: int,
) -> int:
    """The first level with ``n_min`` rows that is foreseen to pass; no label is looked at."""
    first = int(np.searchsorted(n_accepted, n_min))
    if first >= n_accepted.size:
        return n_accepted.size - 1
    targets = np.geomspace(n_accepted[first], n_accepted[-1], START_CANDIDATES)
    levels = np.unique(np.searchsorted(n_accepted, np.floor(targets)))
    weights = np.diff(n_accepted, prepend=0)
    foreseen = (np.cumsum(weights * (1 - values)) / n_accepted)[levels]
    rate = np.maximum(foreseen, LEAST_FORESEEN * max_error)
    rows = n_accepted[levels]
    allowed = errors_allowed(rows, max_error, confidence_level)
    power = np.where(allowed < 0, 0.0, bdtr(np.maximum(allowed, 0).astype(np.float64), rows, rate))
    hopeful = np.flatnonzero(power >= START_POWER)
    return int(levels[hopeful[0] if hopeful.size else np.argmax(power)])


def _last_passing(
    n_accepted: Int[np.ndarray, " m"],
    n_errors: Int[np.ndarray, " m"],
    start: int,
    max_error: float,
    delta: float,
) -> int | None:
    """The level before the first failure on the way down; None if the start itself fails."""
    last: int | None = None
    for low in range(start, n_accepted.size, WALK_BLOCK):
        high = min(low + WALK_BLOCK, n_accepted.size)
        p_value = bdtr(n_errors[low:high].astype(np.float64), n_accepted[low:high], max_error)
        failing = np.flatnonzero(p_value > delta)
        if failing.size:
            return low + int(failing[0]) - 1 if failing[0] else last
        last = high - 1
    return last


def _rows_in_all(
    n_rows: int, n_errors: int, max_error: float, confidence_level: float
) -> tuple[float, int | None]:
    """The true error rate that is supposed and the rows it takes; None where they do not help."""
    observed, hoped = n_errors / n_rows, HOPED_SHARE * max_error
    if observed < max_error:
        target = rows_for_power(max_error, confidence_level, observed)
        if target is not None:
            return observed, target
    low, _ = clopper_pearson(n_errors, n_rows)
    is_open = bool(low <= hoped)
    return hoped, rows_for_power(max_error, confidence_level, hoped) if is_open else None
