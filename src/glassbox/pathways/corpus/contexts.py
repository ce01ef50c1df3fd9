"""One text, and the places in it whose latents are looked at: what a sweep or a replay works on.

Values only; which texts are chosen, and why, is ``set_cover``'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from glassbox.errors import InvalidValue
from glassbox.pathways.latents import LatentId
from glassbox.types import TokenIds


class Target(NamedTuple):
    """A latent at a position: one number of the model whose causes are asked for."""

    latent: LatentId
    """The latent."""
    position: int
    """Token position in its context, 0-based."""


@dataclass(frozen=True)
class Context:
    """A text with its targets.

    Raises:
        InvalidValue: A position outside the text, or a target on an excluded one.
    """

    document_id: int
    """Row of the corpus it was taken from."""
    token_ids: TokenIds
    """The whole text: prompt and response."""
    targets: tuple[Target, ...]
    """Sorted by (layer, position, index); distinct."""
    excluded: tuple[int, ...] = ()
    """Positions that count as nobody's source: the first one, and special tokens; sorted."""
    n_prompt: int = 0
    """Positions that belong to the prompt."""

    def __post_init__(self) -> None:
        n_tokens = len(self.token_ids)
        allowed = f"a position in [0, {n_tokens})"
        for position in (*(each.position for each in self.targets), *self.excluded):
            if not 0 <= position < n_tokens:
                raise InvalidValue(f"A position of context {self.document_id}", position, allowed)
        if set(self.excluded) & {each.position for each in self.targets}:
            raise InvalidValue(
                f"The targets of context {self.document_id}",
                [each.position for each in self.targets],
                f"positions that are not excluded ({list(self.excluded)} are)",
            )

    @property
    def last_position(self) -> int:
        """The last position any target stands on; nothing behind it matters."""
        return max(each.position for each in self.targets)

    @property
    def last_layer(self) -> int:
        """The highest layer any target stands on; no block above it matters."""
        return max(each.latent.layer for each in self.targets)


def make_context(
    document_id: int,
    token_ids: Sequence[int],
    targets: Sequence[tuple[LatentId, int]],
    *,
    excluded: Sequence[int] = (),
    n_prompt: int = 0,
) -> Context:
    """Return a context with its targets distinct and in order.

    Raises:
        InvalidValue: A position outside the text, or a target on an excluded one.
    """
    places = {Target(latent, int(position)) for latent, position in targets}
    return Context(
        document_id=document_id,
        token_ids=tuple(int(token) for token in token_ids),
        targets=tuple(sorted(places, key=_by_layer)),
        excluded=tuple(sorted({int(position) for position in excluded})),
        n_prompt=n_prompt,
    )


def _by_layer(target: Target) -> tuple[int, int, int]:
    return target.latent.layer, target.position, target.latent.index
