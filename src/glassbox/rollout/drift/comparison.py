"""Two windows compared column by column: how large the change is, and whether it is chance.

A column has drifted where both agree: the stability index over bins frozen on the reference is
beyond a limit that knows the number of rows, and the p-value stands after the correction for many
columns. Knows no database.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.rollout.drift.report import FeatureDrift
from glassbox.rollout.drift.windows import Column, Window
from glassbox.stats.drift.population_stability import (
    frozen_cuts,
    population_stability,
    sorted_counts,
    stability_limit,
)
from glassbox.stats.drift.two_sample import compare_counts, compare_numbers, jensen_shannon
from glassbox.stats.multiple_testing import benjamini_hochberg

N_BINS: Final = 10
"""Bins of a number, equally full on the reference."""

MOST_CATEGORIES: Final = 50
"""Categories that keep a bin of their own; the rarer ones share one."""

OTHER: Final = "(others)"
"""Name of the bin of the rarer categories and of new ones."""

LEAST_VALUES: Final = 50
"""Values on each side below which a column is not judged."""


@dataclass(frozen=True)
class _Compared:
    """A column's counts and tests, before the correction for many columns."""

    statistics: dict[str, float]
    p_value: float
    edges: tuple[float, ...] | tuple[str, ...]
    reference: Int[np.ndarray, " bins"]
    current: Int[np.ndarray, " bins"]


def compare_windows(
    reference: Window, current: Window, *, fdr: float = 0.05
) -> tuple[tuple[FeatureDrift, ...], tuple[str, ...]]:
    """Return what has become of every column, drifted ones first, and notes on those left out.

    Answers and states are compared only where both windows come from one version, because another
    version's answers are not drift.

    Args:
        reference: Rows of then.
        current: Rows of now.
        fdr: Share of false alarms among the columns that are flagged, in (0, 1).
    """
    notes = []
    known = {each.name for each in reference.columns}
    new = sorted(each.name for each in current.columns if each.name not in known)
    if new:
        notes.append(f"Not in the reference, so not compared: {', '.join(new)}.")
    same_version = reference.model_version == current.model_version
    if not same_version and any(each.group in ("answer", "state") for each in reference.columns):
        notes.append(
            f"The reference holds answers of {reference.model_version or 'several versions'}: "
            "predictions and states of another version are not compared with them."
        )
    found, short = [], defaultdict[int, list[str]](list)
    for before in reference.columns:
        if before.group in ("answer", "state") and not same_version:
            continue
        now = current.column(before.name) or _absent(before, current.n_rows)
        if before.kind != now.kind:
            notes.append(f"{before.name} was {before.kind} and is {now.kind} now: not compared.")
        elif (n_values := _too_few(before, now)) is not None:
            short[n_values].append(before.name)
        else:
            found.append(_feature(before, now))
    notes += [
        f"Not compared, {n} values on one side where {LEAST_VALUES} are needed: {', '.join(names)}."
        for n, names in sorted(short.items())
    ]
    return _judged(found, fdr), tuple(notes)


def _judged(found: Sequence[FeatureDrift], fdr: float) -> tuple[FeatureDrift, ...]:
    adjusted = benjamini_hochberg(np.array([each.p_value for each in found], dtype=np.float64))
    judged = [
        replace(each, p_adjusted=float(p), drifted=bool(p <= fdr and each.effect > each.limit))
        for each, p in zip(found, adjusted, strict=True)
    ]
    return tuple(sorted(judged, key=lambda each: (not each.drifted, -each.effect, each.name)))


def _absent(column: Column, n_rows: int) -> Column:
    return replace(column, values=np.full(n_rows, np.nan))


def _too_few(before: Column, now: Column) -> int | None:
    """Return the values of the shorter side where they are too few; None if they are enough."""
    least = int(min(before.is_there.sum(), now.is_there.sum()))
    if least >= LEAST_VALUES:
        return None
    # A column that was full and is empty now has drifted, and the share that is missing says so.
    is_sampled = before.group in ("answer", "state")
    if is_sampled or before.is_there.sum() < LEAST_VALUES or now.values.size < LEAST_VALUES:
        return least
    return None


