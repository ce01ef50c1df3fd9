"""Groups of latents that drive one another more than chance would have it.

Louvain's method on the latents alone: arrows count both ways, with their absolute weights. It
finds a good partition, not the best one, and says nothing of what a group means.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Int

from glassbox.pathways.integration.graph import TOKEN_PREFIX, PathwayGraph
from glassbox.pathways.integration.values import Community

_GAIN: Final = 1e-9
"""Smallest gain in modularity that moves a node: rounding is no reason to move."""

Neighbours = Sequence[Mapping[int, float]]
"""Of each node, weight by neighbour; a node's own weight counts both ends of its inner edges."""


def find_communities(graph: PathwayGraph, *, seed: int = 0) -> tuple[Community, ...]:
    """Return the communities of the latents that have a pathway, the largest first."""
    names = [node.name for node in graph.nodes if node.kind == "latent"]
    place = {name: number for number, name in enumerate(names)}
    neighbours: list[dict[int, float]] = [{} for _ in names]
    for edge in graph.edges:
        if edge.source in place and edge.target in place:
            one, other, size = place[edge.source], place[edge.target], abs(edge.weight)
            neighbours[one][other] = neighbours[one].get(other, 0.0) + size
            neighbours[other][one] = neighbours[other].get(one, 0.0) + size
    joined = [number for number, near in enumerate(neighbours) if near]
    labels = louvain(neighbours, seed=seed)
    groups: dict[int, list[int]] = {}
    for number in joined:
        groups.setdefault(int(labels[number]), []).append(number)
    ordered = sorted(groups.values(), key=lambda each: (-len(each), names[each[0]]))
    fired = _tokens_of(graph)
    return tuple(
        _community(number, members, names, neighbours, fired)
        for number, members in enumerate(ordered)
    )


def _community(
    number: int,
    members: Sequence[int],
    names: Sequence[str],
    neighbours: Neighbours,
    fired: Mapping[str, Iterable[str]],
) -> Community:
    inside = set(members)
    strength = {
        one: sum(size for other, size in neighbours[one].items() if other in inside)
        for one in members
    }
    total = sum(sum(neighbours[one].values()) for one in members)
    counts = Counter(token for one in members for token in fired.get(names[one], ()))
    ranked = sorted(members, key=lambda one: (-strength[one], names[one]))
    return Community(
        number=number,
        members=tuple(names[one] for one in ranked),
        share_inside=sum(strength.values()) / total if total else 0.0,
        tokens=tuple(token for token, _ in sorted(counts.items(), key=_most_first)[:8]),
    )


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _tokens_of(graph: PathwayGraph) -> dict[str, list[str]]:
    fired: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.source.startswith(TOKEN_PREFIX):
            fired.setdefault(edge.target, []).append(edge.source.removeprefix(TOKEN_PREFIX))
    return fired


def louvain(neighbours: Neighbours, *, seed: int = 0) -> Int[np.ndarray, " n_nodes"]:
    """Return the number of every node's community in a weighted undirected graph.

    Args:
        neighbours: Of each node, weight by neighbour, the same both ways. A loop's weight counts
            twice the edge.
        seed: Of the order in which nodes are visited.

    Source: Blondel et al. 2008, "Fast unfolding of communities in large networks".
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(len(neighbours))
    while True:
        moved = _one_level(neighbours, rng)
        if len(set(moved)) == len(neighbours):
            return labels
        numbers = {label: number for number, label in enumerate(dict.fromkeys(moved))}
        moved = [numbers[label] for label in moved]
        labels = np.asarray([moved[label] for label in labels], dtype=np.int64)
        neighbours = _folded(neighbours, moved)


def _one_level(neighbours: Neighbours, rng: np.random.Generator) -> list[int]:
    """Return each node's community after moving single nodes until none gains."""
    n_nodes = len(neighbours)
    labels = list(range(n_nodes))
    degree = [sum(near.values()) for near in neighbours]
    held = degree.copy()
    total = sum(degree)
    if not total:
        return labels
    improved = True
    while improved:
        improved = False
        for one in rng.permutation(n_nodes).tolist():
            own = labels[one]
            held[own] -= degree[one]
            links: dict[int, float] = {own: 0.0}
            for other, size in neighbours[one].items():
                if other != one:
                    links[labels[other]] = links.get(labels[other], 0.0) + size
            gains = {
                label: size - held[label] * degree[one] / total for label, size in links.items()
            }
            best = max(gains, key=lambda label: (gains[label], -label))
            if gains[best] <= gains[own] + _GAIN * total:
                best = own
            held[best] += degree[one]
            labels[one] = best
            improved |= best != own
    return labels


def _folded(neighbours: Neighbours, labels: Sequence[int]) -> list[dict[int, float]]:
    """Return the graph whose nodes are the communities."""
    folded: list[dict[int, float]] = [{} for _ in range(max(labels) + 1)]
    for one, near in enumerate(neighbours):
        for other, size in near.items():
            group = folded[labels[one]]
            group[labels[other]] = group.get(labels[other], 0.0) + size
    return folded
