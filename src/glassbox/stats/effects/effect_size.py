"""How far two groups of trials lie apart, in units that can be compared: d, g and their intervals.

Everything takes means, variances and counts of many latents at once, or the values of one. A group
without spread has no d: such entries are NaN, never infinity, so that nothing without spread is
ranked first. Knows nothing of latents, conditions or files.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import gammaln, nctdtr, nctdtrinc, ndtri, stdtr

from glassbox.errors import InvalidData
from glassbox.stats.checking import checked_fraction

_STEPS = 6
"""Secant steps on the probit scale, where the function is nearly a line; three reach 1e-9."""


@dataclass(frozen=True, eq=False)
class GroupMoments:
    """Mean, variance and count of one group, for many latents at once."""

    mean: Float[np.ndarray, " n"]
    """Mean of the group's values; NaN where there are none."""
    variance: Float[np.ndarray, " n"]
    """Variance with n - 1 below; NaN where there are fewer than two values."""
    count: Float[np.ndarray, " n"]
    """Values in the group."""


@dataclass(frozen=True, eq=False)
class EffectSizes:
    """Standardised differences of two groups, treated minus baseline, for many latents at once."""

    d: Float[np.ndarray, " n"]
    """Cohen's d: difference of means by the pooled standard deviation; NaN without spread."""
    g: Float[np.ndarray, " n"]
    """Hedges' g: d without its small-sample bias."""
    low: Float[np.ndarray, " n"]
    """Lower end of the interval of what d and g estimate."""
    high: Float[np.ndarray, " n"]
    """Upper end of it."""
    p_value: Float[np.ndarray, " n"]
    """Two-sided p-value of Student's t test; NaN where d is."""
    has_spread: Bool[np.ndarray, " n"]
    """Whether the values vary within at least one group."""
    level: float
    """Nominal coverage of [low, high], in (0, 1)."""


