"""From the trials of one latent to its line in a checkpoint. No torch.

A trial uses the same prompt and the same random numbers under a patch and without it, so the
test is a paired one; the effect size is the study's own, Cohen's d of the two groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats

from glassbox.pathways.experiment.conditions import CONTRASTS, KINDS, Kind
from glassbox.pathways.experiment.decisions import Decision
from glassbox.pathways.latents import LatentId
from glassbox.stats.effects.effect_size import effect_sizes, moments


@dataclass(frozen=True)
class Contrast:
    """One patched condition against its baseline; the outcome is 1 for stop and 0 for continue."""

    treated: str
    baseline: str
    n_treated: int
    """Trials with a decision."""
    n_baseline: int
    """Trials with a decision."""
    cohen_d: float | None
    """(mean treated - mean baseline) / pooled standard deviation; None where that is 0."""
    difference: float
    """Mean treated - mean baseline, in [-1, 1]; NaN without a decision on a side."""
    p_value: float
    """Two-sided, of the exact test on the pairs that differ. Source: McNemar 1947."""
    difference_p_stop: float | None
    """Mean change of the probability of stopping, which no sampling disturbs."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "contrast": [self.treated, self.baseline],
            "n_treated": self.n_treated,
            "n_baseline": self.n_baseline,
            "cohen_d": self.cohen_d,
            "difference": _finite(self.difference),
            "p_value": self.p_value,
            "difference_p_stop": self.difference_p_stop,
        }


@dataclass(frozen=True)
class Trials:
    """Decisions of one latent under one condition, trial by trial."""

    decisions: Sequence[Decision | None]
    p_stop: Sequence[float | None]
    """Probability of stopping before sampling, of the two decisions together; [0, 1]."""

    @property
    def outcomes(self) -> Float[np.ndarray, " trials"]:
        """1 for stop, 0 for continue, NaN for neither."""
        values = {"stop": 1.0, "continue": 0.0, None: np.nan}
        return np.array([values[each] for each in self.decisions])


def contrast_of(trials: Mapping[str, Trials], kind: Kind) -> Contrast:
    """Return what a patch did to one kind of prompt."""
    treated, baseline = CONTRASTS[kind]
    after, before = trials[treated].outcomes, trials[baseline].outcomes
    decided = [each[~np.isnan(each)] for each in (after, before)]
    both = ~np.isnan(after) & ~np.isnan(before)
    n_up = int((after[both] > before[both]).sum())
    n_down = int((after[both] < before[both]).sum())
    p_value = (
        float(scipy_stats.binomtest(n_up, n_up + n_down, 0.5).pvalue) if n_up + n_down else 1.0
    )
    means = [float(each.mean()) if len(each) else float("nan") for each in decided]
    return Contrast(
        treated=treated,
        baseline=baseline,
        n_treated=len(decided[0]),
        n_baseline=len(decided[1]),
        cohen_d=cohen_d(decided[0], decided[1]),
        difference=means[0] - means[1],
        p_value=p_value,
        difference_p_stop=_difference(trials[treated].p_stop, trials[baseline].p_stop),
    )


def cohen_d(treated: Float[np.ndarray, " n"], baseline: Float[np.ndarray, " m"]) -> float | None:
    """Return the difference of means over the pooled standard deviation; None where that is 0."""
    groups = [
        moments(each[None], np.ones((1, len(each)), dtype=bool)) for each in (treated, baseline)
    ]
    d = float(effect_sizes(groups[0], groups[1]).d[0])
    return d if np.isfinite(d) else None


def result_of(
    latent: LatentId,
    trials: Mapping[str, Trials],
    stronger: Kind,
    means: Mapping[Kind, Mapping[str, float]],
    *,
    alpha: float,
    min_abs_d: float,
) -> dict[str, Any]:
    """Return a latent's line of the checkpoint.

    ``cohen_d`` is that of one contrast, which the means decide before any trial: the kind of
    prompt in which the latent writes more, with the latent held at the other kind's mean. A
    latent is called causal where that contrast's test is below ``alpha`` and |d| (or, where no
    decision varies within a group, the difference itself) reaches ``min_abs_d``. Nothing is
    corrected for the number of latents here: that is the audit's.
    """
    contrasts = {kind: contrast_of(trials, kind) for kind in KINDS}
    main = contrasts[stronger]
    size = main.difference if main.cohen_d is None else main.cohen_d
    return {
        "feature": latent.name,
        "layer": latent.layer,
        "feature_id": latent.index,
        "is_causal": bool(main.p_value <= alpha and abs(size) >= min_abs_d),
        **main.to_json(),
        "outcome": "decision",
        "means": {kind: dict(each) for kind, each in means.items()},
        "other_contrast": contrasts["risky" if stronger == "safe" else "safe"].to_json(),
        "stop_rates": {name: _rate(each) for name, each in trials.items()},
        "n_undecided": sum(each is None for one in trials.values() for each in one.decisions),
    }


def _difference(after: Sequence[float | None], before: Sequence[float | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(after, before, strict=True) if a is not None and b is not None]
    return round(float(np.mean([a - b for a, b in pairs])), 6) if pairs else None


def _rate(trials: Trials) -> float | None:
    outcomes = trials.outcomes
    decided = outcomes[~np.isnan(outcomes)]
    return float(decided.mean()) if len(decided) else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
