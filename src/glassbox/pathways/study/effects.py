"""Effect sizes of a patching study from its logs: recomputed, corrected, and seen on halves.

Which two conditions ``cohen_d`` compares is taken from the configuration, else from the records,
else found out by which comparison gives the numbers that the checkpoints hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.pathways.study.checkpoints import CheckpointRecord
from glassbox.pathways.study.conditions import CONDITIONS, CONTRASTS, DECISION, Contrast
from glassbox.pathways.study.responses import NO_TRIAL, Responses
from glassbox.stats.effects.effect_size import (
    EffectSizes,
    effect_sizes,
    exact_table_p_values,
    from_d,
    moments,
)
from glassbox.stats.effects.max_statistic import Design, MaxStatistic, max_statistic

MATCHES_WITHIN: Final = 0.01
"""Difference up to which a recomputed d counts as the checkpoint's: rounding to two decimals."""

RECOGNISED_BY: Final = 0.5
"""Share of latents that must match for a contrast to count as found out."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Outcomes of all latents as a block: latent, condition, trial."""

    names: tuple[str, ...]
    """Latents, in the order of the first axis."""
    values: Float[np.ndarray, "n conditions trials"]
    """Outcome of each trial; 0 where it is not present."""
    present: Bool[np.ndarray, "n conditions trials"]
    """Whether there is an outcome."""
    prompt: Int[np.ndarray, "n conditions trials"]
    """Digest of the trial's prompt; 0 where it is unknown."""
    parity: Int[np.ndarray, "n conditions trials"]
    """The half a trial belongs to: its number (else its place) modulo 2."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the logs say of the latents that checkpoints and logs have in common."""

    names: tuple[str, ...]
    """The latents."""
    contrast: tuple[Contrast, ...]
    """What each one's effect compares."""
    contrast_from: str
    """``configuration``, ``records``, ``data`` (found out) or ``assumed``."""
    match_share: float | None
    """Share of latents whose recomputed d is the checkpoint's; None where there is none."""
    sizes: EffectSizes
    """Effect sizes of the contrast."""
    n_treated: Int[np.ndarray, " n"]
    """Trials with an outcome in the treated condition."""
    n_baseline: Int[np.ndarray, " n"]
    """The same in its baseline."""
    p_value: Float[np.ndarray, " n"]
    """Fisher's exact test for decisions, Student's t test for other outcomes; NaN without data."""
    p_max: Float[np.ndarray, " n"]
    """Max-|d| adjusted p-value; NaN where no outcome varies."""
    maxima: MaxStatistic | None
    """The permutations; None where no latent could be permuted."""
    within_prompts: int
    """Latents whose labels were permuted within prompts."""
    halves: Float[np.ndarray, "2 n"]
    """d on the odd and on the even trials; NaN where undefined."""
    outcome: str
    """Log field that most latents' effects are computed on."""


