"""Latents as sources: which of them fire where, and the rows to read gradients with.

Dictionaries come whole and one after another, the highest layer first, or as the few rows that
count as sources. Knows nothing of targets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.pathways.discovery.firing import (
    Fired,
    Firing,
    count_sources,
    fired,
    fired_of,
    only_rows,
)
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries, Halves
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae


class LayerSources(Protocol):
    """The sources of one layer, asked first which of them fire and then for their rows."""

    @property
    def layer(self) -> int:
        """Block, 0-based, whose output the dictionary reads."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether every latent of the dictionary is here, counted or not."""
        ...

    def index_of(self, places: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the latents' numbers in their dictionary."""
        ...

    def firing(self, x: Float[Tensor, "positions d"], excluded: Sequence[int]) -> Firing:
        """Return which latents fire where.

        Args:
            x: The stream behind the layer.
            excluded: Positions whose firings are no sources.
        """
        ...

    def encoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents read."""
        ...

    def decoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents write."""
        ...

    def drop_encoder(self) -> None:
        """Say that nobody will ask for firings or the encoder again."""
        ...

    def drop(self) -> None:
        """Say that nobody will ask for anything again."""
        ...


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
        """Return which latents fire where."""
        if self.full is None or isinstance(self.latents, Sae):
            found = fired(self.latents, x)
        else:
            found = only_rows(fired(self.full, x), self.latents.indices, self.full.d_sae)
        return self._counted(found, len(x), excluded)

    def firing_of(
        self, activations: Float[Tensor, "positions n"], excluded: Sequence[int]
    ) -> Firing:
        """Return which latents fire where, given their activations."""
        return self._counted(fired_of(activations), len(activations), excluded)

    def _counted(self, found: Fired, n_positions: int, excluded: Sequence[int]) -> Firing:
        return count_sources(
            found,
            n_positions=n_positions,
            excluded=excluded,
            n_rows=len(self.latents.w_enc),
            chosen=self.chosen,
        )

    def encoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents read."""
        return self.latents.w_enc

    def decoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents write."""
        return self.latents.w_dec

    def drop_encoder(self) -> None:
        """Keep it: who made the rows holds them."""

    def drop(self) -> None:
        """Keep everything."""

    def activations(self, x: Float[Tensor, "*positions d"]) -> Float[Tensor, "*positions n"]:
        """Return f of every latent that is here."""
        if isinstance(self.latents, Sae):
            return self.latents.encode(x)
        if self.full is not None:
            # A few rows multiplied alone round otherwise than the full product, so that the k-th
            # largest would not be found among them.
            return self.full.encode(x)[..., self.latents.indices.to(x.device)]
        return self.latents.activations(x)


@dataclass(frozen=True, eq=False)
class StreamedLayer:
    """The sources of one layer of whole dictionaries that are read by halves.

    Args:
        halves: Of the dictionary.
        chosen: Its latents that count as sources; all, if none are given.
    """

    halves: Halves
    chosen: Int[Tensor, " m"] | None = None

    @property
    def layer(self) -> int:
        """Block, 0-based, whose output the dictionary reads."""
        return self.halves.layer

    @property
    def is_whole(self) -> bool:
        """True."""
        return True

    def index_of(self, places: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the latents' numbers in their dictionary."""
        return places

    def firing(self, x: Float[Tensor, "positions d"], excluded: Sequence[int]) -> Firing:
        """Return which latents fire where, once the encoder is read."""
        return count_sources(
            fired(self.halves.encoder(), x),
            n_positions=len(x),
            excluded=excluded,
            n_rows=self.halves.d_sae,
            chosen=self.chosen,
        )

    def encoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents read, once it is read."""
        return self.halves.encoder().w_enc

    def decoder(self) -> Float[Tensor, "n d"]:
        """Return what the latents write, once it is read."""
        return self.halves.decoder()

    def drop_encoder(self) -> None:
        """Make room for the next half; keep no reference."""
        self.halves.drop_encoder()

    def drop(self) -> None:
        """Make room for the next layer; keep no reference."""
        self.halves.drop_encoder()
        self.halves.drop_decoder()


class Sources(Protocol):
    """The sources of many layers, given out one layer at a time."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have sources, ascending."""
        ...

    def stream(
        self, layers: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Iterator[LayerSources]:
        """Yield the sources of some layers, in the order given."""
        ...

    def together(self, device: torch.device, dtype: torch.dtype) -> dict[int, SourceLayer]:
        """Return the sources of all layers, all in memory at once."""
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
    ) -> Iterator[LayerSources]:
        """Yield the sources of some layers, in the order given."""
        for layer in layers:
            yield self._layer(layer, device, dtype)

    def together(self, device: torch.device, dtype: torch.dtype) -> dict[int, SourceLayer]:
        """Return the sources of all layers."""
        return {layer: self._layer(layer, device, dtype) for layer in self.layers}

    def _layer(self, layer: int, device: torch.device, dtype: torch.dtype) -> SourceLayer:
        held = self.rows[layer]
        latents = held.to(device, dtype) if isinstance(held, LatentRows) else held
        return SourceLayer(latents, (self.full or {}).get(layer))


@dataclass(frozen=True, eq=False)
class StreamedSources:
    """Whole dictionaries, read from their files by halves of a layer; one layer is in memory.

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
    ) -> Iterator[LayerSources]:
        """Yield the sources of some layers, in the order given; the next are read meanwhile."""
        for halves in self.dictionaries.stream_halves(layers, device=device, dtype=dtype):
            yield StreamedLayer(halves, self._chosen(halves.layer))

    def together(self, device: torch.device, dtype: torch.dtype) -> dict[int, SourceLayer]:
        """Return the sources of all layers, every dictionary whole."""
        return {
            layer: SourceLayer(
                self.dictionaries.load(layer, device=device, dtype=dtype),
                chosen=self._chosen(layer),
            )
            for layer in self.layers
        }

    def _chosen(self, layer: int) -> Int[Tensor, " m"] | None:
        return None if self.chosen is None else torch.tensor(list(self.chosen[layer]))


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
