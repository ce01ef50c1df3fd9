"""Which of many effects stand out, given that the largest of many nulls is large by itself.

Max-|d| by permutation of the group labels, the effect sizes that nulls reach by order statistics,
and what becomes of the selected effects in the other half of the trials. Knows nothing of latents,
conditions or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv, stdtrit

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.checking import checked_count, checked_fraction

CHUNK_CELLS: Final = 4_000_000
"""Permuted statistics held at once; bounds memory at some tens of megabytes."""


@dataclass(frozen=True, eq=False)
class Design:
    """Trials of latents that share one design: which trials are treated, and who may swap."""

    values: Float[np.ndarray, "trials n"]
    """Outcome of each trial, one column per latent."""
    treated: Bool[np.ndarray, " labels"]
    """Whether a trial belongs to the treated group."""
    strata: Int[np.ndarray, " numbers"] | None = None
    """Labels are permuted within equal numbers only (trials of one prompt); None permutes all."""


@dataclass(frozen=True, eq=False)
class MaxStatistic:
    """Effects of all latents of some designs, against the largest that chance alone produces."""

    observed: tuple[Float[np.ndarray, "..."], ...]
    """|d| of each latent of each design; NaN where all trials are alike, infinite where both groups
    are constant and differ."""
    p_adjusted: tuple[Float[np.ndarray, "..."], ...]
    """Probability that the largest null |d| is at least that, in (0, 1]; NaN where |d| is."""
    null_max: Float[np.ndarray, " permutations"]
    """Largest |d| of all latents under each permutation."""
    n_latents: int
    """Latents whose d is defined."""

    def threshold(self, level: float = 0.05) -> float:
        """Return the |d| that the largest null exceeds with probability ``level``.

        Raises:
            InvalidValue: A level outside (0, 1).
        """
        share = 1 - checked_fraction("level", level)
        return float(np.quantile(self.null_max, share, method="higher"))


@dataclass(frozen=True)
class SplitHalf:
    """Effects selected on one half of the trials, seen again on the other."""

    n_latents: int
    """Latents whose d is defined on both halves."""
    n_selected: int
    """Latents selected by |d| on the first half."""
    correlation: float | None
    """Spearman's rank correlation of d on both halves, all latents."""
    selected_mean: float | None
    """Mean |d| of the selected on the half that selected them."""
    replicated_mean: float | None
    """Their mean d on the other half, with the sign they were selected for."""
    sign_agreement: float | None
    """Share of the selected with the same sign on both halves, 0 counted half; 0.5 by chance."""

    @property
    def shrinkage(self) -> float | None:
        """What is left of the selected effects on the other half; near 0 for nulls, 1 if real."""
        if not self.selected_mean or self.replicated_mean is None:
            return None
        return self.replicated_mean / self.selected_mean


def max_statistic(
    designs: Sequence[Design], *, n_permutations: int = 2000, seed: int = 0
) -> MaxStatistic:
    """Return each latent's |d| with its probability among the maxima of permuted labels.

    All latents of one design are permuted alike, which keeps their dependence; trials of one
    stratum stay in it. The observed labelling counts as one of the permutations, so no p-value
    is 0.

    Raises:
        InvalidData: No design, shapes that disagree, NaN, or a group with fewer than two trials.
        InvalidValue: Fewer than one permutation.

    Source: Westfall & Young 1993, single-step max-T; Phipson & Smyth 2010 for the added one.
    """
    checked_count("n_permutations", n_permutations)
    if not designs:
        raise InvalidData("there is no design to permute")
    observed, null_max = [], np.zeros(n_permutations)
    for position, design in enumerate(designs):
        _check(design)
        # Each design has a stream of its own: its permutations do not depend on its neighbours.
        rng = np.random.default_rng([seed, position])
        n_latents = design.values.shape[1]
        statistic = _Statistic(design)
        observed.append(statistic(design.treated[None, :])[0])
        chunk = max(1, CHUNK_CELLS // max(1, n_latents + design.treated.size))
        for start in range(0, n_permutations, chunk):
            stop = min(n_permutations, start + chunk)
            labels = _permuted(design, stop - start, rng)
            largest = np.nan_to_num(statistic(labels), nan=0.0).max(axis=1, initial=0.0)
            null_max[start:stop] = np.maximum(null_max[start:stop], largest)
    ascending = np.sort(null_max)
    adjusted = []
    for values in observed:
        # Rounding of sums in another order must not make a labelling beat itself.
        as_large = n_permutations - np.searchsorted(ascending, values * (1 - 1e-9), side="left")
        p_value = (as_large + 1) / (n_permutations + 1)
        adjusted.append(np.where(np.isnan(values), np.nan, p_value))
    n_defined = sum(int((~np.isnan(values)).sum()) for values in observed)
    return MaxStatistic(tuple(observed), tuple(adjusted), null_max, n_defined)


def null_order_statistic(
    n_null: int, rank: int, *, n_treated: int = 30, n_baseline: int = 30
) -> float:
    """Return the median of the rank-th largest |d| of so many latents without any effect.

    Exact for independent normal values: |d| is then a scaled |t|, and the order statistic of its
    tail probability has a beta distribution.

    Raises:
        InvalidValue: A rank outside 1 … n_null, or groups with fewer than three values together.

    Source: David & Nagaraja 2003, Order Statistics, section 2.1.
    """
    checked_count("n_null", n_null)
    if not 1 <= rank <= n_null:
        raise InvalidValue("rank", rank, f"an integer in 1 … {n_null}")
    if min(n_treated, n_baseline) < 1 or n_treated + n_baseline < 3:
        raise InvalidValue("n_treated, n_baseline", (n_treated, n_baseline), "3 values together")
    tail = betaincinv(rank, n_null - rank + 1, 0.5)
    t = -stdtrit(n_treated + n_baseline - 2, tail / 2)
    return float(t * np.sqrt(1 / n_treated + 1 / n_baseline))


def split_half(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " other"], *, n_selected: int
) -> SplitHalf:
    """Return what the effects selected by |d| on the first half are on the second.

    Latents without a d on either half are left out. The first half flatters what it selects; the
    second does not know of the selection.

    Raises:
        InvalidData: Different lengths.
        InvalidValue: Fewer than one selected.
    """
    checked_count("n_selected", n_selected)
    if first.shape != second.shape:
        raise InvalidData(f"first has shape {first.shape}, second has {second.shape}")
    usable = np.isfinite(first) & np.isfinite(second)
    one, other = first[usable], second[usable]
    # What has no effect at all on the first half is selected by nobody.
    n_taken = min(n_selected, int((one != 0).sum()))
    if n_taken == 0:
        return SplitHalf(int(one.size), 0, _rank_correlation(one, other), None, None, None)
    chosen = np.argsort(-np.abs(one), kind="stable")[:n_taken]
    signs = np.sign(one[chosen])
    return SplitHalf(
        n_latents=int(one.size),
        n_selected=n_taken,
        correlation=_rank_correlation(one, other),
        selected_mean=float(np.abs(one[chosen]).mean()),
        replicated_mean=float((signs * other[chosen]).mean()),
        sign_agreement=float((0.5 + 0.5 * np.sign(signs * other[chosen])).mean()),
    )