def trial_block(responses: Responses, names: Sequence[str]) -> Trials:
    """Return the outcomes of some latents as a block; repeated trials are left out."""
    wanted = {name: place for place, name in enumerate(names)}
    to_row = np.array([wanted.get(name, -1) for name in responses.names], dtype=np.int64)
    kept = np.flatnonzero(responses.first & np.isfinite(responses.outcome))
    if to_row.size:
        kept = kept[to_row[responses.latent[kept]] >= 0]
    latent = to_row[responses.latent[kept]] if to_row.size else np.zeros(0, dtype=np.int64)
    condition = responses.condition[kept].astype(np.int64)
    cell = latent * len(CONDITIONS) + condition
    trial = responses.trial[kept].astype(np.int64)
    order = np.lexsort((kept, trial, cell))
    cell, trial, kept = cell[order], trial[order], kept[order]
    # Place within the cell: distance from the cell's first row.
    starts = np.searchsorted(cell, cell, side="left")
    place = np.arange(cell.size) - starts
    depth = int(place.max()) + 1 if place.size else 1
    shape = (len(names), len(CONDITIONS), depth)
    at = (cell // len(CONDITIONS), cell % len(CONDITIONS), place)
    values, present = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    prompt, parity = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    values[at], present[at] = responses.outcome[kept], True
    prompt[at] = responses.prompt[kept]
    parity[at] = np.where(trial == NO_TRIAL, place, trial) % 2
    return Trials(tuple(names), values, present, prompt, parity)


def gather_evidence(
    records: Mapping[str, CheckpointRecord],
    responses: Responses,
    *,
    contrast: Contrast | None = None,
    outcome: str = DECISION,
    n_permutations: int = 2000,
    seed: int = 0,
) -> Evidence:
    """Return what the logs say of every latent that also has a checkpoint record.

    Args:
        records: The checkpoints' records by name.
        responses: The logs.
        contrast: What to compare; None takes the records' word, or finds out.
        outcome: Log field that outcomes were read from, for the record.
        n_permutations: Of max-|d|.
        seed: Of the permutations.
    """
    logged = set(responses.names)
    names = [name for name in records if name in logged]
    trials = trial_block(responses, names)
    every = np.stack([_sizes(trials, _repeat(each, len(names))).d for each in CONTRASTS])
    reported = np.array([_or_nan(records[name].cohen_d) for name in names], dtype=np.float64)
    chosen, origin = _contrasts(records, names, contrast, every, reported)
    sizes = _sizes(trials, chosen)
    treated, baseline = _cells(trials, chosen, 0), _cells(trials, chosen, 1)
    maxima, p_max, n_within = _permute(treated, baseline, n_permutations, seed)
    halves = np.stack([_sizes(trials, chosen, half=half).d for half in (1, 0)])
    comparable = np.isfinite(reported) & np.isfinite(sizes.d)
    gaps = np.abs(reported - sizes.d)[comparable]
    return Evidence(
        names=tuple(names),
        contrast=chosen,
        contrast_from=origin,
        match_share=float((gaps <= MATCHES_WITHIN).mean()) if gaps.size else None,
        sizes=sizes,
        n_treated=treated.present.sum(axis=1),
        n_baseline=baseline.present.sum(axis=1),
        p_value=_p_values(treated, baseline, sizes),
        p_max=p_max,
        maxima=maxima,
        within_prompts=n_within,
        halves=halves,
        outcome=outcome,
    )


def sizes_from_reports(cohen_d: Float[np.ndarray, " n"], n_trials: int) -> EffectSizes:
    """Return g, interval and p-value of effects known only as d, with so many trials a group."""
    counts = np.full(cohen_d.shape, float(n_trials))
    return from_d(cohen_d, counts, counts)


@dataclass(frozen=True, eq=False)
class _Cells:
    values: Float[np.ndarray, "n trials"]
    present: Bool[np.ndarray, "n trials"]
    prompt: Int[np.ndarray, "n trials"]


def _cells(
    trials: Trials, contrasts: Sequence[Contrast], side: int, half: int | None = None
) -> _Cells:
    """Return one condition's trials of each latent: side 0 is the treated one, 1 its baseline."""
    column = np.array([CONDITIONS.index(each[side]) for each in contrasts], dtype=np.int64)
    rows = np.arange(len(contrasts))
    present = trials.present[rows, column]
    if half is not None:
        present = present & (trials.parity[rows, column] == half)
    return _Cells(trials.values[rows, column], present, trials.prompt[rows, column])


def _sizes(trials: Trials, contrasts: Sequence[Contrast], half: int | None = None) -> EffectSizes:
    treated, baseline = (_cells(trials, contrasts, side, half) for side in (0, 1))
    return effect_sizes(
        moments(treated.values, treated.present), moments(baseline.values, baseline.present)
    )


def _contrasts(
    records: Mapping[str, CheckpointRecord],
    names: Sequence[str],
    given: Contrast | None,
    every: Float[np.ndarray, "contrasts n"],
    reported: Float[np.ndarray, " n"],
) -> tuple[tuple[Contrast, ...], str]:
    if given is not None:
        return _repeat(given, len(names)), "configuration"
    named = [records[name].contrast for name in names]
    if any(named):
        return tuple(each or CONTRASTS[0] for each in named), "records"
    # Some studies subtract the treated group from the baseline: both signs are tried.
    candidates = [*CONTRASTS, *((baseline, treated) for treated, baseline in CONTRASTS)]
    signed = np.concatenate([every, -every])
    comparable = np.isfinite(signed) & np.isfinite(reported)
    matches = (np.abs(signed - reported) <= MATCHES_WITHIN) & comparable
    shares = matches.sum(axis=1) / np.maximum(comparable.sum(axis=1), 1)
    best = int(shares.argmax())
    if shares[best] >= RECOGNISED_BY:
        return _repeat(candidates[best], len(names)), "data"
    return _repeat(CONTRASTS[0], len(names)), "assumed"


def _p_values(treated: _Cells, baseline: _Cells, sizes: EffectSizes) -> Float[np.ndarray, " n"]:
    n1, n0 = treated.present.sum(axis=1), baseline.present.sum(axis=1)
    binary = [
        (np.isin(each.values, (0.0, 1.0)) | ~each.present).all(axis=1)
        for each in (treated, baseline)
    ]
    is_count = binary[0] & binary[1] & (n1 > 0) & (n0 > 0)
    hits = [np.where(each.present, each.values, 0.0).sum(axis=1) for each in (treated, baseline)]
    hits = [np.where(is_count, each, 0.0) for each in hits]
    exact = exact_table_p_values(hits[0], n1, hits[1], n0)
    return np.where(is_count, exact, sizes.p_value)


def _permute(
    treated: _Cells, baseline: _Cells, n_permutations: int, seed: int
) -> tuple[MaxStatistic | None, Float[np.ndarray, " n"], int]:
    """Permute the labels of all latents, those of one design alike."""
    n1, n0 = treated.present.sum(axis=1), baseline.present.sum(axis=1)
    p_max = np.full(n1.shape, np.nan)
    members: dict[tuple[int, bytes], list[int]] = {}
    for row in np.flatnonzero((n1 >= 2) & (n0 >= 2)):
        strata = _strata(treated, baseline, int(row))
        members.setdefault((int(n1[row]), strata.tobytes()), []).append(int(row))
    if not members:
        return None, p_max, 0
    designs, n_within = [], 0
    for (count, pattern), rows in members.items():
        strata = np.frombuffer(pattern, dtype=np.int64)
        values = [
            np.concatenate([each.values[row][each.present[row]] for each in (treated, baseline)])
            for row in rows
        ]
        within = bool(strata.max(initial=0) > 0)
        n_within += within * len(rows)
        labels = np.arange(strata.size) < count
        designs.append(Design(np.stack(values, axis=1), labels, strata if within else None))
    maxima = max_statistic(designs, n_permutations=n_permutations, seed=seed)
    for rows, adjusted in zip(members.values(), maxima.p_adjusted, strict=True):
        p_max[rows] = adjusted
    return maxima, p_max, n_within


def _strata(treated: _Cells, baseline: _Cells, row: int) -> Int[np.ndarray, " trials"]:
    """Number the prompts of a latent's trials; all 0 where they are not alike in both groups.

    Only where every prompt stands equally often on both sides are labels exchangeable within
    prompts and is each permutation as balanced as the study was.
    """
    sides = [each.prompt[row][each.present[row]] for each in (treated, baseline)]
    joined = np.concatenate(sides)
    names, first, place = np.unique(joined, return_index=True, return_inverse=True)
    counts = [
        np.bincount(part, minlength=names.size)
        for part in np.split(place.reshape(-1), [sides[0].size])
    ]
    if 0 in names or names.size < 2 or (counts[0] != counts[1]).any():
        return np.zeros(joined.size, dtype=np.int64)
    # Numbered as they appear, so that latents tried on the same prompts have equal patterns.
    rank = np.argsort(np.argsort(first))
    return np.asarray(rank[place.reshape(-1)], dtype=np.int64)


def _repeat(contrast: Contrast, times: int) -> tuple[Contrast, ...]:
    return (contrast,) * times


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
