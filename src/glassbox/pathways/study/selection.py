"""The latents that a study goes on with, and how many of them chance would have given. Values."""

from dataclasses import dataclass
from typing import Literal

from glassbox.pathways.latents import LatentId
from glassbox.pathways.study.report import LatentEvidence

Reason = Literal["abs_d", "corrected"]
"""Why a latent was selected: among the largest |d| of its layer, or by its corrected p-value."""


@dataclass(frozen=True)
class SelectedLatent:
    """One latent that goes on."""

    evidence: LatentEvidence
    """What checkpoints and logs say of it."""
    rank: int
    """Place in its layer by |d|, from 1; latents without a d come last."""
    reasons: tuple[Reason, ...]
    """Which of the two rules it meets, whichever was asked for."""
    boot_low: float | None = None
    """Lower end of the bootstrap interval of Hedges' g, prompts drawn as wholes; None without logs,
    with fewer than five prompts, or where all draws are alike."""
    boot_high: float | None = None
    """Upper end of it."""
    delta: float | None = None
    """Cliff's delta of treated against baseline outcomes, [-1, 1]; None without logs."""
    delta_low: float | None = None
    """Lower end of its 95 % interval."""
    delta_high: float | None = None
    """Upper end of it."""
    rate_difference: float | None = None
    """Share of treated trials that stopped less that of the baseline's; None for other outcomes
    than decisions."""
    rate_low: float | None = None
    """Lower end of its 95 % interval (Newcombe)."""
    rate_high: float | None = None
    """Upper end of it."""

    @property
    def latent(self) -> LatentId:
        """Which latent it is."""
        return self.evidence.latent

    @property
    def name(self) -> str:
        """The study's name for it, ``L13-2044``."""
        return self.evidence.name


@dataclass(frozen=True)
class LayerSelection:
    """One layer's selection, beside what chance gives."""

    layer: int
    """Block, 0-based."""
    n_tested: int
    """Latents that were tried: those in the checkpoints, or the dictionary's size if given."""
    n_candidates: int
    """Of these, the faultless ones that the rule chose from."""
    n_selected: int
    """Latents that go on."""
    smallest_d: float | None
    """Smallest |d| among them."""
    expected_by_chance: float
    """Latents without any effect that would be expected among them, at most ``n_selected``."""
    null_d: float | None
    """|d| that the last of as many selected ones has if no latent of the layer has an effect."""


@dataclass(frozen=True)
class Selection:
    """All selected latents."""

    latents: tuple[SelectedLatent, ...]
    """In order of layer and index."""
    layers: tuple[LayerSelection, ...]
    """One entry per layer with a tested latent, ascending."""
    rule: str
    """``abs_d``, ``corrected`` or ``both``."""
    top_per_layer: int
    """Most latents of a layer that |d| selects."""
    q: float
    """False discovery rate of ``corrected``, a fraction."""
    left_out: dict[str, int]
    """Latents that were no candidates: ``faulty``, ``not_causal``, ``no_effect_size``."""

    @property
    def expected_by_chance(self) -> float:
        """Latents without any effect that would be expected among the selected."""
        return sum(each.expected_by_chance for each in self.layers)
