"""What an audit found: every fault, the counts, and the evidence for each latent. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glassbox.pathways.latents import LatentId
from glassbox.pathways.study.conditions import Contrast
from glassbox.pathways.study.faults import Fault
from glassbox.stats.effects.max_statistic import SplitHalf


@dataclass(frozen=True)
class LatentEvidence:
    """One latent of the study: what its checkpoints say, and what its logs say to that."""

    latent: LatentId
    """The latent."""
    is_causal: bool
    """Whether the study calls it causal."""
    cohen_d: float | None
    """Effect size in the checkpoints; None where the study says there is none."""
    is_faulty: bool = False
    """Whether an error concerns it."""
    n_responses: int = 0
    """Usable responses in the logs, repeated ones left out."""
    contrast: Contrast | None = None
    """Treated condition and baseline of the recomputed effect; None without logs."""
    n_treated: int = 0
    """Trials with an outcome under the treated condition."""
    n_baseline: int = 0
    """The same under its baseline."""
    recomputed_d: float | None = None
    """d from the logs; None without logs or without spread."""
    hedges_g: float | None = None
    """Hedges' g: of the recomputed d, else of the checkpoints'."""
    g_low: float | None = None
    """Lower end of its 95 % interval."""
    g_high: float | None = None
    """Upper end of it."""
    p: float | None = None
    """P-value of the effect; None where there is nothing to test."""
    p_from: str = "none"
    """``logs``, ``checkpoint`` (from d and the expected trials) or ``none``."""
    q: float | None = None
    """Adjusted over all latents in the checkpoints (Benjamini-Hochberg); of a selected latent, over
    all that the study chose from (``select.dictionary_size``)."""
    p_max: float | None = None
    """Probability that the largest of all null |d| reaches this one (permutation)."""
    d_odd: float | None = None
    """d on the odd trials."""
    d_even: float | None = None
    """d on the even trials."""
    zero_variance: bool = False
    """Whether no outcome varies within treated or baseline, so that d is undefined."""

    @property
    def name(self) -> str:
        """The study's name for it."""
        return self.latent.name

    @property
    def effect(self) -> float | None:
        """The d that is ranked by: recomputed where logs permit, else the checkpoints'."""
        return self.cohen_d if self.recomputed_d is None else self.recomputed_d


@dataclass(frozen=True)
class StudyStatistics:
    """What the effects of a study are worth together."""

    contrast: Contrast | None = None
    """Treated condition and baseline of most latents."""
    contrast_from: str = "none"
    """``configuration``, ``records``, ``data``, ``assumed``; ``none`` without logs."""
    outcome: str = "decision"
    """Log field that effects are computed on."""
    match_share: float | None = None
    """Share of latents whose recomputed d is the checkpoint's."""
    n_tested: int = 0
    """Latents with a p-value."""
    n_significant: int = 0
    """Of these, those with q at or below the false discovery rate."""
    n_zero_variance: int = 0
    """Latents whose d is undefined because nothing varies."""
    n_permutations: int = 0
    """Permutations of max-|d|; 0 where none could be made."""
    max_d_threshold: float | None = None
    """|d| that the largest of all nulls exceeds in 5 % of permutations."""
    n_above_threshold: int = 0
    """Latents with max-|d| adjusted p-value at or below 0.05."""
    within_prompts: int = 0
    """Latents whose labels were permuted within prompts."""
    null_largest_d: float | None = None
    """Median of the largest |d| of as many latents without effect, by order statistics: at the
    trials that the logs hold, else at those expected."""
    split_half: SplitHalf | None = None
    """Effects selected on odd trials, seen on even ones."""


@dataclass(frozen=True)
class AuditReport:
    """Everything the audit found."""

    errors: tuple[Fault, ...]
    """What makes data unusable, one entry each."""
    warnings: tuple[Fault, ...]
    """What is odd, one entry each."""
    error_counts: Mapping[str, int] = field(default_factory=dict)
    """Errors of each kind, also beyond those listed."""
    warning_counts: Mapping[str, int] = field(default_factory=dict)
    """Warnings of each kind, also beyond those listed."""
    files: Mapping[str, Any] = field(default_factory=dict)
    """Files, records and bytes read."""
    causal_by_layer: Mapping[int, int] = field(default_factory=dict)
    """Latents that the study calls causal, by layer."""
    n_joinable: int = 0
    """Causal latents that the logs have too."""
    condition_counts: Mapping[str, int] = field(default_factory=dict)
    """Usable responses under each condition."""
    latents: tuple[LatentEvidence, ...] = ()
    """Every latent with a checkpoint record, in order of layer and index."""
    statistics: StudyStatistics = StudyStatistics()
    """What the effects are worth together."""
    logs_only: tuple[str, ...] = ()
    """Latents in the logs that no checkpoint has."""

    @property
    def validated(self) -> bool:
        """Whether there is no error."""
        return not self.error_counts

    @property
    def n_errors(self) -> int:
        """Errors, listed or not."""
        return sum(self.error_counts.values())

    @property
    def n_warnings(self) -> int:
        """Warnings, listed or not."""
        return sum(self.warning_counts.values())

    @property
    def n_causal(self) -> int:
        """Latents that the study calls causal."""
        return sum(self.causal_by_layer.values())
