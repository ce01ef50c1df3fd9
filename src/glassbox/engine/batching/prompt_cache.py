"""Keys and values of prompts that were computed before, found by their tokens.

Prompts are cut into blocks of a fixed number of tokens; a block is named by everything before and
in it, and by the adapter. What is put in together is kept together and goes together, least
recently used first, within a byte budget. Knows tokens and tensors; knows nothing of models.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from glassbox.types import TokenIds

BLOCK_TOKENS = 16
"""Prompts are shared in multiples of this many tokens.

Source: a block of 16 is what paged servers use; the tail that is computed again is half of it on
average, less than what one step computes anyway.
"""

BlockName = tuple[str | None, int, TokenIds]
"""Adapter digest (None is the base model), name of the block before by number, tokens."""


@dataclass(eq=False)
class _Run:
    """Neighbouring blocks that were kept together."""

    states: Float[Tensor, "layer 2 kv_heads n d_head"]
    names: list[BlockName]
    first: int
    """Place of its first token."""
    parent: int | None
    """The run that it goes on from."""


class PromptCache:
    """The prompts that were used last.

    Args:
        capacity_bytes: Most memory to hold; 0 keeps none.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.n_bytes = 0
        self._runs: OrderedDict[int, _Run] = OrderedDict()
        self._blocks: dict[BlockName, tuple[int, int]] = {}
        """Run of each block, and the number that names the block in the next one's name."""
        self._n_made = 0

    def find(self, adapter: str | None, tokens: Sequence[int], most: int) -> int:
        """Return how many leading tokens are kept, at most so many.

        Args:
            adapter: Digest of the adapter.
            tokens: The prompt.
            most: Tokens that may be taken from here.
        """
        return len(self._chain(adapter, tokens, most)) * BLOCK_TOKENS

    def take(
        self, adapter: str | None, tokens: Sequence[int], n: int
    ) -> list[tuple[int, Float[Tensor, "layer 2 kv_heads n d_head"]]]:
        """Return the keys and values of the first ``n`` tokens, as found, in pieces with places."""
        pieces = []
        chain = self._chain(adapter, tokens, n)
        for number in self._touched(chain):
            run = self._runs[number]
            held = sum(self._blocks[name][0] == number for name in chain) * BLOCK_TOKENS
            pieces.append((run.first, run.states[:, :, :, :held]))
        return pieces

    def touch(self, adapter: str | None, tokens: Sequence[int], n: int) -> None:
        """Mark what is kept of the first ``n`` tokens as used."""
        self._touched(self._chain(adapter, tokens, n))

    def missing(self, adapter: str | None, tokens: Sequence[int]) -> range:
        """Return the places of whole blocks of a prompt that are not kept yet."""
        stop = len(tokens) // BLOCK_TOKENS * BLOCK_TOKENS
        return range(self.find(adapter, tokens, len(tokens)), stop)

    def put(
        self,
        adapter: str | None,
        tokens: Sequence[int],
        places: range,
        states: Float[Tensor, "layer 2 kv_heads n d_head"],
    ) -> None:
        """Keep the states of places that ``missing`` named, or the first of them that have room.

        What goes on from something never pushes that out: it could not be found without it.

        Args:
            adapter: Digest of the adapter.
            tokens: The prompt from its beginning.
            places: Which of its tokens the states are of.
            states: Copies; nobody else changes them.
        """
        before = self._chain(adapter, tokens, places.start)
        room_bytes = self.capacity_bytes - sum(
            self._runs[number].states.nbytes for number in self._touched(before)
        )
        n = len(places)
        if states.nbytes > room_bytes:
            n = max(0, room_bytes) * n // states.nbytes // BLOCK_TOKENS * BLOCK_TOKENS
            states = states[:, :, :, :n].clone()
        if not n:
            return
        places = places[:n]
        link = self._blocks[before[-1]][1] if before else -1
        parent = self._blocks[before[-1]][0] if before else None
        run = _Run(states, [], places.start, parent)
        number = self._n_made
        for at in range(places.start, places.stop, BLOCK_TOKENS):
            name = (adapter, link, tuple(tokens[at : at + BLOCK_TOKENS]))
            link = self._n_made = self._n_made + 1
            self._blocks[name] = (number, link)
            run.names.append(name)
        self._n_made += 1
        self._runs[number] = run
        self.n_bytes += states.nbytes
        while self.n_bytes > self.capacity_bytes:
            self._drop(next(iter(self._runs)))

    def clear(self) -> None:
        """Forget everything."""
        while self._runs:
            self._drop(next(iter(self._runs)))

    def _drop(self, number: int) -> None:
        run = self._runs.pop(number)
        self.n_bytes -= run.states.nbytes
        for name in run.names:
            del self._blocks[name]
        # What goes on from it could not be found any more.
        for child in [n for n, each in self._runs.items() if each.parent == number]:
            self._drop(child)

    def _touched(self, chain: Sequence[BlockName]) -> list[int]:
        """Return the runs of a chain, last one first, marked as used in that order.

        The beginning is marked last: what others hang on stays longest.
        """
        numbers = list(dict.fromkeys(reversed([self._blocks[name][0] for name in chain])))
        for number in numbers:
            self._runs.move_to_end(number)
        return numbers

    def _chain(self, adapter: str | None, tokens: Sequence[int], most: int) -> list[BlockName]:
        chain: list[BlockName] = []
        link = -1
        for at in range(0, min(most, len(tokens)) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            name = (adapter, link, tuple(tokens[at : at + BLOCK_TOKENS]))
            if name not in self._blocks:
                break
            link = self._blocks[name][1]
            chain.append(name)
        return chain


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading tokens two rows share."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        # Slices are compared at the speed of C, and only the part not known to be equal.
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
