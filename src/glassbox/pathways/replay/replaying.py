"""Replays: texts with latents held at other values, suffix only, many at once, all targets read.

Each text runs clean once. Then its runs go through the layers in packed batches, each from the
layer and position it changes to the last ones that are read; what lies before is the clean text's.
Nothing is carried from one text to the next. Knows nothing of which pathways are worth it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import numpy as np
import torch
from jaxtyping import Int

from glassbox.engine.model.memory import within_memory
from glassbox.errors import NonFiniteOutput
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.replay.changing import Held, Intended, first_changed, held_on, intended
from glassbox.pathways.replay.clean_text import CleanText, Latents, run_clean
from glassbox.pathways.replay.interventions import Effects, Intervention
from glassbox.pathways.replay.runs import cut_runs, plan_runs
from glassbox.pathways.replay.target_reading import Reading, run_batch

T = TypeVar("T")

BATCH_TOKENS: Final = 2048
"""Most positions in one layer at a time, on all runs of a batch together.

Source: measured; from here on two cores multiply at their full rate, and what a batch holds
besides weights stays near 100 MB at a width of 512.
"""


@dataclass(frozen=True)
class Limits:
    """How much goes through the model at a time; changes no result beyond rounding."""

    batch_tokens: int = BATCH_TOKENS
    """Most positions in one layer."""
    batch_rows: int | None = None
    """Most runs together; None sets no limit."""


@torch.no_grad()
def replay_text(
    model: ModelBlocks,
    context: Context,
    interventions: Sequence[Intervention],
    latents: Latents,
    *,
    limits: Limits = Limits(),
) -> Effects:
    """Return what changing latents does to the targets of one text.

    Args:
        model: The blocks.
        context: The text and its targets.
        interventions: The runs.
        latents: Rows of all sources and targets.
        limits: Size of a batch.

    Raises: as ``run_clean`` and ``replay_on``.
    """
    layers = sorted({each.layer for row in interventions for each in row.latents})
    return replay_on(model, run_clean(model, context, latents, layers), interventions, limits)


@torch.no_grad()
def replay_on(
    model: ModelBlocks,
    text: CleanText,
    interventions: Sequence[Intervention],
    limits: Limits = Limits(),
) -> Effects:
    """Return what changing latents does to the targets of a text that has run clean.

    Args:
        model: The blocks.
        text: The text, run clean with the layers that are changed.
        interventions: The runs.
        limits: Size of a batch; out of memory, it is halved.

    Raises:
        InvalidValue: A latent without rows.
        OutOfMemory: Not even one run fits.
        NonFiniteOutput: A run came out as NaN or infinity.
    """
    layers = sorted({each.layer for row in interventions for each in row.latents})
    held = {layer: held_on(text, interventions, layer) for layer in layers}
    starts = first_changed(text, held)
    runs = plan_runs(text.context, interventions, starts, model.n_layers)
    cells = _Cells(interventions, text, starts, intended(text, held))
    batches = cut_runs(runs, limits.batch_tokens, limits.batch_rows)
    for at, reading in in_batches(
        batches,
        lambda at: run_batch(model, text, runs.take(at), held_by(held, runs.row[at])),
    ):
        cells.take(runs.row[at], reading)
    return cells.effects()


def held_by(
    held: Mapping[int, Sequence[Held | None]], rows: Int[np.ndarray, " m"]
) -> dict[int, list[Held | None]]:
    """Return what some interventions hold, by layer, without layers where none holds anything."""
    of_these = {layer: [each[row] for row in rows] for layer, each in held.items()}
    return {layer: each for layer, each in of_these.items() if any(each)}


def in_batches(
    batches: Iterable[Int[np.ndarray, " _"]], run: Callable[[Int[np.ndarray, " _"]], T]
) -> Iterator[tuple[Int[np.ndarray, " _"], T]]:
    """Yield each batch with what comes of it; one that does not fit into memory is halved.

    Once a size did not fit, the later batches are cut to what did.
    """
    waiting = list(batches)[::-1]
    most: int | None = None
    while waiting:
        at = waiting.pop()
        if most is not None and len(at) > most:
            half = (len(at) + 1) // 2
            waiting += [at[half:], at[:half]]
            continue
        found = within_memory(
            partial(run, at),
            n=len(at),
            too_much=lambda: (
                "Not even one replay fits into memory beside the model. Shorten the texts "
                "(contexts.max_tokens), choose a smaller number format, or free memory."
            ),
        )
        if found is None:
            most = (len(at) + 1) // 2
            waiting.append(at)
            continue
        yield at, found


class _Cells:
    """The measured matrices, filled batch by batch."""

    def __init__(
        self,
        interventions: Sequence[Intervention],
        text: CleanText,
        starts: Int[np.ndarray, " n_rows"],
        intended: Intended,
    ) -> None:
        self.interventions = tuple(interventions)
        self.text = text
        context = text.context
        self.pre = np.full((len(interventions), len(context.targets)), np.nan, np.float32)
        first = np.array([each.first_layer for each in interventions], np.int64)[:, None]
        layers = np.array([each.latent.layer for each in context.targets], np.int64)
        positions = np.array([each.position for each in context.targets], np.int64)
        # What stands before the first change cannot feel it, nor anything if nothing changes.
        untouched = (starts[:, None] == -1) | (positions < starts[:, None])
        self.pre[(layers > first) & untouched] = 0.0
        self.post = self.pre.copy()
        self.flips = np.zeros(self.pre.shape, bool)
        self.sums = intended.upto(positions)

    def take(self, rows: Int[np.ndarray, " m"], reading: Reading) -> None:
        """Put a batch's reading into its rows."""
        for mine, given in ((self.pre, reading.pre), (self.post, reading.post)):
            values = given.numpy()
            mine[rows] = np.where(np.isnan(values), mine[rows], values)
        self.flips[rows] = reading.flips.numpy()

    def effects(self) -> Effects:
        """Return all of it.

        Raises:
            NonFiniteOutput: The text came out as NaN or infinity, clean or changed.
        """
        clean_pre, clean_post = self.text.clean_pre.numpy(), self.text.clean_post.numpy()
        if not (np.isfinite(clean_pre).all() and np.isfinite(self.sums[0]).all()) or (
            np.isinf(self.pre).any()
        ):
            raise NonFiniteOutput(
                f"Context {self.text.context.document_id} came out as NaN or infinity when it was "
                "replayed: look at the model's number format, and at the dictionaries."
            )
        return Effects(
            self.text.context, self.interventions, clean_pre, clean_post, self.pre, self.post,
            self.flips, *self.sums,
        )  # fmt: skip
