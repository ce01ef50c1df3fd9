"""One batch of runs of one text through the layers; what is read on the way is up to a reader."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from glassbox.pathways.blocks.forward import rotary
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.replay.changing import Held, Stage, change_runs
from glassbox.pathways.replay.clean_text import CleanText
from glassbox.pathways.replay.packed_block import Packed, packed_block
from glassbox.pathways.replay.runs import Places, Runs, needed_behind, places_into


class Reader(Protocol):
    """What is read of the stream while a batch goes up."""

    def positions(self, layer: int) -> Int[np.ndarray, " n"]:
        """Return the positions that are read behind a layer."""
        ...

    def read(self, layer: int, places: Places, x: Float[Tensor, "m d"]) -> None:
        """Read what a layer wrote at some places, before anything is changed there."""
        ...


def carry(
    model: ModelBlocks,
    text: CleanText,
    runs: Runs,
    held: Mapping[int, Sequence[Held | None]],
    reader: Reader,
) -> tuple[Places, Float[Tensor, "n d"]]:
    """Take some runs of one text up the layers; return what goes into the place above the last.

    Args:
        model: The blocks.
        text: The text, run clean.
        runs: The runs, those that begin on lower layers first.
        held: By layer, what each of them holds there.
        reader: Reads them on the way.
    """
    batch = _Batch(model, text, runs, held, reader)
    for layer in range(int(runs.first_layer.min()), model.n_layers):
        if not batch.enter(layer):
            break
    return batch.places, batch.x


class _Batch:
    """The state of a batch between two layers."""

    def __init__(
        self,
        model: ModelBlocks,
        text: CleanText,
        runs: Runs,
        held: Mapping[int, Sequence[Held | None]],
        reader: Reader,
    ) -> None:
        self.model, self.text, self.runs, self.held = model, text, runs, held
        self.reader = reader
        device = model.device
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
            asks = needed_behind(self.runs, layer, self.places, self.reader.positions(layer))
            packed = Packed(self.x, self.places, asks, self.runs.start)
            self.x = packed_block(self.model, layer, packed, text.caches[layer], self.table)
            self.places = self.places.take(asks)
            # Targets and held latents are read where their encoders read: before the dictionary.
            self.reader.read(layer, self.places, self.x)
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
