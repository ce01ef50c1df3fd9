"""What a sweep finds: the derivative of each target by every latent that fired below it.

Values only, on the processor and in float32. A matrix is ``[target, source]``; a source is one
latent at one position. Knows nothing of how the numbers came about.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import InvalidData
from glassbox.pathways.corpus.contexts import Context

Mode = Literal["total", "frozen", "direct", "mediated"]
"""``total`` the true derivative; ``frozen`` with attention probabilities, the norms' scales and the
feed-forward gates held; ``direct`` the skip connection alone; ``mediated`` total less direct."""
Path = Literal["past", "through"]
"""Past later SAEs, whose reconstruction and error both follow; or through their latents alone,
with the error held constant."""


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """The sources of one layer in one context, and the targets above it."""

    layer: int
    """Of the sources."""
    positions: Int[np.ndarray, " sources"]
    """Ascending, up to the last position of a target above the layer."""
    indices: Int[np.ndarray, " sources"]
    """Latent index in the layer's dictionary."""
    activations: Float[np.ndarray, " sources"]
    first_target: int
    """Targets of the context from this one on are above the layer."""
    gradients: Float[np.ndarray, "targets sources"]
    """Change of a target's pre-activation for one unit of the source's activation; 0 for sources
    behind the target."""
    direct: Float[np.ndarray, "targets sources"]
    """Decoder row times encoder row where both are at the same position, else 0: what the skip
    connection alone carries."""
    n_excluded: int = 0
    """Firings at excluded positions, which are no sources."""

    @property
    def attributions(self) -> Float[np.ndarray, "targets sources"]:
        """Gradient times activation: what taking the source away would change, to first order."""
        product: np.ndarray = self.gradients * self.activations
        return product


@dataclass(frozen=True, eq=False)
class ContextGradients:
    """All sources of all targets of one context."""

    context: Context
    mode: Mode
    path: Path
    layers: tuple[LayerGradients, ...]
    """Ascending; only layers with targets above them."""

    @property
    def n_excluded(self) -> int:
        """Firings at excluded positions of all layers."""
        return sum(each.n_excluded for each in self.layers)

    def layer(self, layer: int) -> LayerGradients:
        """Return the sources of one layer.

        Raises:
            InvalidData: The sweep did not read that layer for this context.
        """
        for each in self.layers:
            if each.layer == layer:
                return each
        raise InvalidData(
            f"context {self.context.document_id} has no gradients by latents of layer {layer}; "
            f"there are {[each.layer for each in self.layers]}"
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything but the context as named arrays, for a file."""
        arrays: dict[str, np.ndarray] = {}
        for each in self.layers:
            arrays |= {
                f"{each.layer}.positions": each.positions.astype(np.int32),
                f"{each.layer}.indices": each.indices.astype(np.int32),
                f"{each.layer}.activations": each.activations,
                f"{each.layer}.first_target": np.asarray([each.first_target], np.int64),
                f"{each.layer}.gradients": each.gradients,
                f"{each.layer}.direct": each.direct,
                f"{each.layer}.n_excluded": np.asarray([each.n_excluded], np.int64),
            }
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], context: Context, mode: Mode, path: Path
    ) -> "ContextGradients":
        """Return what ``to_arrays`` wrote, with its context again."""
        numbers = sorted({int(name.split(".")[0]) for name in arrays})
        layers = tuple(
            LayerGradients(
                layer,
                arrays[f"{layer}.positions"].astype(np.int64),
                arrays[f"{layer}.indices"].astype(np.int64),
                arrays[f"{layer}.activations"],
                int(arrays[f"{layer}.first_target"][0]),
                arrays[f"{layer}.gradients"],
                arrays[f"{layer}.direct"],
                int(arrays[f"{layer}.n_excluded"][0]),
            )
            for layer in numbers
        )
        return cls(context, mode, path, layers)


def join_targets(parts: Iterable[ContextGradients], context: Context) -> ContextGradients:
    """Return the gradients of a context whose targets were swept apart.

    Sources are matched by position and latent: one that fires in some of the parts only has the
    gradient 0 for the targets of the others.

    Args:
        parts: Of the same text, together with every target once.
        context: The text with all its targets.

    Raises:
        InvalidData: The parts are of another text, or do not make up the targets.
    """
    given = list(parts)
    place = {target: row for row, target in enumerate(context.targets)}
    found = [target for part in given for target in part.context.targets]
    texts = {part.context.token_ids for part in given} | {context.token_ids}
    if sorted(found) != sorted(place) or len(texts) > 1:
        raise InvalidData(
            f"the parts hold {len(found)} targets of {len(texts)} texts; "
            f"context {context.document_id} has {len(place)} targets"
        )
    if len(given) == 1:
        return given[0]
    layers = []
    for layer in sorted({each.layer for part in given for each in part.layers}):
        own = [(part, each) for part in given for each in part.layers if each.layer == layer]
        own.sort(key=lambda pair: len(pair[1].positions))
        first = sum(target.latent.layer <= layer for target in context.targets)
        positions, indices, columns = _joined_sources([each for _, each in own])
        shape = (len(context.targets) - first, len(positions))
        gradients, direct = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        activations = np.zeros(len(positions), np.float32)
        for (part, each), column in zip(own, columns, strict=True):
            own_targets = part.context.targets[each.first_target :]
            at = np.ix_(np.array([place[t] - first for t in own_targets]), column)
            gradients[at], direct[at] = each.gradients, each.direct
            activations[column] = each.activations
        n_excluded = max(each.n_excluded for _, each in own)
        layers.append(
            LayerGradients(
                layer, positions, indices, activations, first, gradients, direct, n_excluded
            )
        )
    return ContextGradients(context, given[0].mode, given[0].path, tuple(layers))


def _joined_sources(
    parts: Sequence[LayerGradients],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], list[Int[np.ndarray, " m"]]]:
    """Return positions and latents of all sources of a layer, and where each part's are among them.

    Each part saw the text up to its own last target, and rounding may differ with that length: a
    latent at its threshold may fire in one of them and be silent in another.
    """
    width = 1 + max(int(each.indices.max(initial=0)) for each in parts)
    keys = [each.positions * width + each.indices for each in parts]
    longest = max(keys, key=len)
    if all(np.array_equal(key, longest[: len(key)]) for key in keys):
        return longest // width, longest % width, [np.arange(len(key)) for key in keys]
    every = np.unique(np.concatenate(keys))
    return every // width, every % width, [np.searchsorted(every, key) for key in keys]
