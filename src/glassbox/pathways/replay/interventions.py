"""What is changed in one run, and what the runs of a text measured: values only.

A run holds some latents of one text at other values than they had and lets the model do the rest.
Knows nothing of how runs are done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidValue, UnknownName
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.latents import LatentId


@dataclass(frozen=True)
class Dose:
    """By how much an activation is changed."""

    name: str
    """Its word in tables."""
    factor: float
    """New activation over the clean one, at every position."""


ABLATE: Final = Dose("ablate", 0.0)
HALF: Final = Dose("half", 0.5)
DOUBLE: Final = Dose("double", 2.0)

DOSES: Final = {each.name: each for each in (ABLATE, HALF, DOUBLE)}
"""The doses by name."""


def doses_named(names: Sequence[str]) -> tuple[Dose, ...]:
    """Return doses by their names, in the order given.

    Raises:
        UnknownName: There is no such dose.
    """
    for name in names:
        if name not in DOSES:
            raise UnknownName("dose", name, DOSES)
    return tuple(DOSES[name] for name in names)


@dataclass(frozen=True)
class Intervention:
    """One run: latents held at other values, at all their positions together.

    Latents on several layers are held on each of them: what a change below does to them is undone.

    Raises:
        InvalidValue: No latent, or values that are not one for each latent.
    """

    latents: tuple[LatentId, ...]
    """What is changed."""
    dose: Dose = ABLATE
    """How, unless ``values`` says."""
    positions: tuple[int, ...] | None = None
    """Where; None is every position that the context does not exclude."""
    values: tuple[float, ...] | None = None
    """New activation of each latent, at all those positions, instead of the dose (a mean)."""
    writes: LatentId | None = None
    """A latent of the same layer whose decoder direction the one changed latent writes instead of
    its own, as long as its own is: a random direction at the very same positions and sizes."""
    targets: tuple[int, ...] | None = None
    """Which of the context's targets the run has to reach, by place; None is all. Targets that it
    comes past on the way are read as well."""

    def __post_init__(self) -> None:
        if not self.latents:
            raise InvalidValue("latents of an intervention", (), "at least one")
        if self.values is not None and len(self.values) != len(self.latents):
            raise InvalidValue(
                "values of an intervention", len(self.values), f"{len(self.latents)} values"
            )
        if self.writes is not None and (
            len(self.latents) > 1
            or self.values is not None
            or self.writes.layer != self.latents[0].layer
        ):
            raise InvalidValue(
                "writes", self.writes.name, "a latent of the layer of the one latent that is dosed"
            )

    @property
    def first_layer(self) -> int:
        """Lowest layer that is changed."""
        return min(each.layer for each in self.latents)


@dataclass(frozen=True, eq=False)
class Effects:
    """What the runs of one text measured.

    An effect is NaN where a run did not read the target (it stands on the source's layer or below,
    or no farther reach was asked for), and 0 where the target stands before the first change.
    """

    context: Context
    """The text and its targets."""
    interventions: tuple[Intervention, ...]
    """One for each row."""
    clean_pre: Float[np.ndarray, " n_targets"]
    """Pre-activation of each target with nothing changed."""
    clean_post: Float[np.ndarray, " n_targets"]
    """Activation of each target with nothing changed."""
    pre: Float[np.ndarray, "n_rows n_targets"]
    """Change of the pre-activation."""
    post: Float[np.ndarray, "n_rows n_targets"]
    """Change of the activation."""
    flips: Bool[np.ndarray, "n_rows n_targets"]
    """Whether the target began or ceased to fire."""
    change: Float[np.ndarray, "n_rows n_targets"]
    """By how much the sources' activations were to change, summed over latents and over the
    positions up to the target's, reckoned from the clean text; 0 where nothing was active."""
    n_changed: Int[np.ndarray, "n_rows n_targets"]
    """Positions, up to the target's, at which something changes."""
