"""The study's graph: tokens fire latents, latents drive latents, latents move the decision.

Sources always come before their targets: tokens first, latents by layer, the decision last, so the
graph has no cycle and everything below is one pass in that order. Knows nothing of models; weights
come from the tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.integration.values import (
    DECISION,
    EVERY_CONDITION,
    Edge,
    GraphNode,
    LatentRow,
    PathwayRow,
    TokenRow,
)

TOKEN_PREFIX: Final = "token:"
"""What a token node's name begins with; the token follows."""

MAX_TOKENS_PER_LATENT: Final = 5
"""Token edges of one latent: the graph shows what fires it most, the table has the rest."""


@dataclass(frozen=True)
class PathwayGraph:
    """Nodes in an order in which every edge goes forward, and the edges between them."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of every node in ``nodes``, by name."""
        return {node.name: place for place, node in enumerate(self.nodes)}

    @cached_property
    def ends(self) -> Int[np.ndarray, "n_edges 2"]:
        """Places of every edge's source and target."""
        pairs = [(self.places[edge.source], self.places[edge.target]) for edge in self.edges]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def weights(self) -> Float[np.ndarray, " n_edges"]:
        """Signed weight of every edge."""
        return np.asarray([edge.weight for edge in self.edges], dtype=np.float64)

    def only(self, edges: Iterable[Edge]) -> "PathwayGraph":
        """Return the same nodes with these edges alone."""
        return PathwayGraph(self.nodes, tuple(edges))


def order_of(node: GraphNode) -> tuple[int, int, str]:
    """Return the sort key that puts tokens first, then latents by layer, then the decision."""
    stage = {"token": 0, "error": 1, "latent": 1, "logit": 2}[node.kind]
    return (stage, -1 if node.layer is None else node.layer, node.name)


def make_graph(nodes: Iterable[GraphNode], edges: Iterable[Edge]) -> PathwayGraph:
    """Return the graph of some nodes and edges, in order.

    Raises:
        InvalidValue: An edge whose ends are unknown, or that does not go forward.
    """
    ordered = tuple(sorted(nodes, key=order_of))
    stage = {node.name: order_of(node)[:2] for node in ordered}
    kept = tuple(edges)
    for edge in kept:
        if edge.source not in stage or edge.target not in stage:
            raise InvalidValue("an edge", (edge.source, edge.target), "ends that are nodes")
        if stage[edge.source] >= stage[edge.target]:
            raise InvalidValue(
                "an edge", (edge.source, edge.target), "from a token to a latent, from a layer "
                "to a later one, or from a latent to the decision",
            )  # fmt: skip
    return PathwayGraph(ordered, kept)


def study_graph(
    latents: Sequence[LatentRow],
    pathways: Sequence[PathwayRow],
    tokens: Sequence[TokenRow],
    *,
    q: float = 0.05,
) -> PathwayGraph:
    """Return the graph that a study's tables describe.

    Pathways that replay refuted are left out, and effects on the decision that random directions
    have too (adjusted p-value above ``q``); so are latents and tokens that nothing touches.
    """
    known = {row.name: row for row in latents}
    edges = [
        edge
        for row in pathways
        if row.verified is not False and row.source in known and row.target in known
        for edge in [pathway_edge(row)]
        if edge.weight != 0
    ]
    edges += _decision_edges(latents, q)
    touched = {end for edge in edges for end in (edge.source, edge.target)}
    edges += [edge for edge in token_edges(tokens, known) if edge.target in touched or not touched]
    nodes: dict[str, GraphNode] = {}
    for edge in edges:
        for end in (edge.source, edge.target):
            if end not in nodes:
                nodes[end] = _node(end, known)
    return make_graph(nodes.values(), edges)


def pathway_edge(row: PathwayRow) -> Edge:
    """Return a pathway as an edge: its share of the target's attribution, with its sign."""
    share = row.attribution_share or 0.0
    sign = np.sign(row.attribution_mean or row.gradient_mean or 0.0)
    return Edge(row.source, row.target, float(sign) * share, row.verified)


def token_edges(tokens: Sequence[TokenRow], known: Mapping[str, LatentRow]) -> list[Edge]:
    """Return edges from tokens to the latents they fire, the strongest few of each latent.

    The weight is the share of the latent's firings that fall on the token, in [0, 1]. Counted are
    the rows over all responses at offset 0 with more firings than chance gives.
    """
    found: dict[str, list[Edge]] = {}
    for row in tokens:
        if row.condition != EVERY_CONDITION or row.offset != 0 or row.latent not in known:
            continue
        n_active = known[row.latent].n_active
        if not row.n_fires or not n_active or (row.log_odds is not None and row.log_odds <= 0):
            continue
        weight = min(1.0, row.n_fires / n_active)
        found.setdefault(row.latent, []).append(Edge(TOKEN_PREFIX + row.token, row.latent, weight))
    return [
        edge
        for edges in found.values()
        for edge in sorted(edges, key=lambda each: (-each.weight, each.source))[
            :MAX_TOKENS_PER_LATENT
        ]
    ]


def _decision_edges(latents: Sequence[LatentRow], q: float) -> list[Edge]:
    effects = {
        row.name: (row.decision_effect, None if row.decision_q is None else True)
        for row in latents
        if row.decision_effect and (row.decision_q is None or row.decision_q <= q)
    }
    largest = max((abs(effect) for effect, _ in effects.values()), default=0.0)
    # Ablating takes the latent's push away, so the push is the effect turned round.
    return [
        Edge(name, DECISION, -effect / largest, verified)
        for name, (effect, verified) in effects.items()
    ]


def _node(name: str, known: Mapping[str, LatentRow]) -> GraphNode:
    if name == DECISION:
        return GraphNode(name, "logit", "stop − continue")
    if name.startswith(TOKEN_PREFIX):
        return GraphNode(name, "token", name.removeprefix(TOKEN_PREFIX))
    return GraphNode(name, "latent", name, layer=known[name].layer)


def is_verified(edge: Edge) -> bool:
    """Whether an edge is as sure as its kind can be.

    Token edges are associations, tested for chance and not by intervention.
    """
    return edge.verified is True or edge.source.startswith(TOKEN_PREFIX)
