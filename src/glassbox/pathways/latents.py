"""Names of latents: one unit of the SAE that stands on one layer. Knows nothing of weights."""

import re
from dataclasses import dataclass
from typing import Self

from glassbox.errors import InvalidValue

_NAME = re.compile(r"L(\d{1,4})-(\d{1,9})", re.ASCII)


@dataclass(frozen=True, order=True)
class LatentId:
    """One latent: the layer (a block, 0-based) whose output its SAE reads, and its index there."""

    layer: int
    """Block, 0-based: the SAE reads ``blocks.{layer}.hook_resid_post``."""
    index: int
    """Row of the SAE's encoder, 0-based."""

    @property
    def name(self) -> str:
        """The study's name for it, ``L13-2044``."""
        return f"L{self.layer}-{self.index}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the latent that a name like ``L13-2044`` means.

        Raises:
            InvalidValue: It is no such name.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise InvalidValue("latent", name, "a name like L13-2044")
        return cls(int(found[1]), int(found[2]))
