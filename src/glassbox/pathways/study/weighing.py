"""The evidence for each latent, and for the study as a whole, from checkpoints and logs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.pathways.sections import AuditSection
from glassbox.pathways.study.checkpoints import CheckpointRecord, Checkpoints
from glassbox.pathways.study.conditions import contrast_words
from glassbox.pathways.study.effects import (
    MATCHES_WITHIN,
    Evidence,
    gather_evidence,
    sizes_from_reports,
)
from glassbox.pathways.study.faults import Fault, FaultList
from glassbox.pathways.study.report import LatentEvidence, StudyStatistics
from glassbox.pathways.study.responses import Responses
from glassbox.stats.effects.max_statistic import null_order_statistic, split_half
from glassbox.stats.multiple_testing import benjamini_hochberg

FAMILY_LEVEL: Final = 0.05
"""Level of the max-|d| threshold: the chance that any null latent passes it."""

SPLIT_SELECTED: Final = 50
"""Latents that the odd trials select for the split-half replication."""


def weigh(
    found: Checkpoints,
    responses: Responses,
    settings: AuditSection,
    in_errors: frozenset[str],
    errors: FaultList,
    warnings: FaultList,
) -> tuple[tuple[LatentEvidence, ...], StudyStatistics]:
    """Return the evidence for every latent with a checkpoint record, and for all together.

    Args:
        found: The checkpoints.
        responses: The logs.
        settings: What the study is held to.
        in_errors: Latents that an error concerns.
        errors: Takes effects that are not what the logs give.
        warnings: Takes effects without spread.
    """
    evidence = gather_evidence(
        found.records,
        responses,
        contrast=settings.contrast,
        outcome=_outcome(responses, settings),
        n_permutations=settings.n_permutations,
        seed=settings.seed,
    )
    disagreeing = check_effects(found, evidence, in_errors, errors, warnings)
    figures = _figures(list(found.records.values()), evidence, settings)
    used = dict(zip(responses.names, _used_rows(responses).tolist(), strict=True))
    faulty = in_errors | disagreeing
    latents = tuple(
        _of_latent(record, row, evidence, figures, used.get(name, 0), name in faulty)
        for row, (name, record) in enumerate(found.records.items())
    )
    return latents, _together(latents, evidence, settings)


@dataclass(frozen=True, eq=False)
class _Figures:
    """Figures of every record, from the logs where they have them, else from its own d."""

    place: Int[np.ndarray, " n"]
    """Row in the evidence; -1 where the logs say nothing of the effect."""
    g: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    p: Float[np.ndarray, " n"]
    q: Float[np.ndarray, " n"]


def _figures(
    records: Sequence[CheckpointRecord], evidence: Evidence, settings: AuditSection
) -> _Figures:
    rows = {name: row for row, name in enumerate(evidence.names)}
    place = np.array([rows.get(each.latent.name, -1) for each in records], dtype=np.int64)
    for at, row in enumerate(place):
        if row >= 0 and not tested_by_logs(evidence, int(row)):
            place[at] = -1
    reported = np.array([_or_nan(each.cohen_d) for each in records], dtype=np.float64)
    own = sizes_from_reports(reported, settings.expected_trials)
    logged = place >= 0
    columns = {}
    for name in ("g", "low", "high"):
        columns[name] = np.array(getattr(own, name))
        columns[name][logged] = getattr(evidence.sizes, name)[place[logged]]
    p = np.array(own.p_value)
    p[logged] = evidence.p_value[place[logged]]
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    q[tested] = benjamini_hochberg(p[tested])
    return _Figures(place, columns["g"], columns["low"], columns["high"], p, q)


def _of_latent(
    record: CheckpointRecord,
    row: int,
    evidence: Evidence,
    figures: _Figures,
    n_responses: int,
    is_faulty: bool,
) -> LatentEvidence:
    at = int(figures.place[row])
    from_logs: dict[str, Any] = {}
    if at >= 0:
        from_logs = {
            "contrast": evidence.contrast[at],
            "n_treated": int(evidence.n_treated[at]),
            "n_baseline": int(evidence.n_baseline[at]),
            "recomputed_d": _finite(evidence.sizes.d[at]),
            "p_max": _finite(evidence.p_max[at]),
            "d_odd": _finite(evidence.halves[0, at]),
            "d_even": _finite(evidence.halves[1, at]),
            "zero_variance": not bool(evidence.sizes.has_spread[at]),
        }
    p = _finite(figures.p[row])
    return LatentEvidence(
        latent=record.latent,
        is_causal=record.is_causal,
        cohen_d=record.cohen_d,
        is_faulty=is_faulty,
        n_responses=n_responses,
        hedges_g=_finite(figures.g[row]),
        g_low=_finite(figures.low[row]),
        g_high=_finite(figures.high[row]),
        p=p,
        p_from="none" if p is None else "logs" if at >= 0 else "checkpoint",
        q=_finite(figures.q[row]),
        **from_logs,
    )


def _together(
    latents: Sequence[LatentEvidence], evidence: Evidence, settings: AuditSection
) -> StudyStatistics:
    n_tested = sum(each.p is not None for each in latents)
    n_halved = int(np.isfinite(evidence.halves).all(axis=0).sum())
    maxima = evidence.maxima
    most = Counter(evidence.contrast).most_common(1)
    return StudyStatistics(
        contrast=most[0][0] if most else None,
        contrast_from=evidence.contrast_from if evidence.names else "none",
        outcome=evidence.outcome,
        match_share=evidence.match_share,
        n_tested=n_tested,
        n_significant=sum(each.q is not None and each.q <= settings.q for each in latents),
        n_zero_variance=sum(each.zero_variance for each in latents),
        n_permutations=settings.n_permutations if maxima else 0,
        max_d_threshold=(
            _finite(maxima.threshold(FAMILY_LEVEL)) if maxima and maxima.n_latents else None
        ),
        n_above_threshold=int((evidence.p_max <= FAMILY_LEVEL).sum()),
        within_prompts=evidence.within_prompts,
        null_largest_d=_largest_null(latents, settings),
        split_half=split_half(
            evidence.halves[0],
            evidence.halves[1],
            n_selected=min(SPLIT_SELECTED, max(1, n_halved // 4)),
        )
        if n_halved
        else None,
    )


def _largest_null(latents: Sequence[LatentEvidence], settings: AuditSection) -> float | None:
    n = settings.expected_trials
    trials = [
        (each.n_treated, each.n_baseline) if each.p_from == "logs" else (n, n)
        for each in latents
        if each.p is not None
    ]
    if not trials:
        return None
    n_treated, n_baseline = (int(np.median(side)) for side in zip(*trials, strict=True))
    if min(n_treated, n_baseline) < 2:
        return None
    return null_order_statistic(len(trials), 1, n_treated=n_treated, n_baseline=n_baseline)


def check_effects(
    found: Checkpoints,
    evidence: Evidence,
    in_errors: frozenset[str],
    errors: FaultList,
    warnings: FaultList,
) -> frozenset[str]:
    """Hold the checkpoints' d against the recomputed; returns the latents where they disagree.

    A latent that lost responses to other errors is not held to the d of all of them.
    """
    is_known = evidence.contrast_from != "assumed"
    disagreeing = set()
    for row, name in enumerate(evidence.names):
        if not tested_by_logs(evidence, row):
            continue
        reported, ours = found.records[name].cohen_d, _finite(evidence.sizes.d[row])
        compared = contrast_words(evidence.contrast[row])
        if ours is None:
            words = f"{name}: no outcome varies ({compared}), so that d is undefined"
            warnings.add(Fault("zero-variance", words, latent=name))
        if reported is None:
            if ours is not None:
                words = f"{name} has no cohen_d; the logs give {ours:.3f} ({compared})"
                warnings.add(Fault("no-effect-size", words, latent=name))
        elif (
            is_known
            and name not in in_errors
            and (ours is None or abs(reported - ours) > MATCHES_WITHIN)
        ):
            told = "no finite one" if ours is None else f"{ours:.3f}"
            words = f"{name} has cohen_d {reported:.3f}; the logs give {told} ({compared})"
            errors.add(Fault("effect-disagrees", words, latent=name))
            disagreeing.add(name)
    if evidence.contrast_from == "assumed" and evidence.match_share is not None:
        words = (
            "no pair of conditions gives the checkpoints' cohen_d from the logs; "
            f"{contrast_words(evidence.contrast[0])} was assumed for what follows"
        )
        warnings.add(Fault("effects-not-reproduced", words))
    return frozenset(disagreeing)


def tested_by_logs(evidence: Evidence, row: int) -> bool:
    """Whether both conditions have outcomes enough for an effect."""
    return bool(min(evidence.n_treated[row], evidence.n_baseline[row]) >= 2)


def _outcome(responses: Responses, settings: AuditSection) -> str:
    """Return the log field that most latents' effects are computed on."""
    fields = Counter(responses.outcomes.get(name, settings.outcome) for name in responses.names)
    return fields.most_common(1)[0][0] if fields else settings.outcome


def _used_rows(responses: Responses) -> Int[np.ndarray, " latents"]:
    return np.bincount(responses.latent[responses.first], minlength=len(responses.names))


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
