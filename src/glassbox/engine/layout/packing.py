"""Prompts of many lengths laid end to end in one sequence, with almost no padding.

Rows are sorted by length and put into blocks; a block is a rectangle whose rows are filled up to
its longest one, so that attention works on views of the flat sequence and nothing is gathered.
A row holds the prompt after the shared prefix, then the nodes of the continuation tree. Knows
nothing of models: arrays in, arrays out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from glassbox.engine.layout.trie import TokenTrie
from glassbox.types import TokenIds

BLOCK_COST_TOKENS = 16
"""What one more block costs, in tokens of padding that take as long (its launches in each layer).

Source: benchmarks/scoring.py in float32 on two cores: 4 and 16 are alike, 64 is 4 % slower.
"""


@dataclass(frozen=True)
class Block:
    """A rectangle of the flat sequence."""

    start: int
    """Index of its first token in the flat sequence."""
    length: int
    """Tokens of each row, nodes and padding included."""
    lengths: tuple[int, ...]
    """Prompt tokens of each row, nodes and padding not included."""

    @property
    def n_rows(self) -> int:
        """Rows of the rectangle."""
        return len(self.lengths)

    @property
    def stop(self) -> int:
        """Index after its last token in the flat sequence."""
        return self.start + self.n_rows * self.length


@dataclass(frozen=True)
class Pack:
    """One flat sequence for one forward pass."""

    tokens: Int[np.ndarray, " n_tokens"]
    """Token ids; padding repeats token 0 and is read by nobody."""
    positions: Int[np.ndarray, " n_tokens"]
    """Place of each token in its own text."""
    blocks: tuple[Block, ...]
    """The rectangles, in the order of the sequence."""
    n_prefix: int
    """Tokens of the shared prefix that each row continues."""
    prefix_inside: bool
    """Whether the prefix opens this sequence, or its keys and values come from elsewhere."""
    order: Int[np.ndarray, " n_rows"]
    """Which given prompt each packed row is."""
    reads: Int[np.ndarray, "n_rows n_reads"]
    """Flat index of each row's last prompt token, then of each of its nodes."""
    ancestry: Bool[np.ndarray, "n_nodes n_nodes"]
    """Which node sees which."""

    def block_mask(
        self, block: Block, window: int | None = None, *, reads_only: bool = False
    ) -> Bool[np.ndarray, "rows length keys"]:
        """Return which key each token of a block sees; ``rows`` is 1 where all are alike.

        Keys are the shared prefix, then the row itself. Padding sees what stands before it, so
        that its softmax is finite.

        Args:
            block: One of ``blocks``.
            window: Tokens that a sliding window reaches back, itself included.
            reads_only: Only the rows of the tokens in ``reads``.
        """
        n_nodes = len(self.ancestry)
        differ = len(set(block.lengths)) > 1 and (n_nodes > 0 or reads_only)
        lengths = block.lengths if differ else block.lengths[:1]
        own = np.repeat(np.tri(block.length, dtype=bool)[None], len(lengths), axis=0)
        for row, length in enumerate(lengths):
            own[row, length : length + n_nodes, length : length + n_nodes] = self.ancestry
        prefix = np.ones((len(lengths), block.length, self.n_prefix), dtype=bool)
        seen = np.concatenate([prefix, own], axis=2)
        if window is not None:
            # Padding stands at position 0; rows that differ in it alone still share a mask.
            rows = self.positions[block.start : block.stop].reshape(block.n_rows, block.length)
            rows = rows[: len(lengths)]
            prefix_positions = np.broadcast_to(np.arange(self.n_prefix), (len(rows), self.n_prefix))
            keys = np.concatenate([prefix_positions, rows], axis=1)
            seen &= rows[:, :, None] - keys[:, None, :] < window
        if reads_only:
            asked = np.asarray(lengths)[:, None] - 1 + np.arange(1 + n_nodes)
            seen = np.take_along_axis(seen, asked[:, :, None], axis=1)
        return seen


def common_prefix_length(prompts: Sequence[TokenIds]) -> int:
    """Return how many leading tokens all prompts share, leaving each at least one of its own."""
    first, last = min(prompts), max(prompts)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return min(shared, min(len(prompt) for prompt in prompts) - 1)


def cut_blocks(lengths: Sequence[int], block_cost: int = BLOCK_COST_TOKENS) -> list[int]:
    """Return the ends of the blocks that cost least for sorted lengths, longest first.

    Args:
        lengths: Row lengths, descending.
        block_cost: Price of one block in tokens of padding.
    """
    ends = [i for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]] + [len(lengths)]
    starts = [0, *ends[:-1]]
    sums = np.concatenate([[0], np.cumsum(lengths)])
    best: list[tuple[int, int]] = [(0, 0)]
    for stop in ends:
        # Cheapest way to reach ``stop``: the last block may begin where any length begins.
        options = [
            (
                best[index][0]
                + block_cost
                + lengths[start] * (stop - start)
                - int(sums[stop] - sums[start]),
                index,
            )
            for index, start in enumerate(starts)
            if start < stop
        ]
        best.append(min(options))
    cuts, at = [], len(ends)
    while at:
        cuts.append(ends[at - 1])
        at = best[at][1]
    return cuts[::-1]


def pack_rows(
    prompts: Sequence[TokenIds], trie: TokenTrie, *, n_prefix: int = 0, prefix_inside: bool = False
) -> Pack:
    """Return prompts and continuation tree as one flat sequence.

    Args:
        prompts: Whole prompts, longer than ``n_prefix``.
        trie: Its nodes are appended to each row.
        n_prefix: Leading tokens that all prompts share and that are not repeated in the rows.
        prefix_inside: Put the prefix in front of the sequence instead of leaving it out.
    """
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    lengths = [len(prompts[row]) - n_prefix for row in order]
    n_inside = n_prefix if prefix_inside else 0
    n_nodes = trie.n_nodes
    tokens = [np.asarray(prompts[0][:n_inside], dtype=np.int64)]
    positions = [np.arange(n_inside, dtype=np.int64)]
    node_tokens = np.asarray(trie.node_tokens, dtype=np.int64)
    node_depths = np.asarray(trie.node_depths, dtype=np.int64)
    blocks, reads, start, first = [], [], n_inside, 0
    for stop in cut_blocks(lengths):
        longest = lengths[first]
        block = Block(start, longest + n_nodes, tuple(lengths[first:stop]))
        grid = np.zeros((block.n_rows, block.length), dtype=np.int64)
        places = np.tile(np.arange(n_prefix, n_prefix + block.length), (block.n_rows, 1))
        for row, length in enumerate(block.lengths):
            grid[row, :length] = prompts[order[first + row]][n_prefix:]
            grid[row, length : length + n_nodes] = node_tokens
            places[row, length : length + n_nodes] = n_prefix + length - 1 + node_depths
            # Padding must not reach past the positions that the model knows.
            places[row, length + n_nodes :] = 0
        ends = start + np.arange(block.n_rows) * block.length + np.asarray(block.lengths) - 1
        reads.append(ends[:, None] + np.arange(1 + n_nodes)[None])
        tokens.append(grid.ravel())
        positions.append(places.ravel())
        blocks.append(block)
        start, first = block.stop, stop
    return Pack(
        tokens=np.concatenate(tokens),
        positions=np.concatenate(positions),
        blocks=tuple(blocks),
        n_prefix=n_prefix,
        prefix_inside=prefix_inside,
        order=np.asarray(order, dtype=np.int64),
        reads=np.concatenate(reads),
        ancestry=trie.ancestry(),
    )
