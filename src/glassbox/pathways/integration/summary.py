"""A study in a few figures, and how its found sub-graph stood the test. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AblationPoint:
    """The decision with only the strongest latents of the found graph left alone."""

    n_kept: int
    """Latents left alone; all others of the study are set to their means."""
    faithfulness: float
    """Share of the framing's effect on the decision that is left; 1 is all of it."""


@dataclass(frozen=True)
class SubgraphTest:
    """What ablating the found sub-graph, and everything but it, does to the decision."""

    n_latents: int
    """Latents of the study: the ones that are ablated or left alone."""
    n_kept: int
    """Of these, those of the found sub-graph."""
    n_prompts: int
    full: float
    """Framing effect of the untouched model: mean logit difference (stop less continue) of safe
    prompts less that of risky ones."""
    empty: float
    """The same with every latent of the study at its mean."""
    kept: float
    """The same with all but the sub-graph at their means."""
    without: float
    """The same with the sub-graph at its means."""
    faithfulness: float | None
    """(kept - empty) / (full - empty); None where the study's latents carry nothing."""
    completeness: float | None
    """1 - (without - empty) / (full - empty): how much of it ablating the sub-graph takes away."""
    faithfulness_low: float | None = None
    """Lower end of the 95 % bootstrap interval over pairs of prompts."""
    faithfulness_high: float | None = None
    completeness_low: float | None = None
    completeness_high: float | None = None
    random_faithfulness: tuple[float, ...] = ()
    """The same for random sub-graphs with as many latents on every layer."""
    p: float | None = None
    """Share of random sub-graphs at least as faithful (with the usual one added)."""
    curve: tuple[AblationPoint, ...] = ()
    """Faithfulness over the number of latents kept, strongest first."""


@dataclass(frozen=True)
class StudySummary:
    """A study in a few figures."""

    name: str
    """Name of the study; its folder's name where it has none."""
    model: str
    n_layers: int | None
    """Layers that have an SAE."""
    n_latents: int
    n_candidates: int
    """Pathways that the gradients proposed."""
    n_replayed: int
    """Pathways that replay measured."""
    n_verified: int
    n_tokens: int
    """(latent, token) pairs that go together at the study's q."""
    n_expected_by_chance: float | None
    """Latents that would have been selected from noise."""
    conventions: tuple[tuple[str, str], ...] = ()
    """How things were read and measured: SAE convention, path, mode, …"""
    calibration: tuple[tuple[str, float], ...] = ()
    """How predicted and measured effects agree, and how much the cut may have missed."""
    warnings: tuple[str, ...] = ()
    subgraph: SubgraphTest | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    """What it was made from: digests, versions, command."""
