"""What a threshold means for the business: share automated, errors, cost.

A row is automated where its confidence is at least the threshold; the rest goes to people, who
are taken to make no error. The figures describe the rows given; the interval says how far the
error rate may be from that of new rows of the same kind.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from glassbox.errors import InvalidValue
from glassbox.stats.checking import checked_fraction, checked_outcomes, checked_vector
from glassbox.stats.intervals import clopper_pearson


@dataclass(frozen=True)
class Costs:
    """What one decision costs, in any one currency."""

    wrong_automated: float
    """Loss from one wrong automated decision, on top of ``automated``."""
    human_review: float
    """One decision by a person."""
    automated: float = 0.0
    """One automated decision, right or wrong."""

    def __post_init__(self) -> None:
        for name in ("wrong_automated", "human_review", "automated"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
                raise InvalidValue(name, value, "a finite amount of at least 0")


@dataclass(frozen=True, eq=False)
class BusinessCurve:
    """Business figures over a row of thresholds."""

    threshold: Float[np.ndarray, " n_points"]
    """Ascending fractions."""
    share_automated: Float[np.ndarray, " n_points"]
    """Share of all rows at or above the threshold."""
    error_rate: Float[np.ndarray, " n_points"]
    """Share of errors among the automated; NaN where nothing is automated."""
    error_rate_low: Float[np.ndarray, " n_points"]
    """Lower end of the two-sided Clopper-Pearson interval; NaN where nothing is automated."""
    error_rate_high: Float[np.ndarray, " n_points"]
    """Upper end; NaN where nothing is automated."""
    errors_per_1000: Float[np.ndarray, " n_points"]
    """Automated errors per 1,000 decisions, reviewed ones included."""
    cost_per_decision: Float[np.ndarray, " n_points"] | None
    """Mean over all decisions, in the currency of ``Costs``; None without costs."""
    level: float
    """Coverage of the intervals, in (0, 1)."""
    n_rows: int
    """Rows in all."""


@dataclass(frozen=True)
class BusinessFigures:
    """Business figures at one threshold."""

    threshold: float
    """Automate where confidence is at least this."""
    share_automated: float
    """Share of all rows."""
    n_automated: int
    """Automated rows."""
    n_errors: int
    """Errors among them."""
    error_rate: float | None
    """Share of errors among the automated; None where nothing is automated."""
    error_rate_low: float | None
    """Lower end of the two-sided Clopper-Pearson interval."""
    error_rate_high: float | None
    """Upper end."""
    errors_per_1000: float
    """Automated errors per 1,000 decisions, reviewed ones included."""
    cost_per_decision: float | None
    """Mean over all decisions; None without costs."""


def business_curve(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    threshold: Float[np.ndarray, " n_points"] | None = None,
    costs: Costs | None = None,
    level: float = 0.95,
) -> BusinessCurve:
    """Share automated, errors and cost at each threshold (0, 0.01, … 1 unless given).

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: No rows or no thresholds.
    """
    confidence, correct = checked_outcomes(confidence, correct)
    grid = np.arange(101) / 100 if threshold is None else checked_vector("threshold", threshold)
    grid = np.sort(grid)
    n_rows = confidence.size
    order = np.argsort(confidence, kind="stable")
    # Rows below the threshold come first in ascending order; the rest is automated.
    n_below = np.searchsorted(confidence[order], grid, side="left")
    wrong_above = np.append(np.cumsum(~correct[order][::-1])[::-1], 0)
    n_errors = wrong_above[n_below]
    n_automated = n_rows - n_below
    low, high = clopper_pearson(n_errors, n_automated, level=level)
    is_idle = n_automated == 0
    share = n_automated / n_rows
    error_share = n_errors / n_rows
    cost = None
    if costs is not None:
        cost = (
            share * costs.automated
            + error_share * costs.wrong_automated
            + (1 - share) * costs.human_review
        )
    return BusinessCurve(
        threshold=grid,
        share_automated=share,
        error_rate=np.where(is_idle, np.nan, n_errors / np.maximum(n_automated, 1)),
        error_rate_low=np.where(is_idle, np.nan, low),
        error_rate_high=np.where(is_idle, np.nan, high),
        errors_per_1000=1000 * error_share,
        cost_per_decision=cost,
        level=level,
        n_rows=n_rows,
    )


def business_figures(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    threshold: float,
    *,
    costs: Costs | None = None,
    level: float = 0.95,
) -> BusinessFigures:
    """Share automated, errors and cost at one threshold.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        InvalidValue: A threshold outside [0, 1].
        NotEnoughData: No rows.
    """
    checked_fraction("threshold", threshold, is_open=False)
    curve = business_curve(
        confidence, correct, threshold=np.array([threshold]), costs=costs, level=level
    )
    n_automated = round(float(curve.share_automated[0]) * curve.n_rows)
    cost = curve.cost_per_decision
    return BusinessFigures(
        threshold=threshold,
        share_automated=float(curve.share_automated[0]),
        n_automated=n_automated,
        n_errors=round(float(curve.errors_per_1000[0]) * curve.n_rows / 1000),
        error_rate=float(curve.error_rate[0]) if n_automated else None,
        error_rate_low=float(curve.error_rate_low[0]) if n_automated else None,
        error_rate_high=float(curve.error_rate_high[0]) if n_automated else None,
        errors_per_1000=float(curve.errors_per_1000[0]),
        cost_per_decision=None if cost is None else float(cost[0]),
    )
