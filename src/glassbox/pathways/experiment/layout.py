"""How the prompts stand in one rectangle: padded on the left, so that all end together.

A prompt's *place* is where a latent is patched: ``span``, the tokens in which the two prompts of
a pair differ, and ``last``, where the decision is read. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int

from glassbox.errors import InvalidData, TextTooLong
from glassbox.pathways.experiment.conditions import KINDS, Kind
from glassbox.pathways.experiment.prompts import PromptPair
from glassbox.types import TokenIds

Places = Literal["pair", "last"]
"""Where latents are patched: where the prompts of a pair differ and at the end, or at the end."""


@dataclass(frozen=True, eq=False)
class PromptGrid:
    """All prompts of an experiment; rows 2i and 2i + 1 are the safe and risky one of pair i."""

    pairs: tuple[PromptPair, ...]
    tokens: Int[torch.Tensor, "prompts columns"]
    present: Bool[torch.Tensor, "prompts columns"]
    """Which are no padding."""
    span: Bool[torch.Tensor, "prompts columns"]
    """Tokens in which the prompts of the pair differ; none, if only the end is patched."""
    first_patched: int
    """First column that any patch touches."""

    @property
    def n_prompts(self) -> int:
        """Two for each pair."""
        return self.tokens.shape[0]

    @property
    def positions(self) -> Int[torch.Tensor, "prompts columns"]:
        """Position of each token in its prompt; 0 for padding."""
        return (self.present.long().cumsum(1) - 1).clamp_min(0)

    def kind(self, row: int) -> Kind:
        """Return which prompt of its pair a row is."""
        return KINDS[row % 2]

    def row(self, pair: int, kind: Kind) -> int:
        """Return the row of a prompt."""
        return 2 * pair + KINDS.index(kind)

    def text(self, row: int) -> str:
        """Return the prompt of a row."""
        return self.pairs[row // 2].of(self.kind(row))

    def select(self, kind: Kind) -> slice:
        """Return the rows of one kind."""
        return slice(KINDS.index(kind), None, 2)


def lay_out(
    pairs: Sequence[PromptPair],
    token_ids: Sequence[tuple[TokenIds, TokenIds]],
    *,
    context: int,
    places: Places,
) -> PromptGrid:
    """Return the grid of some pairs of prompts.

    Args:
        pairs: The prompts.
        token_ids: Their tokens, safe and risky, beginning token included.
        context: Most tokens that a prompt may have.
        places: Where latents will be patched.

    Raises:
        TextTooLong: A prompt does not fit.
        InvalidData: The tokens of both prompts of a pair are the same.
    """
    rows = [tokens for both in token_ids for tokens in both]
    width = max(map(len, rows))
    if width > context:
        raise TextTooLong(width, context, which="longest prompt of the experiment")
    tokens = torch.zeros((len(rows), width), dtype=torch.int64)
    present = torch.zeros((len(rows), width), dtype=torch.bool)
    span = torch.zeros((len(rows), width), dtype=torch.bool)
    for number, row in enumerate(rows):
        tokens[number, width - len(row) :] = torch.tensor(row)
        present[number, width - len(row) :] = True
    for number, both in enumerate(token_ids):
        before, after = _shared(*both)
        if before == len(both[0]) == len(both[1]):
            raise InvalidData(f"both prompts of pair {pairs[number].pair!r} have the same tokens")
        if places == "pair":
            for side, row in enumerate(both):
                start = width - len(row)
                span[2 * number + side, start + before : start + len(row) - after] = True
    # The end is a place of its own.
    span[:, -1] = False
    columns = span.any(0).nonzero()
    first = int(columns[0]) if len(columns) else width - 1
    return PromptGrid(tuple(pairs), tokens, present, span, first)


def _shared(one: TokenIds, other: TokenIds) -> tuple[int, int]:
    """Return how many tokens two prompts share at the beginning and at the end."""
    shortest = min(len(one), len(other))
    before = next((i for i in range(shortest) if one[i] != other[i]), shortest)
    most = shortest - before
    after = next((i for i in range(most) if one[-1 - i] != other[-1 - i]), most)
    return before, after
