"""Latents as sources: which of them fire where, and the rows to read gradients with.

Dictionaries come whole and one after another, the highest layer first, or as the few rows that
count as sources. Knows nothing of targets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae

ENCODED: Final = {"cpu": 2**20, "cuda": 2**23}
"""Pre-activations that are held at a time, by kind of device: what a wide dictionary says of a
whole text would take memory beside the dictionary itself."""

GATED: Final = {"cpu": 2**17, "cuda": 2**23}
"""Of these, as many as go through the gate together, which takes several times their memory."""

_Fired = tuple[Int[Tensor, " fires"], Int[Tensor, " fires"], Float[Tensor, " fires"]]
"""Positions, places and values, by position and then by place."""


@dataclass(frozen=True, eq=False)
class Firing:
    """Latents that fire in one text: by position, then by place."""

    positions: Int[Tensor, " n"]
    places: Int[Tensor, " n"]
    """Rows of the layer's matrices."""
    activations: Float[Tensor, " n"]
    counted: Bool[Tensor, " n"]
    """Whether it is a source: chosen, and not at an excluded position."""
    n_excluded: int
    """Chosen ones at excluded positions."""


@dataclass(frozen=True, eq=False)
class SourceLayer:
    """The sources of one layer.

    Args:
        latents: A whole dictionary, or some of its rows.
        full: The whole dictionary, where the rows are of a TopK one: which of them fire depends on
            the others.
        chosen: Places of a whole dictionary that count as sources; all, if none are given.

    Raises:
        InvalidValue: Rows of a TopK dictionary without the dictionary, or chosen places of rows.
    """

    latents: Sae | LatentRows
    full: Sae | None = None
    chosen: Int[Tensor, " m"] | None = None

    def __post_init__(self) -> None:
        is_rows = isinstance(self.latents, LatentRows)
        if is_rows and self.latents.k is not None and self.full is None:
            raise InvalidValue(
                f"full dictionary of layer {self.latents.layer}",
                None,
                "the dictionary itself; of a TopK one a few rows cannot know whether they fire",
            )
        if is_rows and self.chosen is not None:
            raise InvalidValue("chosen", "places", "none where the rows are the chosen ones")

    @property
    def layer(self) -> int:
        """Block, 0-based, whose output the dictionary reads."""
        return self.latents.layer

    @property
    def is_whole(self) -> bool:
        """Whether every latent of the dictionary is here, counted or not."""
        return isinstance(self.latents, Sae)

    def index_of(self, places: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the latents' numbers in their dictionary."""
        if isinstance(self.latents, Sae):
            return places
        return self.latents.indices.to(places.device)[places]

    def firing(self, x: Float[Tensor, "positions d"], excluded: Sequence[int]) -> Firing:
        """Return which latents fire where.

        Args:
            x: The stream behind the layer.
            excluded: Positions whose firings are no sources.
        """
        dictionary = self.latents
        if self.full is not None and not isinstance(dictionary, Sae):
            dictionary = self.full
        encoded, gated = (_rows_of(each, x, len(dictionary.w_enc)) for each in (ENCODED, GATED))
        parts, start = [], 0
        for some in x.split(encoded):
            for z in dictionary.preactivations(some).split(gated):
                positions, places, values = _fired(self._here(dictionary.gate(z)))
                parts.append((positions + start, places, values))
                start += len(z)
        positions, places, values = (torch.cat(each) for each in zip(*parts, strict=True))
        return self._firing((positions, places, values), len(x), excluded)

    def firing_of(
        self, activations: Float[Tensor, "positions n"], excluded: Sequence[int]
    ) -> Firing:
        """Return which latents fire where, given their activations."""
        return self._firing(_fired(activations), len(activations), excluded)

    def _firing(self, fired: _Fired, n_positions: int, excluded: Sequence[int]) -> Firing:
        """Return what fires with what of it counts."""
        positions, places, values = fired
        device = positions.device
        chosen = torch.ones(len(self.latents.w_enc), dtype=torch.bool, device=device)
        if self.chosen is not None:
            chosen.zero_()
            chosen[self.chosen.to(device)] = True
        open_ = torch.ones(n_positions, dtype=torch.bool, device=device)
        open_[[each for each in excluded if each < n_positions]] = False
        is_chosen = chosen[places]
        counted = is_chosen & open_[positions]
        n_excluded = int(is_chosen.sum()) - int(counted.sum())
        return Firing(positions, places, values, counted, n_excluded)

    def activations(self, x: Float[Tensor, "*positions d"]) -> Float[Tensor, "*positions n"]:
        """Return f of every latent that is here."""
        if isinstance(self.latents, Sae):
            return self.latents.encode(x)
        if self.full is not None:
            # A few rows multiplied alone round otherwise than the full product, so that the k-th
            # largest would not be found among them.
            return self._here(self.full.encode(x))
        return self.latents.activations(x)

    def _here(self, activations: Float[Tensor, "*positions n"]) -> Float[Tensor, "*positions m"]:
        """Return those of the latents that are here, of a whole dictionary's if that is known."""
        if self.full is None or isinstance(self.latents, Sae):
            return activations
        return activations[..., self.latents.indices.to(activations.device)]


def _rows_of(most: Mapping[str, int], x: Tensor, width: int) -> int:
    """Return how many rows of a width make up what may be held on a device; at least one."""
    return max(1, most.get(x.device.type, most["cpu"]) // max(1, width))


def _fired(activations: Float[Tensor, "positions n"]) -> _Fired:
    """Return what is not 0."""
    positions, places = activations.nonzero(as_tuple=True)
    return positions, places, activations[positions, places].float()


class Sources(Protocol):
    """The sources of many layers, given out one layer at a time."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have sources, ascending."""
        ...

    def stream(
        self, layers: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Iterator[SourceLayer]:
        """Yield the sources of some layers, in the order given."""
        ...


@dataclass(frozen=True, eq=False)
class HeldSources:
    """Sources that are in memory: a study's chosen latents.

    Args:
        rows: By layer.
        full: Whole dictionaries, needed for layers whose dictionary is TopK.
    """

    rows: Mapping[int, LatentRows | Sae]
    full: Mapping[int, Sae] | None = None

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have sources, ascending."""
        return tuple(sorted(self.rows))

    def stream(
        self, layers: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Iterator[SourceLayer]:
        """Yield the sources of some layers, in the order given."""
        for layer in layers:
            held = self.rows[layer]
            latents = held.to(device, dtype) if isinstance(held, LatentRows) else held
            yield SourceLayer(latents, (self.full or {}).get(layer))


@dataclass(frozen=True, eq=False)
class StreamedSources:
    """Whole dictionaries, read from their files a layer at a time.

    Args:
        dictionaries: All layers.
        chosen: By layer, the latents that count as sources; every one, if none are given.

    Raises:
        UnknownName: A chosen latent's layer has no dictionary.
    """

    dictionaries: Dictionaries
    chosen: Mapping[int, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        for layer in self.chosen or ():
            if layer not in self.dictionaries.layers:
                known = [str(each) for each in self.dictionaries.layers]
                raise UnknownName("SAE for layer", str(layer), known)

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have sources, ascending."""
        if self.chosen is None:
            return self.dictionaries.layers
        return tuple(sorted(layer for layer, some in self.chosen.items() if some))

    def stream(
        self, layers: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Iterator[SourceLayer]:
        """Yield the sources of some layers, in the order given; the next is read meanwhile."""
        for sae in self.dictionaries.stream(layers, device=device, dtype=dtype):
            chosen = None if self.chosen is None else torch.tensor(list(self.chosen[sae.layer]))
            yield SourceLayer(sae, chosen=chosen)
            del sae


def place_of(latent: LatentId, rows: Mapping[int, LatentRows]) -> int:
    """Return a latent's place among the rows of its layer.

    Raises:
        InvalidData: It is not among them.
    """
    given = rows.get(latent.layer)
    places = [] if given is None else (given.indices == latent.index).nonzero().flatten().tolist()
    if not places:
        raise InvalidData(f"the rows of target {latent.name} were not given")
    return int(places[0])
