"""How far each run has to go, and which runs share a batch. Numbers only; knows nothing of models.

A run begins at the first layer and position that it changes and ends where no target is left: the
positions before come from the clean text, those behind and the layers above are not computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.replay.interventions import Intervention

NOWHERE: Final = -1
"""Stands for no position."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of one text; some need none, because nothing changes or nothing is read."""

    row: Int[np.ndarray, " n"]
    """Which intervention each is."""
    first_layer: Int[np.ndarray, " n"]
    """Layer whose output is changed first."""
    start: Int[np.ndarray, " n"]
    """First position that is changed."""
    reach: Int[np.ndarray, "n layers"]
    """Last position that has to go into each layer, ``NOWHERE`` where none has; one column more
    than there are layers, because nothing follows the last."""

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.row)

    def take(self, at: Int[np.ndarray, " m"]) -> "Runs":
        """Return some of them."""
        return Runs(self.row[at], self.first_layer[at], self.start[at], self.reach[at])

    @property
    def tokens(self) -> Int[np.ndarray, "n layers"]:
        """Positions that go into each layer."""
        layers = np.arange(self.reach.shape[1])
        inside = (layers > self.first_layer[:, None]) & (self.reach >= self.start[:, None])
        return np.where(inside, self.reach - self.start[:, None] + 1, 0)

    def with_clean(self) -> "Runs":
        """Return them behind one more run, the first, that covers all of them and changes nothing.

        What a run measured is its difference from that one: rounding that depends on the batch
        falls out.
        """
        return Runs(
            np.concatenate(([NOWHERE], self.row)),
            np.concatenate((self.first_layer.min(keepdims=True), self.first_layer)),
            np.concatenate((self.start.min(keepdims=True), self.start)),
            np.concatenate((self.reach.max(axis=0, keepdims=True), self.reach)),
        )


def plan_runs(
    context: Context,
    interventions: Sequence[Intervention],
    starts: Int[np.ndarray, " n_rows"],
    n_layers: int,
) -> Runs:
    """Return the runs that have to be done.

    Args:
        context: The text and its targets.
        interventions: What is changed.
        starts: First position each changes; ``NOWHERE`` if it changes nothing.
        n_layers: Layers of the model.
    """
    layers = np.array([each.latent.layer for each in context.targets], dtype=np.int64)
    positions = np.array([each.position for each in context.targets], dtype=np.int64)
    everything = _reach(layers, positions, n_layers)
    first = np.array([each.first_layer for each in interventions], dtype=np.int64)
    reach = np.broadcast_to(everything, (len(interventions), n_layers + 1)).copy()
    for row, intervention in enumerate(interventions):
        if intervention.targets is not None:
            at = np.array(intervention.targets, dtype=np.int64)
            reach[row] = _reach(layers[at], positions[at], n_layers)
    runs = Runs(np.arange(len(interventions)), first, np.asarray(starts, np.int64), reach)
    needed = (runs.start >= 0) & (runs.tokens.sum(axis=1) > 0)
    return runs.take(np.flatnonzero(needed))


def _reach(
    layers: Int[np.ndarray, " t"], positions: Int[np.ndarray, " t"], n_layers: int
) -> Int[np.ndarray, " layers"]:
    """Return the last position that some targets need in each layer's input."""
    furthest = np.full(n_layers + 1, NOWHERE, dtype=np.int64)
    np.maximum.at(furthest, layers, positions)
    return np.maximum.accumulate(furthest[::-1])[::-1]


def cut_runs(
    runs: Runs, batch_tokens: int, batch_rows: int | None = None
) -> list[Int[np.ndarray, " m"]]:
    """Return which runs go through the model together, those with like starts side by side.

    Args:
        runs: The runs.
        batch_tokens: Most positions in one layer at a time; a run that is longer goes alone.
        batch_rows: Most runs of one batch.
    """
    tokens = runs.tokens
    order = np.lexsort((runs.first_layer, runs.start))
    batches: list[list[int]] = []
    held: Int[np.ndarray, " layers"] = np.zeros(tokens.shape[1], dtype=np.int64)
    for at in order.tolist():
        fits = (held + tokens[at]).max() <= batch_tokens
        if batches and fits and (batch_rows is None or len(batches[-1]) < batch_rows):
            batches[-1].append(at)
            held = held + tokens[at]
        else:
            batches.append([at])
            held = tokens[at].copy()
    # Within a batch, runs that begin on lower layers stand first: the others join behind them.
    return [
        np.array(sorted(each, key=lambda at: (runs.first_layer[at], at)), dtype=np.int64)
        for each in batches
    ]


@dataclass(frozen=True, eq=False)
class Places:
    """Positions of the runs of a batch, one after the other."""

    run: Int[np.ndarray, " n"]
    """Which run of the batch; rising."""
    position: Int[np.ndarray, " n"]
    """Token position; rising within a run."""

    def __len__(self) -> int:
        """Number of places."""
        return len(self.run)

    def take(self, at: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Places":
        """Return some of them."""
        return Places(self.run[at], self.position[at])


def places_into(runs: Runs, layer: int, which: Bool[np.ndarray, " n"]) -> Places:
    """Return the positions of some runs that go into a layer."""
    lengths = np.where(which, runs.tokens[:, layer], 0)
    run = np.repeat(np.arange(len(runs)), lengths)
    offset = np.arange(len(run)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Places(run, runs.start[run] + offset)


def needed_behind(
    runs: Runs, layer: int, inside: Places, target_positions: Int[np.ndarray, " t"]
) -> Bool[np.ndarray, " n"]:
    """Return which of a layer's inputs are needed as its output: read there, or further on."""
    further = inside.position <= runs.reach[inside.run, layer + 1]
    needed: Bool[np.ndarray, " n"] = further | np.isin(inside.position, target_positions)
    return needed
