"""Two arms of an experiment: how many rows it takes, and what came of it.

Analysed at a fixed horizon (one look, at the number of rows planned beforehand) or sequentially
(any number of looks). It assumes that arms were drawn by lot; that their rows are as many as they
were to get is all that it can see of it (``sample_ratio_p_value``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import chdtrc, ndtr, ndtri, stdtr, stdtrit

from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.stats.checking import checked_count, checked_fraction, seeded
from glassbox.stats.intervals import wilson
from glassbox.stats.sequential.differences import (
    difference_bounds,
    difference_p_values,
    is_difference_sure,
)
from glassbox.stats.sequential.means import BoundedMean

Method = Literal["fixed horizon, rates", "fixed horizon, means", "sequential"]
"""How arms are compared."""

SAMPLE_RATIO_ALPHA: Final = 0.001
"""P-value of ``sample_ratio_p_value`` below which arms were not filled as asked: small, because
rows are many and the warning ends an experiment. Source: Kohavi, Tang & Xu 2020, Trustworthy Online
Controlled Experiments, chapter 21."""


@dataclass(frozen=True)
class Sample:
    """What a fixed-horizon analysis needs of one arm."""

    n: int
    """Rows."""
    mean: float
    """Mean of the outcome; a rate where it is 0 or 1."""
    variance: float
    """Variance of the outcome, divided by n."""

    @classmethod
    def of(cls, tally: BoundedMean) -> "Sample":
        """Return the sample that a tally holds.

        Raises:
            NotEnoughData: It is empty.
        """
        if not tally.n:
            raise NotEnoughData("An arm of an experiment", 0, 1)
        return cls(tally.n, tally.mean, tally.variance)


@dataclass(frozen=True)
class Comparison:
    """Treatment less control."""

    method: Method
    """How it was analysed."""
    difference: float
    """Mean of the treatment less mean of the control."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    level: float
    """Coverage of [low, high]: at one look, or at all looks together, by method."""
    p_value: float
    """Two-sided, that there is no difference; valid at one look, or at any, by method."""
    n_control: int
    """Rows of the control."""
    n_treatment: int
    """Rows of the treatment."""

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


def compare_rates(control: Sample, treatment: Sample, *, level: float = 0.95) -> Comparison:
    """Return how two rates differ, at a fixed horizon.

    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (interval); pooled two-proportion
        z-test (p-value).
    """
    checked_fraction("level", level)
    lows, highs = wilson(
        np.array([round(control.mean * control.n), round(treatment.mean * treatment.n)]),
        np.array([control.n, treatment.n]),
        level=level,
    )
    old, new = control.mean, treatment.mean
    difference = new - old
    low = difference - math.hypot(new - float(lows[1]), float(highs[0]) - old)
    high = difference + math.hypot(float(highs[1]) - new, old - float(lows[0]))
    pooled = (old * control.n + new * treatment.n) / (control.n + treatment.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n))
    p_value = 2 * float(ndtr(-abs(difference) / error)) if error else 1.0
    return Comparison(
        "fixed horizon, rates", difference, low, high, level, p_value, control.n, treatment.n
    )


def compare_means(control: Sample, treatment: Sample, *, level: float = 0.95) -> Comparison:
    """Return how two means differ, at a fixed horizon.

    Raises:
        NotEnoughData: Fewer than two rows in an arm.

    Source: Welch 1947, Biometrika 34(1-2).
    """
    checked_fraction("level", level)
    for each in (control, treatment):
        if each.n < 2:
            raise NotEnoughData("A comparison of means", each.n, 2, remedy="Of each arm.")
    # Of each mean: the unbiased variance divided by the rows.
    old, new = (each.variance / (each.n - 1) for each in (control, treatment))
    difference, error = treatment.mean - control.mean, math.sqrt(old + new)
    if error == 0:
        p_value = 1.0 if difference == 0 else 0.0
        half = 0.0
    else:
        freedom = (old + new) ** 2 / (old**2 / (control.n - 1) + new**2 / (treatment.n - 1))
        p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
        half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return Comparison(
        "fixed horizon, means",
        difference,
        difference - half,
        difference + half,
        level,
        p_value,
        control.n,
        treatment.n,
    )


def compare_sequentially(
    control: BoundedMean, treatment: BoundedMean, *, level: float = 0.95
) -> Comparison:
    """Return how two means differ, at this look and at all others together.

    Raises:
        NotEnoughData: An arm is empty.

    Source: as of ``difference_bounds``.
    """
    tail = (1 - checked_fraction("level", level)) / 2
    for each in (control, treatment):
        if not each.n:
            raise NotEnoughData("An arm of an experiment", 0, 1)
    bounds = difference_bounds(treatment, control, tail, tail)
    p_value = min(1.0, 2 * min(difference_p_values(treatment, control)))
    return Comparison(
        "sequential", bounds.value, bounds.low, bounds.high, level, p_value, control.n, treatment.n
    )


