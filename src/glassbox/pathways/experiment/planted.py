"""What was planted: values and their record. Knows nothing of how it is done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glassbox.artifacts import read_object
from glassbox.errors import CorruptArtifact
from glassbox.pathways.experiment.conditions import Kind
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries

PLANTED_SCHEMA = 1
"""Version of the layout of ``planted.json``."""

Role = Literal["causal", "driven", "null"]
"""What a planted latent is for."""


@dataclass(frozen=True)
class PlantedLatent:
    """One planted latent."""

    name: str
    role: Role
    """``causal``, the first of a chain; ``driven``, its second, causal too; ``null``."""
    side: Kind
    """Kind of prompt in which it fires."""
    twin: str = ""
    """For a null: the latent whose encoder row it shares."""
    drives: str = ""
    """For the first of a chain: the second."""
    effect: float = 0.0
    """Change of the probability of stopping where it fires, when it is held at what it has in the
    other kind of prompt; measured on the experiment's own prompts by adding to the model."""
    drive: float = 0.0
    """By that, the change of the pre-activation of its chain's second latent, in that latent's
    mean activations; 0 for those in the second's own layer."""

    @property
    def latent(self) -> LatentId:
        """Which latent it is."""
        return LatentId.parse(self.name)


@dataclass(frozen=True, eq=False)
class Planted:
    """Dictionaries with planted latents, and which these are."""

    dictionaries: Dictionaries
    latents: tuple[PlantedLatent, ...]

    def of(self, role: Role) -> tuple[PlantedLatent, ...]:
        """Return those of one role."""
        return tuple(each for each in self.latents if each.role == role)


def read_planted(record: Path) -> tuple[PlantedLatent, ...]:
    """Return what was planted, by a ``planted.json``.

    Raises:
        CorruptArtifact: It is damaged.
    """
    content = read_object(record, schema=PLANTED_SCHEMA)
    try:
        return tuple(PlantedLatent(**each) for each in content["latents"])
    except (KeyError, TypeError) as error:
        raise CorruptArtifact(record, f"no record of planted latents ({error})") from error
