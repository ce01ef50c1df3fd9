"""Residuals of documents, chunk by chunk, in an order that the seed and the chunk decide.

A chunk can be made again without those before it, so that a killed training goes on with the same
numbers. Beginnings of documents and special tokens are left out: their residuals are unlike all
others. Knows nothing of SAEs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from glassbox.engine.states.taps import Taps
from glassbox.errors import NonFiniteOutput, NotEnoughData
from glassbox.pathways.saes.training.recipe import SaeRecipe
from glassbox.types import HookPoint, TokenIds

MODEL_TOKENS = 4096
"""Positions in one forward pass, padding included."""

EVALUATION_SHARE = 0.1
"""Most of the documents that are held out, a fraction."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Documents of like length, padded at the end."""

    tokens: Int[torch.Tensor, "rows positions"]
    present: Bool[torch.Tensor, "rows positions"]
    """Which are no padding."""
    counted: Bool[torch.Tensor, "rows positions"]
    """Which are neither padding nor a beginning nor special."""


class Documents:
    """Token sequences divided into those learnt from and those measured on.

    Args:
        documents: Token ids of each; longer ones are cut.
        recipe: Sizes and seed.
        special_ids: Tokens whose residuals are left out wherever they stand.

    Raises:
        NotEnoughData: Less than a batch is left to learn from.
    """

    def __init__(
        self, documents: Sequence[TokenIds], recipe: SaeRecipe, special_ids: Sequence[int]
    ) -> None:
        self._recipe = recipe
        self._special = np.array(sorted(set(special_ids)), dtype=np.int64)
        self._rows = [
            np.asarray(each[: recipe.max_length], dtype=np.int64)
            for each in documents
            if len(each) > 1
        ]
        self._counts = np.array([self._n_counted(row) for row in self._rows], dtype=np.int64)
        order = np.random.default_rng([recipe.seed, 0]).permutation(len(self._rows))
        totals = np.cumsum(self._counts[order])
        most = int(len(order) * EVALUATION_SHARE)
        n_held_out = min(int(np.searchsorted(totals, recipe.eval_tokens)) + 1, max(1, most))
        self.held_out = order[:n_held_out]
        self._training = order[n_held_out:]
        self.n_training_tokens = int(self._counts[self._training].sum())
        if self.n_training_tokens < recipe.batch_tokens:
            raise NotEnoughData(
                "Training an SAE", self.n_training_tokens, recipe.batch_tokens,
                unit="token", remedy="Give more text, or lower batch_tokens (--batch).",
            )  # fmt: skip

    def _n_counted(self, row: Int[np.ndarray, " n"]) -> int:
        return int((~np.isin(row[1:], self._special)).sum())

    def chunks(self, first: int) -> Iterator[tuple[int, Int[np.ndarray, " m"]]]:
        """Yield (number, documents) of every chunk from a number on, without end."""
        number = -1
        epoch = 0
        while True:
            rng = np.random.default_rng([self._recipe.seed, 1, epoch])
            order = rng.permutation(self._training)
            # A chunk ends where its tokens are full; the last of an epoch may be smaller.
            marks = (np.cumsum(self._counts[order]) - 1) // self._recipe.chunk_tokens
            for mark in range(int(marks[-1]) + 1):
                number += 1
                if number >= first:
                    yield number, order[marks == mark]
            epoch += 1

    def batches(self, which: Int[np.ndarray, " m"]) -> Iterator[Batch]:
        """Yield documents padded to batches, sorted by length."""
        by_length = sorted(which.tolist(), key=lambda row: (len(self._rows[row]), row))
        start = 0
        while start < len(by_length):
            stop = start + 1
            while stop < len(by_length):
                if (stop + 1 - start) * len(self._rows[by_length[stop]]) > MODEL_TOKENS:
                    break
                stop += 1
            yield self._padded([self._rows[row] for row in by_length[start:stop]])
            start = stop

    def _padded(self, rows: Sequence[Int[np.ndarray, " _"]]) -> Batch:
        width = max(map(len, rows))
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        present = np.zeros((len(rows), width), dtype=bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
            present[number, : len(row)] = True
        counted = present & ~np.isin(tokens, self._special)
        counted[:, 0] = False
        return Batch(*(torch.from_numpy(each) for each in (tokens, present, counted)))


def read_residuals(
    model: Any, taps: Taps, batches: Iterator[Batch], layers: Sequence[int]
) -> dict[int, Float[torch.Tensor, "tokens d_model"]]:
    """Return the counted residuals after some layers, float32, in the order of the batches.

    Raises:
        NonFiniteOutput: The model computed NaN or infinity.
    """
    points = {layer: HookPoint(layer, "resid_post") for layer in layers}
    parts: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    device = next(model.parameters()).device
    with torch.inference_mode(), taps.tapped(points.values()) as seen:
        for batch in batches:
            model.base_model(
                input_ids=batch.tokens.to(device),
                attention_mask=batch.present.long().to(device),
                use_cache=False,
            )
            counted = batch.counted.to(device)
            for layer, point in points.items():
                parts[layer].append(seen[point][counted].float())
    found = {layer: torch.cat(each) for layer, each in parts.items()}
    for layer, residuals in found.items():
        if not bool(residuals.isfinite().all()):
            raise NonFiniteOutput(f"The residual stream after layer {layer} holds NaN or infinity.")
    return found
