"""Step 1: which latents go on, by effect size or by corrected evidence, and how many are chance.

The largest of many null effects is large by itself: the 50th of 32,768 latents without effect has
|d| near 0.86 at 30 trials a group. Every layer's selection therefore stands beside what as many
nulls would have given. Where the checkpoints hold but a choice of a dictionary, both that and the
correction are over all that was chosen from.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.pathways.sections import AuditSection, SelectSection
from glassbox.pathways.study.audit import error_summary
from glassbox.pathways.study.conditions import CONDITIONS
from glassbox.pathways.study.effects import Trials, trial_block
from glassbox.pathways.study.report import AuditReport, LatentEvidence
from glassbox.pathways.study.responses import Responses
from glassbox.pathways.study.selection import LayerSelection, Reason, SelectedLatent, Selection
from glassbox.stats.effects.effect_size import student_p_values
from glassbox.stats.effects.group_difference import (
    LEAST_CLUSTERS,
    bootstrap_g,
    dominance,
    firing_difference,
)
from glassbox.stats.effects.max_statistic import null_order_statistic
from glassbox.stats.multiple_testing import benjamini_hochberg
from glassbox.wording import counted

BOOTSTRAP_DRAWS = 1000
"""Draws of each latent's interval."""

_NO_WIDTH = 1e-9
"""Of an interval whose ends differ by rounding alone."""


def select_latents(report: AuditReport, settings: SelectSection, audit: AuditSection) -> Selection:
    """Return the latents that go on.

    Args:
        report: What the audit found.
        settings: The rule.
        audit: What the study was held to; its ``q`` corrects, ``despite_errors`` goes on.

    Raises:
        InvalidData: The audit found errors, and ``audit.despite_errors`` is not set.
        NotEnoughData: No latent is left to go on with.
    """
    if not report.validated and not audit.despite_errors:
        raise InvalidData(
            f"the audit found {counted(report.n_errors, 'error')} ({error_summary(report)}); see "
            "data_validation.json. Mend the files, or set audit.despite_errors to go on with the "
            "latents that have none"
        )
    left_out: Counter[str] = Counter()
    layers, selected = [], []
    latents = _corrected(report.latents, settings)
    for layer in sorted({each.latent.layer for each in latents}):
        tested = [each for each in latents if each.latent.layer == layer]
        candidates = []
        for each in tested:
            reason = _why_not(each, settings)
            if reason is None:
                candidates.append(each)
            else:
                left_out[reason] += 1
        chosen = _choose(candidates, settings, audit.q)
        selected += chosen
        layers.append(_beside_chance(layer, len(tested), len(candidates), chosen, settings, audit))
    if not selected:
        reasons = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in left_out.items())
        more = " With select.only_causal false, those that are not causal go on, too."
        raise NotEnoughData(
            "A study of pathways",
            0,
            1,
            unit="latent",
            remedy=f"None meets select.rule {settings.rule!r} (left out: {reasons or 'none'})."
            f"{more if left_out['not_causal'] else ''}",
        )
    return Selection(
        latents=tuple(sorted(selected, key=lambda each: each.latent)),
        layers=tuple(layers),
        rule=settings.rule,
        top_per_layer=settings.top_per_layer,
        q=audit.q,
        left_out=dict(left_out),
    )


def with_bootstrap(selection: Selection, responses: Responses, *, seed: int = 0) -> Selection:
    """Return the selection with intervals for each latent that has logs.

    A bootstrap interval of g, Cliff's delta, and for decisions the difference of the shares. For
    the bootstrap, trials of one prompt are drawn together where both conditions were tried on the
    same prompts; of fewer than five prompts there is no such interval, nor where all draws are
    alike: that a patch changed none of the sampled decisions does not make its effect certain.
    """
    trials = trial_block(responses, [each.name for each in selection.latents])
    latents = tuple(
        _bootstrapped(each, trials, row, seed) for row, each in enumerate(selection.latents)
    )
    return replace(selection, latents=latents)


def _corrected(
    latents: Sequence[LatentEvidence], settings: SelectSection
) -> Sequence[LatentEvidence]:
    """Return the latents with p-values adjusted over all that the study chose from.

    Those that the checkpoints do not hold count as tests that came to nothing (p = 1): if they were
    passed over for small effects, leaving them out would make chance look like evidence.
    """
    if settings.dictionary_size is None:
        return latents
    n_held = Counter(each.latent.layer for each in latents)
    n_tests = sum(max(n, settings.dictionary_size) for n in n_held.values())
    tested = [each for each in latents if each.p is not None]
    adjusted = benjamini_hochberg(np.array([each.p for each in tested]), n_tests=n_tests)
    q = {each.name: float(value) for each, value in zip(tested, adjusted, strict=True)}
    return [replace(each, q=q.get(each.name)) for each in latents]