def moments(
    values: Float[np.ndarray, "n trials"], present: Bool[np.ndarray, "n trials"]
) -> GroupMoments:
    """Return mean, variance and count of each row over the entries marked present."""
    count = present.sum(axis=1).astype(np.float64)
    kept = np.where(present, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(axis=1) / count
        deviations = np.where(present, values - mean[:, None], 0.0)
        variance = (deviations**2).sum(axis=1) / (count - 1)
    return GroupMoments(
        np.where(count > 0, mean, np.nan), np.where(count > 1, variance, np.nan), count
    )


def effect_sizes(
    treated: GroupMoments, baseline: GroupMoments, *, level: float = 0.95
) -> EffectSizes:
    """Return d, g, their interval and the t test's p-value of two independent groups.

    The interval inverts the noncentral t distribution, so it is exact for normal values of equal
    variance, and as wide as it must be for few trials.

    Raises:
        InvalidValue: A level outside (0, 1).

    Source: Cohen 1988, section 2.2; Hedges 1981, J. Educ. Stat. 6(2), equations 5 and 6e;
    Steiger & Fouladi 1997 for the interval.
    """
    checked_fraction("level", level)
    n1, n0 = treated.count, baseline.count
    df = n1 + n0 - 2
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.sqrt(((n1 - 1) * treated.variance + (n0 - 1) * baseline.variance) / df)
        difference = treated.mean - baseline.mean
        # Rounding leaves a constant group with a variance of about the square of an ulp.
        scale = np.maximum(np.abs(treated.mean), np.abs(baseline.mean))
        has_spread = pooled > 1e-12 * scale
        d = np.where(has_spread, difference / np.where(has_spread, pooled, 1.0), np.nan)
    return from_d(d, n1, n0, level=level, has_spread=has_spread)


def from_d(
    d: Float[np.ndarray, " n"],
    n_treated: Float[np.ndarray, " n"],
    n_baseline: Float[np.ndarray, " n"],
    *,
    level: float = 0.95,
    has_spread: Bool[np.ndarray, " n"] | None = None,
) -> EffectSizes:
    """Return what d and the sizes of both groups say; entries that are not finite stay NaN.

    Raises:
        InvalidValue: A level outside (0, 1).
    """
    checked_fraction("level", level)
    d = np.asarray(d, dtype=np.float64)
    n1 = np.asarray(n_treated, dtype=np.float64)
    n0 = np.asarray(n_baseline, dtype=np.float64)
    usable = np.isfinite(d) & (n1 >= 1) & (n0 >= 1) & (n1 + n0 >= 3)
    df = np.where(usable, n1 + n0 - 2, 1.0)
    scale = np.sqrt(np.where(usable, 1 / np.maximum(n1, 1) + 1 / np.maximum(n0, 1), 1.0))
    t = np.where(usable, d, 0.0) / scale
    low, high = noncentral_interval(t, df, level=level)
    factor = hedges_factor(df)
    nothing = np.where(usable, 1.0, np.nan)
    return EffectSizes(
        d=d * nothing,
        g=np.where(usable, d, 0.0) * factor * nothing,
        low=low * scale * nothing,
        high=high * scale * nothing,
        p_value=2 * stdtr(df, -np.abs(t)) * nothing,
        has_spread=np.isfinite(d) if has_spread is None else has_spread,
        level=level,
    )


def hedges_factor(df: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return what d is multiplied by to be unbiased, in (0, 1]; 1 - 3/(4 df - 1) nearly.

    With one degree of freedom d has no mean, and the factor is 0.

    Source: Hedges 1981, J. Educ. Stat. 6(2), equation 6d.
    """
    half = np.asarray(df, dtype=np.float64) / 2
    above = np.maximum(half - 0.5, 1e-300)
    return np.asarray(np.exp(gammaln(half) - gammaln(above)) / np.sqrt(half))


def noncentral_interval(
    t: Float[np.ndarray, " n"], df: Float[np.ndarray, " n"], *, level: float = 0.95
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the noncentralities between which a t statistic is not surprising.

    Raises:
        InvalidValue: A level outside (0, 1).
        InvalidData: A t that is not finite.

    Source: Steiger & Fouladi 1997, "Noncentrality interval estimation", pivoting the distribution
    function.
    """
    tail = (1 - checked_fraction("level", level)) / 2
    if not np.isfinite(t).all():
        raise InvalidData("a t statistic must be finite")
    size = np.abs(t)
    ends = [_noncentrality(size, df, share) for share in (1 - tail, tail)]
    low, high = ends
    return np.where(t < 0, -high, low), np.where(t < 0, -low, high)


def student_p_values(
    d: Float[np.ndarray, "*shape"], n_treated: float, n_baseline: float
) -> Float[np.ndarray, "*shape"]:
    """Return the two-sided p-values that Student's t test gives an effect of size d."""
    scale = np.sqrt(1 / n_treated + 1 / n_baseline)
    return np.asarray(2 * stdtr(n_treated + n_baseline - 2, -np.abs(d) / scale))


def exact_table_p_values(
    k_treated: Shaped[np.ndarray, " n"],
    n_treated: Shaped[np.ndarray, " n"],
    k_baseline: Shaped[np.ndarray, " n"],
    n_baseline: Shaped[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return Fisher's two-sided p-values of many 2x2 tables; 1 where a margin is empty.

    Raises:
        InvalidData: Counts that are negative or above their group's size.

    Source: Fisher 1935; two-sided by the tables that are at most as probable, as in R's
    ``fisher.test``.
    """
    table = np.stack([k_treated, n_treated, k_baseline, n_baseline]).astype(np.int64)
    if (table < 0).any() or (table[0] > table[1]).any() or (table[2] > table[3]).any():
        raise InvalidData("counts must satisfy 0 <= k <= n in both groups")
    unique, place = np.unique(table, axis=1, return_inverse=True)
    values = [_fisher(*map(int, column)) for column in unique.T]
    return np.array(values, dtype=np.float64)[place.reshape(-1)]


def _fisher(k1: int, n1: int, k0: int, n0: int) -> float:
    hits = k1 + k0
    support = np.arange(max(0, hits - n0), min(hits, n1) + 1)
    log_prob = -(
        gammaln(support + 1)
        + gammaln(n1 - support + 1)
        + gammaln(hits - support + 1)
        + gammaln(n0 - hits + support + 1)
    )
    prob = np.exp(log_prob - log_prob.max())
    # Tables as probable as this one count, and rounding must not decide which those are.
    as_rare = prob <= prob[k1 - support[0]] * (1 + 1e-7)
    return min(1.0, float(prob[as_rare].sum() / prob.sum()))


def _noncentrality(
    t: Float[np.ndarray, " n"], df: Float[np.ndarray, " n"], share: float
) -> Float[np.ndarray, " n"]:
    """The noncentrality under which a share of the distribution lies below t, t at least 0.

    The library's inverse is off by some thousandths near t = 0 and serves as the start; far out,
    where the distribution function itself gives up, it stays the answer.
    """
    start = nctdtrinc(df, share, np.maximum(t, 1e-3))
    wanted = float(ndtri(share))
    previous, current = start + 1e-2, start
    missed = _probit(df, previous, t) - wanted
    for _ in range(_STEPS):
        miss = _probit(df, current, t) - wanted
        with np.errstate(invalid="ignore", divide="ignore"):
            step = miss * (current - previous) / (miss - missed)
        usable = np.isfinite(step) & (np.abs(step) < 0.5)
        previous, missed = current, miss
        current = np.where(usable, current - np.where(usable, step, 0.0), current)
    return np.asarray(current)


def _probit(
    df: Float[np.ndarray, " n"], noncentrality: Float[np.ndarray, " n"], t: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    return np.asarray(ndtri(nctdtr(df, noncentrality, t)))