class _Statistic:
    """|d| of all latents of a design under given labels, by two matrix products."""

    def __init__(self, design: Design) -> None:
        values = design.values.astype(np.float64)
        centred = values - values.mean(axis=0)
        self.centred = centred
        self.total = (centred**2).sum(axis=0)
        scale = np.abs(values).max(axis=0, initial=0.0)
        self.varies = np.sqrt(self.total / values.shape[0]) > 1e-7 * scale
        self.n_trials, self.n_treated = values.shape[0], int(design.treated.sum())

    def __call__(self, labels: Bool[np.ndarray, "draws trials"]) -> Float[np.ndarray, "draws n"]:
        n1, n0 = self.n_treated, self.n_trials - self.n_treated
        # The columns sum to 0, so one group's sum tells both means.
        sums = labels.astype(np.float64) @ self.centred
        difference = sums * (1 / n1 + 1 / n0)
        within = np.maximum(self.total - sums**2 * (1 / n1 + 1 / n0), 0.0)
        # Groups that are constant but differ have no finite d, and beat all that have one.
        separated = within <= 1e-12 * self.total
        pooled = np.sqrt(np.where(separated, 1.0, within) / (n1 + n0 - 2))
        sizes = np.where(separated, np.inf, np.abs(difference) / pooled)
        return np.where(self.varies, sizes, np.nan)


def _permuted(
    design: Design, n_draws: int, rng: np.random.Generator
) -> Bool[np.ndarray, "draws trials"]:
    labels = np.tile(design.treated, (n_draws, 1))
    if design.strata is None:
        return rng.permuted(labels, axis=1)
    order = np.argsort(design.strata, kind="stable")
    keys = rng.random(labels.shape)
    # Sorting by (stratum, random key) shuffles within strata, all draws at once.
    ranked = np.argsort(keys + design.strata[None, :], axis=1, kind="stable")
    permuted = np.empty_like(labels)
    np.put_along_axis(
        permuted, ranked, np.broadcast_to(design.treated[order], labels.shape), axis=1
    )
    return permuted


def _check(design: Design) -> None:
    n_trials = design.values.shape[0]
    if design.treated.shape != (n_trials,):
        raise InvalidData(f"treated has shape {design.treated.shape}; there are {n_trials} trials")
    if design.strata is not None and design.strata.shape != (n_trials,):
        raise InvalidData(f"strata has shape {design.strata.shape}; there are {n_trials} trials")
    if not np.isfinite(design.values).all():
        raise InvalidData("outcomes must be finite numbers")
    n_treated = int(design.treated.sum())
    if min(n_treated, n_trials - n_treated) < 2:
        raise InvalidData(f"{n_treated} of {n_trials} trials are treated; each group needs two")


def _rank_correlation(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]
) -> float | None:
    if first.size < 3:
        return None
    one, other = _mean_ranks(first), _mean_ranks(second)
    if min(float(np.ptp(one)), float(np.ptp(other))) == 0:
        return None
    return float(np.corrcoef(np.stack([one, other]))[0, 1])


def _mean_ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])
