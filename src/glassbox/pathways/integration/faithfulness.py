"""What the found sub-graph does to the decision: judged from measured logits.

Pure but for what it asks the meter. See ``ablation`` for what is measured.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from jaxtyping import Bool, Float

from glassbox.pathways.integration.ablation import DecisionPrompt, pair_places
from glassbox.pathways.integration.decision_effects import LEVEL, DecisionEffect, resamples
from glassbox.pathways.integration.summary import AblationPoint, SubgraphTest
from glassbox.pathways.latents import LatentId
from glassbox.progress import Progress, untold

N_POINTS: Final = 8
"""Points of the curve, both ends included."""

_NOTHING: Final = 1e-6
"""Framing effect, in logits, below which the study's latents carry nothing to share out."""


class ReadsDecisions(Protocol):
    """What measures decisions; see ``ablation.DecisionMeter``."""

    @property
    def latents(self) -> tuple[LatentId, ...]:
        """The study's latents, in the order of every mask."""

    @property
    def prompts(self) -> tuple[DecisionPrompt, ...]:
        """The prompts at whose end decisions are made."""

    def decisions(
        self, set_aside: Bool[np.ndarray, "n_sets n_latents"], progress: Progress = untold
    ) -> Float[np.ndarray, "n_sets n_prompts"]:
        """Return the decision's logit difference for every set of latents put aside."""


def judge_subgraph(
    meter: ReadsDecisions,
    subgraph: frozenset[str],
    effects: Mapping[LatentId, DecisionEffect],
    *,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress = untold,
) -> SubgraphTest:
    """Return faithfulness and completeness of a sub-graph of the study's latents.

    Args:
        meter: Reads the decision.
        subgraph: Names of the latents that were found.
        effects: Of each latent; the curve keeps the strongest first.
        n_random: Random sub-graphs with as many latents on every layer.
        seed: Of random sub-graphs and bootstrap.
        progress: Is told of every set of latents that was put aside.

    Raises:
        InvalidData: No pair of prompts is whole.
        NonFiniteOutput: A logit is NaN or infinite.
    """
    latents = meter.latents
    safe, risky = pair_places(meter.prompts)
    kept = np.array([each.name in subgraph for each in latents], dtype=bool)
    random = _random_like(kept, latents, n_random, np.random.default_rng(seed))
    ranked = sorted(
        range(len(latents)),
        key=lambda place: (
            -abs(effects[latents[place]].effect) if latents[place] in effects else 0.0,
            latents[place],
        ),
    )
    sizes = sorted({round(n) for n in np.linspace(0, len(latents), N_POINTS)})
    strongest = np.zeros((len(sizes), len(latents)), dtype=bool)
    for row, size in enumerate(sizes):
        strongest[row, ranked[:size]] = True
    nothing, everything = np.zeros_like(kept), np.ones_like(kept)
    sets = np.vstack([nothing, everything, ~kept, kept, ~random, ~strongest])
    measured = meter.decisions(sets, progress)
    framing = measured[:, safe] - measured[:, risky]
    return _judged(framing, n_random, sizes, n_kept=int(kept.sum()), seed=seed, latents=latents)


def _judged(
    framing: Float[np.ndarray, "n_sets n_pairs"],
    n_random: int,
    sizes: Sequence[int],
    *,
    n_kept: int,
    seed: int,
    latents: Sequence[LatentId],
) -> SubgraphTest:
    full, empty, kept, without = framing[:4].mean(axis=1).tolist()
    test = SubgraphTest(
        n_latents=len(latents), n_kept=n_kept, n_prompts=2 * framing.shape[1], full=full,
        empty=empty, kept=kept, without=without, faithfulness=None, completeness=None,
    )  # fmt: skip
    if abs(full - empty) < _NOTHING:
        return test
    picks = resamples(framing.shape[1], seed)
    shares = _share(framing[:, picks].mean(axis=2))
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    faithful = np.nanquantile(shares[2], ends).tolist()
    complete = np.nanquantile(1 - shares[3], ends).tolist()
    share = _share(framing.mean(axis=1))
    random = share[4 : 4 + n_random]
    faithfulness = float(share[2])
    return SubgraphTest(
        n_latents=test.n_latents, n_kept=n_kept, n_prompts=test.n_prompts, full=full, empty=empty,
        kept=kept, without=without, faithfulness=faithfulness, completeness=float(1 - share[3]),
        faithfulness_low=faithful[0], faithfulness_high=faithful[1],
        completeness_low=complete[0], completeness_high=complete[1],
        random_faithfulness=tuple(random.tolist()),
        p=float((1 + (random >= faithfulness).sum()) / (1 + n_random)) if n_random else None,
        curve=tuple(
            AblationPoint(size, float(value))
            for size, value in zip(sizes, share[4 + n_random :], strict=True)
        ),
    )  # fmt: skip


def _share(framing: Float[np.ndarray, "n_sets *m"]) -> Float[np.ndarray, "n_sets *m"]:
    """Return (framing - empty) / (full - empty) for every set; NaN where there is nothing."""
    full, empty = framing[0], framing[1]
    span = np.where(np.abs(full - empty) < _NOTHING, np.nan, full - empty)
    shares: np.ndarray = (framing - empty) / span
    return shares


def _random_like(
    kept: Bool[np.ndarray, " n"],
    latents: Sequence[LatentId],
    n_random: int,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "n_random n"]:
    """Return random choices with as many latents on every layer as ``kept`` has."""
    layers = np.array([each.layer for each in latents])
    drawn = np.zeros((n_random, len(kept)), dtype=bool)
    for layer in np.unique(layers[kept]):
        places = np.flatnonzero(layers == layer)
        for row in drawn:
            row[rng.choice(places, int(kept[places].sum()), replace=False)] = True
    return drawn
