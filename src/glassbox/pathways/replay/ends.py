"""What runs leave at the end of their text: the stream behind the last block at the last position.

As replays, the runs go through the layers in packed batches, each from the layer and position it
changes; behind the last block the last position alone is asked for. Knows nothing of what is read
from there.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.replay.batch_run import carry
from glassbox.pathways.replay.changing import first_changed, held_on
from glassbox.pathways.replay.clean_text import CleanText
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.replay.replaying import Limits, held_by, in_batches
from glassbox.pathways.replay.runs import NOWHERE, Places, Runs, cut_runs


@torch.no_grad()
def ends_of(
    model: ModelBlocks,
    text: CleanText,
    interventions: Sequence[Intervention],
    limits: Limits | None = None,
) -> Iterator[tuple[Int[np.ndarray, " m"], Float[Tensor, "m+1 d"]]]:
    """Yield batches: which interventions ran, and what they left, the clean run's state first.

    Those that change nothing do not run. What a run does is its difference from the clean one of
    its own batch: rounding that depends on the batch falls out.

    Args:
        model: The blocks.
        text: The text, all blocks run clean.
        interventions: What is changed.
        limits: Size of a batch, the usual one if none; out of memory, it is halved.

    Raises:
        InvalidValue: A latent without rows.
        OutOfMemory: Not even one run fits.
    """
    limits = limits or Limits()
    layers = sorted({each.layer for row in interventions for each in row.latents})
    held = {layer: held_on(text, interventions, layer) for layer in layers}
    first = np.array([each.first_layer for each in interventions], dtype=np.int64)
    runs = _plan(model.n_layers, text.n_positions, first, first_changed(text, held))

    def run(at: Int[np.ndarray, " m"]) -> Float[Tensor, "m+1 d"]:
        some = runs.take(at)
        reader = _End(model, text.n_positions - 1, 1 + len(some))
        behind_clean = {layer: [None, *each] for layer, each in held_by(held, some.row).items()}
        # What begins behind the last block goes through none.
        reader.read(reader.last_layer, *carry(model, text, some.with_clean(), behind_clean, reader))
        return reader.states

    for at, states in in_batches(cut_runs(runs, limits.batch_tokens, limits.batch_rows), run):
        yield runs.row[at], states


def _plan(
    n_layers: int,
    n_positions: int,
    first: Int[np.ndarray, " n"],
    starts: Int[np.ndarray, " n"],
) -> Runs:
    """Return the runs of interventions that change anything, to the end of the text."""
    reach = np.full((len(first), n_layers + 1), n_positions - 1, dtype=np.int64)
    # Behind the last block nothing is read but the end, unless the change itself is made there.
    reach[first < n_layers - 1, n_layers] = NOWHERE
    return Runs(np.arange(len(first)), first, starts, reach).take(np.flatnonzero(starts >= 0))


class _End:
    """The stream behind the last block at the last position, in each run of a batch."""

    def __init__(self, model: ModelBlocks, position: int, n_runs: int) -> None:
        self.position, self.last_layer = position, model.n_layers - 1
        self.states = torch.zeros(n_runs, model.d_model, dtype=model.dtype, device=model.device)

    def positions(self, layer: int) -> Int[np.ndarray, " n"]:
        """Return the last position behind the last block, else nothing."""
        return np.array([self.position] if layer == self.last_layer else [], dtype=np.int64)

    def read(self, layer: int, places: Places, x: Float[Tensor, "m d"]) -> None:
        """Keep what the last block wrote at the last position."""
        if layer == self.last_layer:
            at = np.flatnonzero(places.position == self.position)
            runs, rows = (torch.from_numpy(each).to(x.device) for each in (places.run[at], at))
            self.states[runs] = x[rows]