def _feature(before: Column, now: Column) -> FeatureDrift:
    missing = np.array([(~before.is_there).sum(), (~now.is_there).sum()], dtype=np.int64)
    n_before, n_now = int(before.is_there.sum()), int(now.is_there.sum())
    compared = (_numbers if before.kind == "numeric" else _categories)(before, now)
    first, second, p_value = compared.reference, compared.current, compared.p_value
    if missing.any() and before.group not in ("answer", "state"):
        # What is missing is a bin of its own, and its share a test of its own.
        first, second = np.append(first, missing[0]), np.append(second, missing[1])
        absent = compare_counts(np.array([n_before, missing[0]]), np.array([n_now, missing[1]]))
        p_value = min(1.0, 2 * min(p_value, absent.p_value))
    statistics = {
        "psi": population_stability(first, second),
        "jensen_shannon": jensen_shannon(first, second),
        "missing_reference": float(missing[0] / before.values.size),
        "missing_current": float(missing[1] / now.values.size),
        **compared.statistics,
    }
    return FeatureDrift(
        name=before.name,
        kind=before.kind,
        group=before.group,
        statistics=statistics,
        effect=statistics["psi"],
        limit=stability_limit(int(first.sum()), int(second.sum()), first.size),
        p_value=p_value,
        p_adjusted=p_value,
        drifted=False,
        edges=compared.edges,
        reference=_shares(compared.reference),
        current=_shares(compared.current),
        n_reference=n_before,
        n_current=n_now,
    )


def _numbers(before: Column, now: Column) -> _Compared:
    first = np.sort(before.values[before.is_there])
    second = np.sort(now.values[now.is_there])
    cuts = frozen_cuts(first, N_BINS)
    counts = sorted_counts(first, cuts), sorted_counts(second, cuts)
    edges = (float(first[0]), *map(float, cuts), float(first[-1]))
    if second.size == 0:
        return _Compared({}, 1.0, edges, *counts)
    compared = compare_numbers(first, second)
    spread = float(first.std())
    outside = np.searchsorted(second, first[0]) + second.size
    outside -= np.searchsorted(second, first[-1], side="right")
    statistics = {
        "ks": compared.ks,
        "wasserstein": compared.wasserstein / spread if spread > 0 else compared.wasserstein,
        "reference_mean": float(first.mean()),
        "current_mean": float(second.mean()),
        "outside": float(outside / second.size),
    }
    return _Compared(statistics, compared.p_value, edges, *counts)


def _categories(before: Column, now: Column) -> _Compared:
    counts = _counts(before)
    common = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    names = tuple(before.categories[place] for place in common)
    places = {name: index for index, name in enumerate(names)}
    known = set(before.categories)
    first = np.append(counts[common], counts.sum() - counts[common].sum())
    second = np.zeros(len(names) + 1, dtype=np.int64)
    n_new = 0
    for name, count in zip(now.categories, _counts(now), strict=True):
        second[places.get(name, len(names))] += count
        n_new += 0 if name in known else int(count)
    # Nothing rare before and nothing new now: no bin for them.
    is_used = (first + second) > 0
    names = tuple(name for name, used in zip((*names, OTHER), is_used, strict=True) if used)
    first, second = first[is_used], second[is_used]
    if second.sum() == 0:
        return _Compared({}, 1.0, names, first, second)
    compared = compare_counts(first, second)
    statistics = {
        "chi_square": compared.chi_square,
        "cramers_v": compared.cramers_v,
        "new": n_new / float(second.sum()),
    }
    return _Compared(statistics, compared.p_value, names, first, second)


def _counts(column: Column) -> Int[np.ndarray, " k"]:
    codes = column.values[column.is_there].astype(np.int64)
    return np.bincount(codes, minlength=len(column.categories))


def _shares(counts: Int[np.ndarray, " bins"]) -> tuple[float, ...]:
    total = max(1, int(counts.sum()))
    shares: Float[np.ndarray, " bins"] = counts / total
    return tuple(map(float, shares))
