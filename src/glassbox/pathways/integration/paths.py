"""Strongest ways through the graph, and how many of them each node carries.

A path's strength is the product of its edges' absolute weights. Because edges only go forward,
both questions are answered by passing once over the nodes in order, for all sources at once.
"""

from itertools import chain

import numpy as np
from jaxtyping import Bool, Float

from glassbox.errors import InvalidValue
from glassbox.pathways.integration.graph import PathwayGraph, is_verified
from glassbox.pathways.integration.values import DECISION, DecisionPath


def strongest_paths(graph: PathwayGraph, n_paths: int) -> tuple[DecisionPath, ...]:
    """Return the strongest ways from a token over at least one latent to the decision.

    Verified ways come first, and among these the ones on which a latent drives another: a way of
    one latent says nothing of pathways. Then by strength; ties by name.

    Raises:
        InvalidValue: Fewer than one path is asked for.
    """
    if n_paths < 1:
        raise InvalidValue("n_paths", n_paths, "1 or more")
    sure = _best_paths(graph.only(edge for edge in graph.edges if is_verified(edge)), n_paths)
    found = {nodes: DecisionPath(nodes, weight, True) for nodes, weight in sure}
    if len(found) < n_paths:
        for nodes, weight in _best_paths(graph, n_paths + len(found)):
            found.setdefault(nodes, DecisionPath(nodes, weight, False))
    ranked = sorted(
        found.values(),
        key=lambda each: (not each.verified, len(each.nodes) < 4, -abs(each.weight), each.nodes),
    )
    return tuple(ranked[:n_paths])


_Way = tuple[float, tuple[int, ...]]
"""Signed strength, and the places so far."""


def _best_paths(graph: PathwayGraph, n_paths: int) -> list[tuple[tuple[str, ...], float]]:
    """Return node names and signed strength of the strongest paths from tokens to the decision.

    As many of those over one latent as of those over several, where there are as many.
    """
    if DECISION not in graph.places:
        return []
    incoming: dict[int, list[tuple[int, float]]] = {}
    for (source, target), weight in zip(graph.ends.tolist(), graph.weights.tolist(), strict=True):
        incoming.setdefault(target, []).append((source, weight))
    # Of each node, the strongest ways that end in it: those of one latent, those of several.
    best: list[tuple[list[_Way], list[_Way]]] = []
    for place, node in enumerate(graph.nodes):
        if node.kind == "token":
            best.append(([(1.0, (place,))], []))
            continue
        short: list[_Way] = []
        long: list[_Way] = []
        for source, weight in incoming.get(place, ()):
            for strength, way in chain(*best[source]):
                joins = node.kind == "latent" and len(way) > 1
                kept = long if joins or len(way) > 2 else short
                kept.append((strength * weight, (*way, place)))
        best.append((_strongest(short, n_paths), _strongest(long, n_paths)))
    return [
        (tuple(graph.nodes[place].name for place in way), strength)
        for strength, way in chain(*best[graph.places[DECISION]])
    ]


def _strongest(ways: list[_Way], n: int) -> list[_Way]:
    return sorted(ways, key=lambda each: (-abs(each[0]), each[1]))[:n]


def strengths(graph: PathwayGraph) -> Float[np.ndarray, "n_nodes 2"]:
    """Return for every node the sum of the absolute weights that come in and that go out."""
    sums = np.zeros((len(graph.nodes), 2))
    sizes = np.abs(graph.weights)
    np.add.at(sums[:, 0], graph.ends[:, 1], sizes)
    np.add.at(sums[:, 1], graph.ends[:, 0], sizes)
    return sums


def betweenness(graph: PathwayGraph) -> Float[np.ndarray, " n_nodes"]:
    """Return the share of strongest paths between other nodes that go through each node.

    An edge is as long as ``-log|weight|`` (weights above 1 count as 1), so the shortest path is
    the strongest. Shares are of all (n - 1)(n - 2) ordered pairs, in [0, 1].

    Source: Brandes 2001, "A faster algorithm for betweenness centrality", for acyclic graphs,
    all sources at once.
    """
    n_nodes = len(graph.nodes)
    if n_nodes < 3:
        return np.zeros(n_nodes)
    lengths = -np.log(np.minimum(1.0, np.maximum(np.abs(graph.weights), 1e-300)))
    by_target: list[list[tuple[int, float]]] = [[] for _ in graph.nodes]
    for (source, target), length in zip(graph.ends.tolist(), lengths.tolist(), strict=True):
        by_target[target].append((source, length))
    distance = np.full((n_nodes, n_nodes), np.inf)
    n_ways = np.zeros((n_nodes, n_nodes))
    np.fill_diagonal(distance, 0.0)
    np.fill_diagonal(n_ways, 1.0)
    for target, arrows in enumerate(by_target):
        for source, length in arrows:
            np.minimum(distance[target], distance[source] + length, out=distance[target])
        for source, length in arrows:
            n_ways[target] += np.where(
                _on_shortest(distance, source, target, length), n_ways[source], 0
            )
    carried = np.zeros((n_nodes, n_nodes))
    for target in range(n_nodes - 1, -1, -1):
        each_way = np.zeros(n_nodes)
        np.divide(1.0 + carried[target], n_ways[target], out=each_way, where=n_ways[target] > 0)
        for source, length in by_target[target]:
            used = _on_shortest(distance, source, target, length)
            carried[source] += np.where(used, n_ways[source] * each_way, 0.0)
    np.fill_diagonal(carried, 0.0)
    shares: Float[np.ndarray, " n_nodes"] = carried.sum(axis=1) / ((n_nodes - 1) * (n_nodes - 2))
    return shares


def _on_shortest(
    distance: Float[np.ndarray, "n n"], source: int, target: int, length: float
) -> Bool[np.ndarray, " n"]:
    """Return for every starting node whether its shortest way to the target uses this edge."""
    through = distance[source] + length
    used: Bool[np.ndarray, " n"] = np.isfinite(through) & (through <= distance[target])
    return used
