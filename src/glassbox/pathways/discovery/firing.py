"""Which latents of a dictionary fire where: read strip by strip, so that memory knows no width.

Only what fires is kept. Of a TopK dictionary what might be among the k largest of all is carried
from strip to strip. Knows nothing of which latents are sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.pathways.saes.rows import InputNorm, normalised

STRIP: Final = {"cpu": 2**17, "cuda": 2**23}
"""Pre-activations that are held at a time, by kind of device. On a processor the matrix library
keeps a copy of the rows that it multiplies with, which would grow with the dictionary too."""

_FEWEST: Final = 512
"""Latents of a strip at least, however long the text: fewer multiply slowly."""


class Reading(Protocol):
    """What says whether a latent fires: a dictionary, half of one, or rows of one."""

    @property
    def w_enc(self) -> Float[Tensor, "n d"]:
        """What each latent reads."""
        ...

    @property
    def b_enc(self) -> Float[Tensor, " n"]:
        """Added to it."""
        ...

    @property
    def threshold(self) -> Float[Tensor, " n"]:
        """What it has to exceed, at least 0."""
        ...

    @property
    def k(self) -> int | None:
        """Latents kept at a position."""
        ...

    @property
    def input_norm(self) -> InputNorm:
        """What is done to the stream first."""
        ...


class Fired(NamedTuple):
    """What fires, by position and then by place."""

    positions: Int[Tensor, " fires"]
    places: Int[Tensor, " fires"]
    """Rows of the encoder."""
    activations: Float[Tensor, " fires"]
    """Float32."""


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

    def only_counted(self) -> "Firing":
        """Return the sources alone."""
        kept = self.counted
        return Firing(
            self.positions[kept],
            self.places[kept],
            self.activations[kept],
            kept[kept],
            self.n_excluded,
        )


def fired(reading: Reading, x: Float[Tensor, "positions d"]) -> Fired:
    """Return what fires in one text: what ``Sae.encode`` gives another value than 0.

    Args:
        reading: Of all latents of the dictionary, where it is TopK.
        x: The stream behind the dictionary's layer.
    """
    weights = reading.w_enc
    x, _, _ = normalised(x.to(weights.dtype), reading.input_norm)
    n = len(weights)
    most = STRIP.get(x.device.type, STRIP["cpu"])
    width = max(_FEWEST, most // max(1, len(x)))
    leading = x.new_zeros(len(x), 0)
    parts = []
    for start in range(0, n, width):
        part = slice(start, start + width)
        z = torch.nn.functional.linear(x, weights[part], reading.b_enc[part])
        open_ = z > reading.threshold[part]
        if reading.k is not None:
            leading = torch.cat([leading, z * open_], dim=1)
            leading = leading.topk(min(reading.k, leading.shape[1]), dim=1, sorted=False).values
            # Those that came after the k-th of a strip and all before it are not among all either.
            open_ &= z >= leading.amin(1, keepdim=True)
        positions, places = open_.nonzero(as_tuple=True)
        parts.append(Fired(positions, places + start, z[positions, places]))
    found = Fired(*(torch.cat(each) for each in zip(*parts, strict=True)))
    if reading.k is not None:
        among = found.activations >= leading.amin(1)[found.positions]
        found = Fired(*(each[among] for each in found))
    # Strips come in the order of places, and a stable sort keeps it.
    order = torch.argsort(found.positions, stable=True)
    return Fired(found.positions[order], found.places[order], found.activations[order].float())


def fired_of(activations: Float[Tensor, "positions n"]) -> Fired:
    """Return what fires, given all activations."""
    positions, places = activations.nonzero(as_tuple=True)
    return Fired(positions, places, activations[positions, places].float())


def only_rows(found: Fired, indices: Int[Tensor, " rows"], n_latents: int) -> Fired:
    """Return what of a whole dictionary's firings is among some rows, by their places there.

    Args:
        found: Of the whole dictionary.
        indices: Latents of the rows, each once.
        n_latents: Of the whole dictionary.
    """
    rows = torch.full((n_latents,), -1, dtype=torch.int64, device=found.places.device)
    rows[indices.to(rows.device)] = torch.arange(len(indices), device=rows.device)
    places = rows[found.places]
    kept = places >= 0
    positions, places, activations = found.positions[kept], places[kept], found.activations[kept]
    order = torch.argsort(positions * len(indices) + places)
    return Fired(positions[order], places[order], activations[order])


def count_sources(
    found: Fired,
    *,
    n_positions: int,
    excluded: Sequence[int],
    n_rows: int,
    chosen: Int[Tensor, " m"] | None,
) -> Firing:
    """Return what fires with what of it counts as a source.

    Args:
        found: What fires.
        n_positions: Of the text.
        excluded: Positions whose firings are no sources.
        n_rows: Of the encoder.
        chosen: Those of its rows that count; all, if none are given.
    """
    device = found.positions.device
    counts = torch.ones(n_rows, dtype=torch.bool, device=device)
    if chosen is not None:
        counts.zero_()
        counts[chosen.to(device)] = True
    open_ = torch.ones(n_positions, dtype=torch.bool, device=device)
    open_[[each for each in excluded if each < n_positions]] = False
    is_chosen = counts[found.places]
    counted = is_chosen & open_[found.positions]
    n_excluded = int(is_chosen.sum()) - int(counted.sum())
    return Firing(*found, counted, n_excluded)
