"""Prompts with one token swapped: does the answer depend on what was asked?

A model that knows a fact needs the whole name to find it; a guess hangs on a piece of the name
and survives the swap of another piece. Which tokens are content (and may be swapped) and which
are the frame of the question is learned from many prompts. Knows nothing of engines.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from glassbox.types import TokenIds

FRAME_SHARE = 0.15
"""Tokens in at least this share of the prompts are frame."""
FEWEST_PROMPTS = 50
"""With fewer prompts, frame and content cannot be told apart."""
FEWEST_TOKENS = 50
"""A smaller pool would repeat itself."""


@dataclass(frozen=True)
class Swaps:
    """Which tokens are swapped, and for what."""

    frame: frozenset[int]
    """Token ids that are never swapped."""
    pool: tuple[int, ...]
    """Content tokens of other prompts, sorted."""
    n_each: int = 4
    """Swaps of each place."""
    most_places: int = 8
    """Places swapped at most; beyond, evenly chosen ones."""

    def places(self, prompt: TokenIds, first: int = 1) -> list[int]:
        """Return the positions that are swapped, from ``first`` on (before it may stand BOS)."""
        found = [at for at in range(first, len(prompt)) if prompt[at] not in self.frame]
        if len(found) <= self.most_places:
            return found
        step = len(found) / self.most_places
        return [found[int(number * step)] for number in range(self.most_places)]

    def variants(self, prompt: TokenIds, first: int = 1) -> list[list[TokenIds]]:
        """Return for each place the prompts with that token swapped; the same for equal prompts."""
        draw = random.Random(repr(prompt))
        found = []
        for at in self.places(prompt, first):
            others = draw.sample(self.pool, self.n_each + 1)
            chosen = [each for each in others if each != prompt[at]][: self.n_each]
            found.append([(*prompt[:at], each, *prompt[at + 1 :]) for each in chosen])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "frame": sorted(self.frame),
            "pool": list(self.pool),
            "n_each": self.n_each,
            "most_places": self.most_places,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote."""
        return cls(
            frozenset(content["frame"]),
            tuple(content["pool"]),
            content["n_each"],
            content["most_places"],
        )


def learn_swaps(prompts: Sequence[TokenIds]) -> Swaps | None:
    """Return which tokens of such prompts are content; None where too few prompts tell."""
    distinct = set(prompts)
    if len(distinct) < FEWEST_PROMPTS:
        return None
    counts = Counter(token for prompt in distinct for token in set(prompt))
    frame = {token for token, n in counts.items() if n >= FRAME_SHARE * len(distinct)}
    pool = sorted(set(counts) - frame)
    return Swaps(frozenset(frame), tuple(pool)) if len(pool) >= FEWEST_TOKENS else None