def sample_ratio_p_value(n_rows: Sequence[int], shares: Sequence[float]) -> float:
    """Return how often chance alone would split the rows at least so far from the shares asked for.

    A small value is a sample ratio mismatch: rows of one arm were lost or counted twice, and those
    that are left are no longer alike, so that no comparison of the arms is to be believed.

    Args:
        n_rows: Rows of each arm.
        shares: What each was to get of all rows, above 0, in proportion to each other.

    Raises:
        InvalidValue: A share that is not above 0, or another number of shares than of arms.
        NotEnoughData: No rows.

    Source: Fabijan et al. 2019, KDD, "Diagnosing sample ratio mismatch in online controlled
        experiments", by Pearson's chi-squared test of goodness of fit (1900).
    """
    rows, asked = np.asarray(n_rows, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if rows.shape != asked.shape or not (np.isfinite(asked) & (asked > 0)).all():
        raise InvalidValue("shares", list(shares), f"{rows.size} numbers above 0, one for each arm")
    if not rows.sum():
        raise NotEnoughData("A check of the split", 0, 1)
    expected = rows.sum() * asked / asked.sum()
    return float(chdtrc(rows.size - 1, ((rows - expected) ** 2 / expected).sum()))


def rows_per_arm_for_rates(
    rate: float, change: float, *, level: float = 0.95, power: float = 0.8
) -> int:
    """Return the rows of each arm with which a change of a rate is found with some probability.

    Args:
        rate: Rate of the control, in (0, 1).
        change: Smallest change worth finding, not 0; the changed rate is in (0, 1), too.
        level: 1 less the two-sided significance level.
        power: Probability of finding it.

    Raises:
        InvalidValue: A value outside its range.

    Source: Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions, equation 4.14,
        without continuity correction.
    """
    changed = checked_fraction("rate", rate) + change
    if change == 0 or not 0 < changed < 1:
        raise InvalidValue("change", change, "not 0, with rate + change in (0, 1)")
    z_level, z_power = _quantiles(level, power)
    middle = (rate + changed) / 2
    spread = z_level * math.sqrt(2 * middle * (1 - middle)) + z_power * math.sqrt(
        rate * (1 - rate) + changed * (1 - changed)
    )
    return math.ceil((spread / change) ** 2)


def rows_per_arm_for_means(
    deviation: float, change: float, *, level: float = 0.95, power: float = 0.8
) -> int:
    """Return the rows of each arm with which a change of a mean is found with some probability.

    Args:
        deviation: Standard deviation of the outcome, above 0.
        change: Smallest change worth finding, not 0.
        level: 1 less the two-sided significance level.
        power: Probability of finding it.

    Raises:
        InvalidValue: A value outside its range.

    Source: normal approximation, 2 (z + z')² (deviation / change)².
    """
    if not deviation > 0:
        raise InvalidValue("deviation", deviation, "above 0")
    if change == 0 or not math.isfinite(change):
        raise InvalidValue("change", change, "a finite number that is not 0")
    z_level, z_power = _quantiles(level, power)
    return max(2, math.ceil(2 * ((z_level + z_power) * deviation / change) ** 2))


def rows_for_sequential(
    rate: float, change: float, *, level: float = 0.95, n_runs: int = 100, seed: int = 0
) -> tuple[int, int]:
    """Return rows of each arm after which a sequential analysis ends: median and 80th percentile.

    By simulation of 0-or-1 outcomes in turns, looked at 30 times on the way to sixteen times the
    rows of the fixed horizon; a run that has not ended then counts as ending there.

    Raises:
        InvalidValue: A value outside its range.
    """
    fixed = rows_per_arm_for_rates(rate, change, level=level)
    checked_count("n_runs", n_runs)
    tail, most = (1 - level) / 2, 16 * fixed
    looks = np.unique(np.geomspace(max(fixed // 16, 1), most, 30).astype(int))
    steps = np.diff(looks, prepend=0)
    rng = seeded(seed)
    ends = []
    for _ in range(n_runs):
        old, new = BoundedMean(), BoundedMean()
        end = most
        for look, step in zip(looks.tolist(), steps.tolist(), strict=True):
            old.add_many(0.0, step - (k := int(rng.binomial(step, rate))))
            old.add_many(1.0, k)
            new.add_many(0.0, step - (k := int(rng.binomial(step, rate + change))))
            new.add_many(1.0, k)
            if is_difference_sure(new, old, tail):
                end = look
                break
        ends.append(end)
    median, most_runs = np.quantile(ends, (0.5, 0.8))
    return int(median), int(most_runs)


def _quantiles(level: float, power: float) -> tuple[float, float]:
    checked_fraction("level", level)
    checked_fraction("power", power)
    return float(ndtri((1 + level) / 2)), float(ndtri(power))
