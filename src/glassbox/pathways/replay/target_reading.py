"""Reads a text's targets while runs go up the layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.errors import NonFiniteOutput
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.replay.batch_run import carry
from glassbox.pathways.replay.changing import Held
from glassbox.pathways.replay.clean_text import CleanText
from glassbox.pathways.replay.runs import Places, Runs


@dataclass(frozen=True, eq=False)
class Reading:
    """What the runs of a batch measured, the clean one taken off; float32 on the processor."""

    pre: Float[Tensor, "runs targets"]
    post: Float[Tensor, "runs targets"]
    flips: Bool[Tensor, "runs targets"]


def run_batch(
    model: ModelBlocks, text: CleanText, runs: Runs, held: Mapping[int, Sequence[Held | None]]
) -> Reading:
    """Return what some runs of one text measure of its targets.

    Args:
        model: The blocks.
        text: The text, run clean.
        runs: The runs, those that begin on lower layers first.
        held: By layer, what each of them holds there.

    Raises:
        NonFiniteOutput: A target that was read is NaN or infinite.
    """
    reader = _Targets(text, 1 + len(runs), model.device)
    behind_clean = {layer: [None, *each] for layer, each in held.items()}
    carry(model, text, runs.with_clean(), behind_clean, reader)
    return reader.reading()


class _Targets:
    """Pre-activations and activations of the targets, in each run of a batch."""

    def __init__(self, text: CleanText, n_runs: int, device: torch.device) -> None:
        self.text = text
        self.pre = torch.full((n_runs, len(text.context.targets)), torch.nan, device=device)
        self.post = self.pre.clone()
        self.is_read = torch.zeros_like(self.pre, dtype=torch.bool)

    def _on(self, layer: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
        """Return which targets stand on a layer, and where."""
        targets = self.text.context.targets
        which = [t for t, each in enumerate(targets) if each.latent.layer == layer]
        positions = [targets[t].position for t in which]
        return np.array(which, dtype=np.int64), np.array(positions, dtype=np.int64)

    def positions(self, layer: int) -> Int[np.ndarray, " t"]:
        """Return where the targets of a layer stand."""
        return self._on(layer)[1]

    def read(self, layer: int, places: Places, x: Float[Tensor, "m d"]) -> None:
        """Read the targets of a layer."""
        which, positions = self._on(layer)
        latents, targets = self.text.latents, self.text.context.targets
        for position in np.unique(positions):
            at = np.flatnonzero(places.position == position)
            here = which[positions == position]
            rows = latents.rows[layer].select(
                torch.tensor([latents.place(targets[t].latent) for t in here])
            )
            there = x[torch.from_numpy(at).to(x.device)]
            z = rows.preactivations(there)
            cells = (
                torch.from_numpy(places.run[at][:, None]).to(x.device),
                torch.from_numpy(here[None, :]).to(x.device),
            )
            self.pre[cells] = z.float()
            self.post[cells] = latents.gated(rows, z, there).float()
            self.is_read[cells] = True

    def reading(self) -> Reading:
        """Return the differences from the first run, the clean one.

        Raises:
            NonFiniteOutput: A target that was read is NaN or infinite.
        """
        pre, post, is_read = self.pre.cpu(), self.post.cpu(), self.is_read.cpu()
        # NaN stands for what no run has read: one that came out as NaN must not pass for it.
        if not bool(pre[is_read].isfinite().all()):
            raise NonFiniteOutput(
                f"Context {self.text.context.document_id} came out as NaN or infinity when it was "
                "replayed: look at the model's number format, and at the dictionaries."
            )
        flips = ((post[1:] > 0) != (post[0] > 0)) & is_read[1:]
        return Reading(pre[1:] - pre[0], post[1:] - post[0], flips)