def _why_not(each: LatentEvidence, settings: SelectSection) -> str | None:
    if each.is_faulty:
        return "faulty"
    if settings.only_causal and not each.is_causal:
        return "not_causal"
    # Without spread there is no d, but separated groups still have a p-value.
    if each.effect is None and each.p is None:
        return "no_effect_size"
    return None


def _choose(
    candidates: Sequence[LatentEvidence], settings: SelectSection, q: float
) -> list[SelectedLatent]:
    ranked = sorted(candidates, key=lambda each: (-_size(each), each.latent))
    chosen = []
    for place, each in enumerate(ranked):
        reasons: list[Reason] = []
        if place < settings.top_per_layer and each.effect is not None:
            reasons.append("abs_d")
        if each.q is not None and each.q <= q:
            reasons.append("corrected")
        wanted = {"abs_d", "corrected"} if settings.rule == "both" else {settings.rule}
        if wanted <= set(reasons):
            chosen.append(SelectedLatent(each, place + 1, tuple(reasons)))
    return chosen


def _size(each: LatentEvidence) -> float:
    return -1.0 if each.effect is None else abs(each.effect)


def _beside_chance(
    layer: int,
    n_records: int,
    n_candidates: int,
    chosen: Sequence[SelectedLatent],
    settings: SelectSection,
    audit: AuditSection,
) -> LayerSelection:
    n_tested = max(n_records, settings.dictionary_size or 0)
    sizes = [abs(each.evidence.effect) for each in chosen if each.evidence.effect is not None]
    counts = [_trials(each.evidence, audit) for each in chosen]
    expected, null_d = 0.0, None
    if chosen:
        n_treated, n_baseline = (int(np.median(side)) for side in zip(*counts, strict=True))
        if n_treated + n_baseline >= 3:
            null_d = null_order_statistic(
                n_tested, min(len(chosen), n_tested), n_treated=n_treated, n_baseline=n_baseline
            )
        bounds = [float(len(chosen))]
        if sizes and settings.rule != "corrected" and n_treated + n_baseline >= 3:
            tail = student_p_values(np.array([min(sizes)]), n_treated, n_baseline)
            bounds.append(n_tested * float(tail[0]))
        if settings.rule != "abs_d":
            # Not q of the chosen: that share holds over all layers, and in one without effects all
            # of them are chance.
            p_values = [each.evidence.p for each in chosen if each.evidence.p is not None]
            bounds.append(n_tested * max(p_values, default=1.0))
        expected = min(bounds)
    return LayerSelection(
        layer=layer,
        n_tested=n_tested,
        n_candidates=n_candidates,
        n_selected=len(chosen),
        smallest_d=min(sizes, default=None),
        expected_by_chance=expected,
        null_d=null_d,
    )


def _trials(each: LatentEvidence, audit: AuditSection) -> tuple[int, int]:
    if each.recomputed_d is None:
        return audit.expected_trials, audit.expected_trials
    return each.n_treated, each.n_baseline


def _bootstrapped(each: SelectedLatent, trials: Trials, row: int, seed: int) -> SelectedLatent:
    contrast = each.evidence.contrast
    if contrast is None or each.evidence.recomputed_d is None:
        return each
    sides = [CONDITIONS.index(condition) for condition in contrast]
    values = [trials.values[row, side][trials.present[row, side]] for side in sides]
    prompts = [trials.prompt[row, side][trials.present[row, side]] for side in sides]
    clustered = all((side != 0).all() for side in prompts) and np.intersect1d(*prompts).size > 1
    if clustered and np.union1d(*prompts).size < LEAST_CLUSTERS:
        return _ranked(each, values[0], values[1])
    interval = bootstrap_g(
        values[0],
        values[1],
        treated_clusters=prompts[0] if clustered else None,
        baseline_clusters=prompts[1] if clustered else None,
        n_draws=BOOTSTRAP_DRAWS,
        seed=seed,
    )
    if interval.high - interval.low > _NO_WIDTH:
        each = replace(each, boot_low=interval.low, boot_high=interval.high)
    return _ranked(each, values[0], values[1])


def _ranked(
    each: SelectedLatent, treated: Float[np.ndarray, " n"], baseline: Float[np.ndarray, " m"]
) -> SelectedLatent:
    """Add what needs no unit: Cliff's delta, and for decisions the difference of the shares."""
    delta = dominance(treated, baseline).delta
    each = replace(each, delta=delta.estimate, delta_low=delta.low, delta_high=delta.high)
    if not np.isin(np.concatenate([treated, baseline]), (0.0, 1.0)).all():
        return each
    rate = firing_difference(treated, baseline).difference
    return replace(each, rate_difference=rate.estimate, rate_low=rate.low, rate_high=rate.high)
