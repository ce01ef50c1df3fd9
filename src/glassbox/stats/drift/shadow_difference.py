"""What the differences between a version and its shadow look like: recent level, shape, outliers.

A difference is a number of at least 0: the total variation distance of two classifiers, or the
absolute difference of two numbers. Knows neither versions nor requests.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.checking import checked_vector

EDGES: Final = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Bins of a difference in [0, 1]: finer where differences are small, as most are."""

HALF_LIFE: Final = 50.0
"""Requests after which a difference weighs half in the recent level."""

OUTLIER_Z: Final = 3.5
"""Robust z-score from which a difference stands out.

Source: Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers.
"""

LEAST_OUTLIER: Final = 0.01
"""Difference up to which nothing stands out, however alike all others are: rounding is no news."""


@dataclass(frozen=True)
class DifferenceHistogram:
    """How many differences fall into each bin; a bin holds its lower edge, the last one both."""

    edges: tuple[float, ...]
    """Bounds of the bins, ascending, from 0: one more than there are counts."""
    counts: tuple[int, ...]
    """Differences in each bin."""


@dataclass(frozen=True)
class DifferenceSummary:
    """The differences of one window."""

    n: int
    """Differences."""
    mean: float
    """Their mean."""
    least: float
    """The smallest."""
    largest: float
    """The largest."""
    ema: float
    """Recent level: mean in which weights halve every ``HALF_LIFE`` requests into the past."""
    histogram: DifferenceHistogram
    """Their shape."""
    outlier_limit: float
    """Difference above which one stands out from this window."""
    n_outliers: int
    """How many do."""


def summarise_differences(differences: Shaped[np.ndarray, " n"]) -> DifferenceSummary | None:
    """Return what the differences look like, oldest first; None where there are none.

    Raises:
        InvalidData: A difference that is negative, NaN or infinite.
    """
    if np.size(differences) == 0:
        return None
    values = checked_differences(differences)
    limit = outlier_limit(values)
    return DifferenceSummary(
        n=values.size,
        mean=float(values.mean()),
        least=float(values.min()),
        largest=float(values.max()),
        ema=moving_average(values),
        histogram=difference_histogram(values),
        outlier_limit=limit,
        n_outliers=int((values > limit).sum()),
    )


def checked_differences(differences: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, " n"]:
    """Return the differences as float64.

    Raises:
        InvalidData: One is negative, NaN or infinite.
        NotEnoughData: There are none.
    """
    values = checked_vector("differences", differences)
    if values.min() < 0:
        raise InvalidData(f"differences must be at least 0; one is {values.min():g}")
    return values


def moving_average(values: Float[np.ndarray, " n"], *, half_life: float = HALF_LIFE) -> float:
    """Return the exponentially weighted mean of values, oldest first.

    Weights sum to 1 whatever the number of values, so that the first one does not count for
    more than its share.

    Raises:
        InvalidValue: A half-life that is not positive.

    Source: bias-corrected moving average, Kingma & Ba 2015, Adam, section 3.
    """
    if not half_life > 0:
        raise InvalidValue("half_life", half_life, "a number above 0")
    weights = np.exp2(-np.arange(values.size - 1, -1, -1) / half_life)
    return float(weights @ values / weights.sum())


def difference_histogram(differences: Float[np.ndarray, " n"]) -> DifferenceHistogram:
    """Return the counts over ``EDGES``, times the power of ten that holds the largest one.

    For classifiers the edges are always the same; two numbers can lie further apart than 1.
    """
    largest = float(differences.max()) if differences.size else 0.0
    scale = 10.0 ** max(0, int(np.ceil(np.log10(largest)))) if largest > 1 else 1.0
    edges = np.asarray(EDGES) * scale
    counts: Int[np.ndarray, " bins"] = np.histogram(differences, bins=edges)[0]
    return DifferenceHistogram(
        tuple(float(each) for each in edges), tuple(int(each) for each in counts)
    )


def outlier_limit(differences: Float[np.ndarray, " n"]) -> float:
    """Return the difference above which one stands out from the others.

    It is the median plus 3.5 robust standard deviations: of the median absolute deviation, or of
    the mean one where more than half of the differences are the same.

    Source: Iglewicz & Hoaglin 1993; 1.4826 and 1.2533 make both deviations those of a normal.
    """
    median = float(np.median(differences))
    deviations = np.abs(differences - median)
    spread = 1.4826 * float(np.median(deviations)) or 1.2533 * float(deviations.mean())
    return max(LEAST_OUTLIER, median + OUTLIER_Z * spread)
