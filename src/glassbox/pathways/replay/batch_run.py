"""One batch of runs of one text through the layers, all targets read on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.errors import NonFiniteOutput
from glassbox.pathways.blocks.forward import rotary
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.replay.changing import Held, Stage, change_runs
from glassbox.pathways.replay.clean_text import CleanText
from glassbox.pathways.replay.packed_block import Packed, packed_block
from glassbox.pathways.replay.runs import Places, Runs, needed_behind, places_into


@dataclass(frozen=True, eq=False)
class Reading:
    """What the runs of a batch measured, the clean one taken off; float32 on the processor."""

    pre: Float[Tensor, "runs targets"]
    post: Float[Tensor, "runs targets"]
    flips: Bool[Tensor, "runs targets"]


def run_batch(
    model: ModelBlocks, text: CleanText, runs: Runs, held: Mapping[int, Sequence[Held | None]]
) -> Reading:
    """Return what some runs of one text measure.

    Args:
        model: The blocks.
        text: The text, run clean.
        runs: The runs, those that begin on lower layers first.
        held: By layer, what each of them holds there.
    """
    runs = runs.with_clean()
    batch = _Batch(model, text, runs, {layer: [None, *each] for layer, each in held.items()})
    for layer in range(int(runs.first_layer.min()), model.n_layers):
        if not batch.enter(layer):
            break
    return batch.reading()


class _Batch:
    """The state of a batch between two layers."""

    def __init__(
        self, model: ModelBlocks, text: CleanText, runs: Runs, held: dict[int, list[Held | None]]
    ) -> None:
        self.model, self.text, self.runs, self.held = model, text, runs, held
        device = model.device
        n_targets = len(text.context.targets)
        self.pre = torch.full((len(runs), n_targets), torch.nan, device=device)
        self.post = self.pre.clone()
        self.is_read = torch.zeros_like(self.pre, dtype=torch.bool)
        self.table = rotary(model, torch.arange(text.n_positions, device=device))
        empty = np.zeros(0, dtype=np.int64)
        self.places = Places(empty, empty)
        self.x = torch.empty(0, model.d_model, dtype=model.dtype, device=device)

    def enter(self, layer: int) -> bool:
        """Take the runs behind one layer and return whether any goes on.

        ``x`` comes in as what the layer reads and goes out as what the next one reads.
        """
        text = self.text
        if len(self.places):
            targets = _targets_on(text, layer)
            asks = needed_behind(self.runs, layer, self.places, targets[1])
            packed = Packed(self.x, self.places, asks, self.runs.start)
            self.x = packed_block(self.model, layer, packed, text.caches[layer], self.table)
            self.places = self.places.take(asks)
            # Targets and held latents are read where their encoders read: before the dictionary.
            self._read(layer, *targets)
            read = self.x
            if layer in text.errors:
                self._go_through(layer)
            if layer in self.held:
                stage = Stage(layer, text, is_clean=False)
                self.x = change_runs(self.x, self.places, self.held[layer], stage, read)
        return self._go_on(layer)

    def _go_on(self, layer: int) -> bool:
        """Keep what the next layer reads, with the runs that begin behind this one."""
        runs, text = self.runs, self.text
        nowhere = np.zeros(0, dtype=np.int64)
        further = needed_behind(runs, layer, self.places, nowhere)
        if not further.all():
            kept = torch.from_numpy(np.flatnonzero(further)).to(self.x.device)
            self.places, self.x = self.places.take(further), self.x[kept]
        joins = runs.first_layer == layer
        if joins.any():
            new = places_into(runs, layer + 1, joins)
            at = torch.from_numpy(new.position).to(self.x.device)
            x = text.outputs[layer][at]
            stage = Stage(layer, text, is_clean=True)
            x = change_runs(x, new, self.held[layer], stage, x)
            self.x = torch.cat([self.x, x])
            self.places = Places(
                np.concatenate([self.places.run, new.run]),
                np.concatenate([self.places.position, new.position]),
            )
        return bool(len(self.places)) or bool((runs.first_layer > layer).any())

    def _go_through(self, layer: int) -> None:
        sae = self.text.latents.full[layer]
        at = torch.from_numpy(self.places.position).to(self.x.device)
        rebuilt = sae.decode(sae.encode(self.x), x=self.x)
        self.x = (rebuilt + self.text.errors[layer][at]).to(self.x.dtype)

    def _read(
        self, layer: int, which: Int[np.ndarray, " t"], positions: Int[np.ndarray, " t"]
    ) -> None:
        if not len(which):
            return
        latents = self.text.latents
        context = self.text.context
        for position in np.unique(positions):
            at = np.flatnonzero(self.places.position == position)
            here = which[positions == position]
            places = torch.tensor([latents.place(context.targets[t].latent) for t in here])
            rows = latents.rows[layer].select(places)
            device = self.x.device
            x = self.x[torch.from_numpy(at).to(device)]
            z = rows.preactivations(x)
            cells = (
                torch.from_numpy(self.places.run[at][:, None]).to(device),
                torch.from_numpy(here[None, :]).to(device),
            )
            self.pre[cells] = z.float()
            self.post[cells] = latents.gated(rows, z, x).float()
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


def _targets_on(text: CleanText, layer: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    """Return which targets stand on a layer, and where."""
    which = [t for t, each in enumerate(text.context.targets) if each.latent.layer == layer]
    positions = [text.context.targets[t].position for t in which]
    return np.array(which, dtype=np.int64), np.array(positions, dtype=np.int64)
