"""How many random directions a latent's effect on the decision is held against, look by look.

Of many latents most do nothing, and a few directions tell. So all get a first look, and those that
it leaves open a second, at new directions alone. The p-value is that of a latent's last look, and
remains one: where it is at most u and u is below ``GOES_ON``, it is a second look's; where u is not
below, a first look's p-value is at most u as well. Either has a chance of at most u to be so.

Source: Besag and Clifford 1991, "Sequential Monte Carlo p-values", Biometrika 78(2), for drawing
less where nothing is to be found; counted ranks as there would take hundreds of draws to pass a
correction over many latents, where a law of the draws' distances (``pooled_null``) takes twenty.
"""

from typing import Final

from glassbox.stats.effects.pooled_null import LEAST_NULL

FIRST_LOOK: Final = 5
"""Random directions of the first look at every latent."""

GOES_ON: Final = 0.25
"""Largest p-value of the first look with which a latent gets a second."""

EXPECTED_OPEN: Final = 0.5
"""Share of the latents that forecasts take to get a second look: about that of the demo. Of latents
that do nothing it is ``GOES_ON``."""


def looks_of(n_latents: int, n_random: int) -> tuple[int, ...]:
    """Return how many new random directions each look at a latent takes.

    A single look where a first one would spare little, or leave too few latents for a second to
    make a law of what random directions do.
    """
    n_null = GOES_ON * n_latents * n_random
    if n_random < 3 * FIRST_LOOK or n_null < 4 * LEAST_NULL:
        return (n_random,)
    return FIRST_LOOK, n_random


def expected_directions(n_latents: int, n_random: int) -> float:
    """Return how many random directions a latent is taken to need, on average."""
    *before, last = looks_of(n_latents, n_random)
    return sum(before) + (EXPECTED_OPEN if before else 1.0) * last
