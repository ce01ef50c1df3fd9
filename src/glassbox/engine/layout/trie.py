"""Continuations as a tree of tokens, so that shared beginnings are computed once.

Node 0 is the end of the prompt. Every other node is a token that some continuation goes on after;
the last token of a continuation is only read, never fed, unless another continuation passes
through it. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from glassbox.errors import InvalidValue
from glassbox.types import TokenIds


@dataclass(frozen=True)
class TokenTrie:
    """The tree over some continuations, laid out for one forward pass."""

    continuations: tuple[TokenIds, ...]
    """What was asked for, in order."""
    node_tokens: TokenIds
    """Token of node 1, 2, …: what has to be fed after the prompt."""
    node_parents: tuple[int, ...]
    """Parent of node 1, 2, …; a parent always comes before its children."""
    node_depths: tuple[int, ...]
    """Tokens between the end of the prompt and node 1, 2, …, counted from 1."""
    edges: tuple[tuple[int, int], ...]
    """Distinct (node, next token) pairs whose log-probability is read."""
    paths: tuple[tuple[int, ...], ...]
    """Edges of each continuation; their log-probabilities add up to its own."""

    @property
    def n_nodes(self) -> int:
        """Tokens that must be fed after each prompt."""
        return len(self.node_tokens)

    @property
    def depth(self) -> int:
        """Length of the longest continuation in tokens."""
        return max(len(tokens) for tokens in self.continuations)

    def ancestry(self) -> Bool[np.ndarray, "n_nodes n_nodes"]:
        """Return which fed node lies on the way to which: ``[node, ancestor or itself]``."""
        seen = np.eye(self.n_nodes, dtype=bool)
        for node, parent in enumerate(self.node_parents):
            if parent > 0:
                seen[node] |= seen[parent - 1]
        return seen

    def path_matrix(self) -> Int[np.ndarray, "n_continuations depth"]:
        """Return the edges of each continuation, filled up with ``len(edges)``."""
        matrix = np.full((len(self.paths), self.depth), len(self.edges), dtype=np.int64)
        for row, path in enumerate(self.paths):
            matrix[row, : len(path)] = path
        return matrix


def build_trie(continuations: Sequence[TokenIds]) -> TokenTrie:
    """Return the token tree of some continuations.

    Args:
        continuations: Distinct and non-empty; one may be the beginning of another.

    Raises:
        InvalidValue: None at all, an empty one, or the same one twice.
    """
    wanted = tuple(tuple(int(token) for token in tokens) for tokens in continuations)
    if not wanted or not all(wanted):
        raise InvalidValue("continuations", wanted, "one or more, each of one or more tokens")
    if len(set(wanted)) != len(wanted):
        twice = next(tokens for tokens in wanted if wanted.count(tokens) > 1)
        raise InvalidValue("continuations", twice, "distinct token sequences")
    # Shorter beginnings first, so that a parent is numbered before its children.
    fed = sorted({tokens[:end] for tokens in wanted for end in range(1, len(tokens))}, key=len)
    number = {(): 0} | {beginning: index for index, beginning in enumerate(fed, start=1)}
    edges: dict[tuple[int, int], int] = {}
    paths = []
    for tokens in wanted:
        steps = [(number[tokens[:at]], tokens[at]) for at in range(len(tokens))]
        paths.append(tuple(edges.setdefault(step, len(edges)) for step in steps))
    return TokenTrie(
        continuations=wanted,
        node_tokens=tuple(beginning[-1] for beginning in fed),
        node_parents=tuple(number[beginning[:-1]] for beginning in fed),
        node_depths=tuple(len(beginning) for beginning in fed),
        edges=tuple(edges),
        paths=tuple(paths),
    )
