"""How many bytes the sweep, the replay and the corpus pass hold at their peak, beside the weights.

Counted from the buffers that ``blocks``, ``discovery`` and ``replay`` hold, in their order;
``benchmarks.pathway_memory`` compares the counts with measured peaks. Knows nothing of devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from glassbox.pathways.orchestration.costs import ContextShape, ModelShape

CHUNK_POSITIONS: Final = 1024
"""Positions whose tapes the sweep holds at once. Source: ``discovery.sweep.SweepOptions``."""

TILE_ROWS: Final = {"cpu": 512, "cuda": 8192}
"""Rows that the sweep multiplies together. Source: ``discovery.sweep.TILE_ROWS``."""

DIRECT_PAIRS: Final = 2048
"""Pairs of rows that the sweep multiplies together, float32. Source:
``discovery.sweep.DIRECT_PAIRS``."""

FOLDED_ROWS: Final = 2048
"""Rows of a dictionary that are folded at a time, float32. Source:
``saes.readers.reader.CHUNK``."""

RUNS_OF_A_TEXT: Final = 1024
"""Runs that are taken to belong to one text; their results are small beside the rest."""

TARGETS_OF_A_TEXT: Final = 32
"""Targets that are taken to be read in each."""


@dataclass(frozen=True)
class Chunking:
    """How much goes through the sweep at a time."""

    targets: int = 256
    """``discover.chunk_targets``."""
    tile_rows: int = TILE_ROWS["cpu"]
    """Rows multiplied together."""
    workers: int = 1
    """Texts side by side, each with buffers of its own."""


@dataclass(frozen=True)
class Dictionary:
    """What is held of one layer's dictionary."""

    n_rows: int
    """Its latents, or the rows that count as sources."""
    is_streamed: bool = False
    """Whether it comes from files by halves: one is used while the other one is read, so that
    there is one layer in memory, and what is read goes through memory a few rows at a time."""
    firing: float = 64.0
    """Latents that fire on a token."""


def sweep_bytes(
    model: ModelShape,
    contexts: Sequence[ContextShape],
    chunking: Chunking,
    sources: Dictionary,
    *,
    lowest_source: int = 0,
) -> int:
    """Return the most bytes that the sweep holds at once over some contexts.

    It grows with the chunk and with the longest context, not with the number of targets or
    contexts.
    """
    return max(
        (
            _chunk_bytes(model, chunk, chunking, sources, lowest_source)
            for chunk in _chunks(contexts, chunking)
        ),
        default=0,
    )


def replay_peak(model: ModelShape, *, n_tokens: int, batch_tokens: int, n_sources: int) -> int:
    """Return the most bytes that the replays of one text hold at once.

    The clean text keeps every layer's stream, keys and values; a batch of runs holds its rows of
    the stream, and of one layer either attention or the feed-forward part.
    """
    item, heads = model.itemsize, model.n_heads * model.d_head
    kv = model.n_kv_heads * model.d_head
    clean = n_tokens * ((model.n_layers + 1) * model.d_model + 2 * model.n_layers * kv) * item
    # One clean run goes along with every batch.
    rows = batch_tokens + n_tokens
    attention = rows * (2 * heads + 4 * kv) * item + 2 * rows * model.n_heads * n_tokens * 4
    narrow, wide = 4 * rows * model.d_model * 4, 3 * rows * model.d_feed_forward * item
    results = RUNS_OF_A_TEXT * (TARGETS_OF_A_TEXT * 29 + 3 * n_tokens * 4)
    return clean + n_sources * n_tokens * 4 + max(attention, wide) + narrow + results


def corpus_bytes(model: ModelShape, *, batch_tokens: int, longest: int, n_latents: int) -> int:
    """Return the most bytes that one batch of the corpus pass holds at once."""
    heads = model.n_heads * model.d_head
    width = 6 * model.d_model + 3 * heads + 3 * model.d_feed_forward
    rows = max(batch_tokens, longest)
    return model.itemsize * rows * width + rows * (2 * n_latents * 4)


def _chunks(contexts: Sequence[ContextShape], chunking: Chunking) -> list[list[ContextShape]]:
    """Return the contexts as they go down together, as ``discovery.sweep.pack`` does."""
    chunks: list[list[ContextShape]] = []
    waiting = list(contexts)
    while waiting:
        together: list[ContextShape] = []
        while waiting:
            room = chunking.targets - sum(len(each.targets) for each in together)
            held = sum(each.n_tokens for each in together)
            first = waiting[0]
            if not room or (together and held + first.n_tokens > CHUNK_POSITIONS):
                break
            waiting.pop(0)
            if len(first.targets) > room:
                waiting.insert(0, replace(first, targets=first.targets[room:]))
                first = replace(first, targets=first.targets[:room])
            together.append(first)
        chunks.append(together)
    return chunks


def _chunk_bytes(
    model: ModelShape,
    chunk: Sequence[ContextShape],
    chunking: Chunking,
    sources: Dictionary,
    lowest_source: int,
) -> int:
    item, d = model.itemsize, model.d_model
    heads, kv = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    tape = 2 * d + 2 * heads + 2 * kv + 2 * model.d_feed_forward
    tapes = cotangents = found = direct = 0
    cones = []
    for each in chunk:
        n_tokens = 1 + max(position for _, position in each.targets)
        n_blocks = 1 + max(layer for layer, _ in each.targets)
        cone = sum(position + 1 for _, position in each.targets)
        tapes += n_blocks * n_tokens * tape
        cotangents += cone * d
        cones.append(cone)
        for layer, _ in each.targets:
            # Gradients, and the part that the skip connection carries, in float32.
            found += (layer - lowest_source) * int(n_tokens * sources.firing) * 2 * 4
        pairs = min(DIRECT_PAIRS, int(len(each.targets) * sources.firing))
        direct = max(direct, 3 * pairs * d * 4)
    longest = max(each.n_tokens for each in chunk)
    space = 0
    for widest in sorted(cones, reverse=True)[: chunking.workers]:
        tile = min(chunking.tile_rows, widest)
        # Heads, keys and values of all rows; those that enter and those that are laid out anew,
        # and these once more on their way to their new places.
        space += widest * (heads + 2 * kv + 3 * d)
        space += tile * (2 * model.d_feed_forward + d + 2 * heads + model.n_heads * longest)
        space += longest * int(sources.firing) * d
    held = sources.n_rows * 2 * d
    # Rows as they are in the file, in float32 and turned, of the half that is read.
    folded = 3 * min(FOLDED_ROWS, sources.n_rows) * d * 4 if sources.is_streamed else 0
    passing = min(chunking.workers, len(cones)) * direct + folded
    return item * (tapes + cotangents + space + held) + found + passing
