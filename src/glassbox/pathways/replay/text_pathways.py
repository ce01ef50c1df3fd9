"""The pathways to be replayed in one text, and a sample of those below the cut.

Values and their making from gradients; a pathway is a target of the text and a source latent, at
all its positions together. Knows nothing of runs.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.latents import LatentId


class SourceGradients(Protocol):
    """Gradients of a text's targets by the latents of one layer, as a sweep finds them."""

    @property
    def layer(self) -> int:
        """Of the sources."""
        ...

    @property
    def positions(self) -> Int[np.ndarray, " sources"]:
        """Where each fires."""
        ...

    @property
    def indices(self) -> Int[np.ndarray, " sources"]:
        """Latent index of each."""
        ...

    @property
    def first_target(self) -> int:
        """Targets of the text from this one on are above the layer."""
        ...

    @property
    def attributions(self) -> Float[np.ndarray, "targets sources"]:
        """Gradient times activation."""
        ...


@dataclass(frozen=True, eq=False)
class TextPathways:
    """What is to be replayed in one text."""

    context: Context
    target: Int[np.ndarray, " n"]
    """Which of the context's targets."""
    source_layer: Int[np.ndarray, " n"]
    source_index: Int[np.ndarray, " n"]
    attribution: Float[np.ndarray, " n"]
    """Gradient times activation, summed over the source's positions; NaN without a sweep."""
    is_kept: Bool[np.ndarray, " n"]
    """Kept by the cut; the others are a sample below it."""
    start: Int[np.ndarray, " n"]
    """First position at which the source fires; 0 without a sweep."""
    n_considered: int
    """(target, source) pairs that the sweep looked at in this text."""
    is_close: Bool[np.ndarray, " n"] | None = None
    """Looked at closely here: with all doses, and with random directions; None is all of them."""

    @property
    def close(self) -> Bool[np.ndarray, " n"]:
        """Which are looked at closely."""
        return np.ones(len(self.target), bool) if self.is_close is None else self.is_close

    @property
    def n_below(self) -> int:
        """Pairs below the cut, sampled or not."""
        return self.n_considered - int(self.is_kept.sum())

    def sources(self) -> tuple[LatentId, ...]:
        """Return the sources, each once, sorted: their rows have to be handed to the replay."""
        pairs = np.unique(np.column_stack([self.source_layer, self.source_index]), axis=0)
        return tuple(LatentId(int(layer), int(index)) for layer, index in pairs)


def pathways_in_text(
    context: Context,
    layers: Iterable[SourceGradients],
    kept: Collection[tuple[LatentId, LatentId]] | None,
    *,
    below_cut: float = 0.01,
    seed: int = 0,
) -> TextPathways:
    """Return the kept pathways that one text holds, and a sample of the others.

    The sample depends on the seed and the document alone, not on which texts come together.

    Args:
        context: The text and its targets.
        layers: Its gradients, layer by layer.
        kept: (target, source) of the pathways above the cut; None keeps all, for exhaustive replay.
        below_cut: Share of the others that is sampled, a fraction.
        seed: Of the sample.

    Raises:
        InvalidValue: A share outside [0, 1].
    """
    if not 0 <= below_cut <= 1:
        raise InvalidValue("below_cut", below_cut, "a fraction in [0, 1]")
    rng = np.random.default_rng((seed, context.document_id))
    wanted = None if kept is None else _by_layer(kept)
    parts = []
    n_considered = 0
    for each in sorted(layers, key=lambda one: one.layer):
        target, index, attribution, start = _pairs(context, each)
        n_considered += len(target)
        if wanted is None:
            is_kept = np.ones(len(target), bool)
        else:
            is_kept = _kept(context, target, index, wanted.get(each.layer, {}))
        taken = is_kept | (rng.random(len(target)) < below_cut)
        layer = np.full(int(taken.sum()), each.layer, np.int64)
        columns = (index[taken], attribution[taken], is_kept[taken], start[taken])
        parts.append((target[taken], layer, *columns))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return TextPathways(
            context, nothing, nothing, nothing, np.zeros(0, np.float32), np.zeros(0, bool),
            nothing, 0,
        )  # fmt: skip
    target, layer, index, attribution, is_kept, start = map(
        np.concatenate, zip(*parts, strict=True)
    )
    return TextPathways(context, target, layer, index, attribution, is_kept, start, n_considered)


def _by_layer(
    kept: Collection[tuple[LatentId, LatentId]],
) -> dict[int, dict[LatentId, list[int]]]:
    found: dict[int, dict[LatentId, list[int]]] = {}
    for target, source in kept:
        found.setdefault(source.layer, {}).setdefault(target, []).append(source.index)
    return found


def _pairs(
    context: Context, found: SourceGradients
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return targets, sources, attributions and where the sources first fire.

    Of those that fire no later than the target.
    """
    if not len(found.indices):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, np.zeros(0, np.float32), nothing
    order = np.lexsort((found.positions, found.indices))
    indices = found.indices[order]
    first = np.flatnonzero(np.r_[True, indices[1:] != indices[:-1]])
    summed = np.add.reduceat(found.attributions[:, order], first, axis=1)
    earliest = found.positions[order][first]
    positions = np.array([each.position for each in context.targets[found.first_target :]])
    row, column = np.nonzero(earliest[None, :] <= positions[:, None])
    return (
        row + found.first_target,
        indices[first][column].astype(np.int64),
        summed[row, column].astype(np.float32),
        earliest[column].astype(np.int64),
    )


def _kept(
    context: Context,
    target: Int[np.ndarray, " n"],
    index: Int[np.ndarray, " n"],
    wanted: dict[LatentId, list[int]],
) -> Bool[np.ndarray, " n"]:
    is_kept = np.zeros(len(target), bool)
    for place in np.unique(target):
        own = wanted.get(context.targets[place].latent)
        if own:
            at = target == place
            is_kept[at] = np.isin(index[at], own)
    return is_kept
