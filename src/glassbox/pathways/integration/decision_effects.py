"""What single latents do to the decision, held against random directions in their place.

Pure but for what it asks the meter: logit differences in, figures with intervals and p-values out.
See ``ablation`` for what is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float, Int

from glassbox.pathways.integration.ablation import DecisionPrompt, pair_places
from glassbox.pathways.integration.looks import GOES_ON, looks_of
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.interventions import Intervention
from glassbox.progress import Progress, untold
from glassbox.stats.effects.pooled_null import fit_random_effects, pooled_p
from glassbox.stats.multiple_testing import benjamini_hochberg

N_BOOTSTRAP: Final = 2000
"""Resamples of pairs behind each interval."""

LEVEL: Final = 0.95
"""Coverage of the intervals."""


class AblatesLatents(Protocol):
    """What measures single ablations; see ``ablation.DecisionMeter``."""

    @property
    def latents(self) -> tuple[LatentId, ...]:
        """The study's latents."""

    @property
    def prompts(self) -> tuple[DecisionPrompt, ...]:
        """The prompts at whose end decisions are made."""

    def directions(self, latent: LatentId, n: int, *, seed: int) -> list[LatentId]:
        """Return random latents whose directions stand in for a latent's own."""

    def ablated(
        self, runs: Sequence[Intervention], progress: Progress = untold
    ) -> Float[np.ndarray, "n_runs n_prompts"]:
        """Return by how much each run of one changed latent changes each decision."""


@dataclass(frozen=True)
class DecisionEffect:
    """What ablating one latent (activation 0) does to the decision."""

    effect: float
    """Mean change of the logit difference (stop less continue) over pairs of prompts."""
    low: float
    """Lower end of its 95 % bootstrap interval over pairs."""
    high: float
    z: float | None
    """Distance from the mean effect of random directions in its place, in units of their spread;
    None where too few tell, or nothing moves."""
    p: float
    """Share of random directions that are as far from the others; 1 where ``z`` is None."""
    q: float
    """Adjusted over all latents (Benjamini-Hochberg)."""


def decision_effects(
    meter: AblatesLatents, *, n_random: int = 20, seed: int = 0, progress: Progress = untold
) -> dict[LatentId, DecisionEffect]:
    """Return what ablating each latent alone does to the decision.

    The effect, a mean over pairs, is held against those of random directions on the same prompts
    (``pooled_null``). A direction is one draw: it goes through all prompts, and its mean is one
    value, so that a latent whose direction is itself a random one has a uniform p-value.

    Latents that a first look finds ordinary get no second (``looks``); z and p are of the last.

    Args:
        meter: Measures.
        n_random: Random directions of each latent's last look; fewer than four tell nothing.
        seed: Of the directions and the bootstrap.
        progress: Is told as they are measured, look by look.

    Raises:
        InvalidData: No pair of prompts is whole.
        NonFiniteOutput: A logit is NaN or infinite.

    Source of what counts as one value: Hurlbert 1984, "Pseudoreplication and the design of
    ecological field experiments", Ecological Monographs 54(2).
    """
    latents = meter.latents
    if not latents:
        return {}
    pairs = pair_places(meter.prompts)
    looks = looks_of(len(latents), n_random)
    drawn = [meter.directions(each, sum(looks), seed=seed) for each in latents]
    if min(map(len, drawn)) < sum(looks):
        # A second look at what a first one left over would say less than one at everything.
        looks = (n_random,)
    own = np.zeros((len(latents), len(pairs[0])))
    z, p, asked = np.full(len(latents), np.nan), np.ones(len(latents)), np.arange(len(latents))
    for at, n in enumerate(looks):
        start = sum(looks[:at])
        directions = [drawn[each][start : start + n] for each in asked]

        def told(done: int, total: int, look: int = at) -> None:
            progress(look * total + done, len(looks) * total)

        measured = _measured(meter, [latents[each] for each in asked], directions, pairs, told)
        own[asked] = [each[0] for each in measured]
        random = [each[1:].mean(axis=1) for each in measured]
        z[asked], p[asked] = _against_random(own[asked].mean(axis=1), random)
        asked = asked[p[asked] <= GOES_ON]
        if not len(asked):
            break
    q = benjamini_hochberg(p)
    means = own[:, resamples(len(pairs[0]), seed)].mean(axis=2)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return {
        latent: DecisionEffect(
            effect=float(own[at].mean()),
            low=float(low[at]),
            high=float(high[at]),
            z=float(z[at]) if np.isfinite(z[at]) else None,
            p=float(p[at]),
            q=float(q[at]),
        )
        for at, latent in enumerate(latents)
    }


def _measured(
    meter: AblatesLatents,
    latents: Sequence[LatentId],
    directions: Sequence[Sequence[LatentId]],
    pairs: tuple[Int[np.ndarray, " n_pairs"], Int[np.ndarray, " n_pairs"]],
    progress: Progress,
) -> list[Float[np.ndarray, "runs n_pairs"]]:
    """Return what each latent's own ablation and its random directions do, by pair of prompts."""
    runs = [
        [Intervention((latent,), writes=each) for each in (None, *drawn)]
        for latent, drawn in zip(latents, directions, strict=True)
    ]
    change = meter.ablated([run for of_latent in runs for run in of_latent], progress)
    by_pair = (change[:, pairs[0]] + change[:, pairs[1]]) / 2
    return np.split(by_pair, np.cumsum([len(each) for each in runs])[:-1])


def _against_random(
    own: Float[np.ndarray, " n"], random: Sequence[Float[np.ndarray, " _"]]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return how far each effect is from random ones, and p-values; NaN and 1 where none tell."""
    z, p = np.full(len(own), np.nan), np.ones(len(own))
    null = np.concatenate([*random, []])
    if len(null):
        groups = np.repeat(np.arange(len(own)), [len(each) for each in random])
        fit = fit_random_effects(null, groups, len(own))
        z = fit.z(own, np.arange(len(own)))
        known, null_z = np.isfinite(z), np.abs(fit.null_z)
        p[known] = pooled_p(np.abs(z[known]), null_z[np.isfinite(null_z)])
    return z, p


def resamples(n_pairs: int, seed: int) -> Int[np.ndarray, "n_bootstrap n_pairs"]:
    """Return pairs drawn with replacement, for the intervals."""
    return np.random.default_rng(seed).integers(0, n_pairs, (N_BOOTSTRAP, n_pairs))
