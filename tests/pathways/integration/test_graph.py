import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.pathways.integration.communities import find_communities, louvain
from glassbox.pathways.integration.graph import make_graph, study_graph
from glassbox.pathways.integration.paths import betweenness, strengths, strongest_paths
from glassbox.pathways.integration.values import (
    DECISION,
    Edge,
    GraphNode,
    LatentRow,
    PathwayRow,
    TokenRow,
)


def random_graph(seed, n_layers=4, per_layer=4, density=0.5, verified=None):
    rng = np.random.default_rng(seed)
    names = [[f"L{layer}-{index}" for index in range(per_layer)] for layer in range(n_layers)]
    tokens = ["token: a", "token: b"]
    nodes = [GraphNode(name, "token", name) for name in tokens]
    nodes += [
        GraphNode(name, "latent", name, layer=layer)
        for layer, row in enumerate(names)
        for name in row
    ]
    nodes.append(GraphNode(DECISION, "logit", "decision"))

    def edge(source, target):
        sure = verified if verified is not None else bool(rng.random() < 0.6)
        return Edge(source, target, float(rng.uniform(-1, 1)), sure)

    edges = [
        edge(source, target)
        for low, high in itertools.combinations(range(n_layers), 2)
        for source in names[low]
        for target in names[high]
        if rng.random() < density / (high - low)
    ]
    edges += [Edge(token, name, float(rng.uniform(0.05, 1))) for token in tokens
              for name in names[0] + names[1] if rng.random() < 0.6]  # fmt: skip
    edges += [edge(name, DECISION) for row in names for name in row if rng.random() < 0.4]
    return make_graph(nodes, edges)


def networkx_of(graph):
    other = nx.DiGraph()
    other.add_nodes_from(node.name for node in graph.nodes)
    for each in graph.edges:
        other.add_edge(
            each.source, each.target, weight=each.weight, length=-np.log(abs(each.weight))
        )
    return other


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_betweenness_is_that_of_networkx(seed):
    graph = random_graph(seed)
    expected = nx.betweenness_centrality(networkx_of(graph), weight="length")
    found = dict(zip((node.name for node in graph.nodes), betweenness(graph), strict=True))
    assert found == pytest.approx(expected, abs=1e-12)


def test_of_equally_strong_ways_each_counts_its_share():
    nodes = [GraphNode(f"L{layer}-{index}", "latent", "", layer=layer)
             for layer, index in [(0, 0), (1, 0), (1, 1), (2, 0)]]  # fmt: skip
    pairs = [("L0-0", "L1-0"), ("L0-0", "L1-1"), ("L1-0", "L2-0"), ("L1-1", "L2-0")]
    graph = make_graph(nodes, [Edge(*pair, 0.5) for pair in pairs])
    assert betweenness(graph) == pytest.approx([0, 0.5 / 6, 0.5 / 6, 0])


def all_paths(graph):
    other = networkx_of(graph)
    for token in (node.name for node in graph.nodes if node.kind == "token"):
        for way in nx.all_simple_paths(other, token, DECISION):
            weight = 1.0
            for pair in itertools.pairwise(way):
                weight *= other.edges[pair]["weight"]
            yield tuple(way), weight


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_the_strongest_paths_are_the_strongest_of_all_over_several_latents_first(seed, n_paths):
    graph = random_graph(seed, verified=True)
    every = sorted(all_paths(graph), key=lambda each: (len(each[0]) < 4, -abs(each[1])))
    found = strongest_paths(graph, n_paths)
    assert len(found) == min(n_paths, len(every))
    assert [each.weight for each in found] == pytest.approx(
        [weight for _, weight in every[: len(found)]]
    )
    known = dict(every)
    for each in found:
        assert each.weight == pytest.approx(known[each.nodes])


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_verified_paths_come_first_and_are_verified_all_along(seed):
    graph = random_graph(seed)
    sure = {(each.source, each.target): each.verified for each in graph.edges}
    found = strongest_paths(graph, 30)
    assert [each.verified for each in found] == sorted(
        (each.verified for each in found), reverse=True
    )
    for path in found:
        latent_edges = [
            pair for pair in itertools.pairwise(path.nodes) if not pair[0].startswith("token:")
        ]
        assert path.verified == all(sure[pair] for pair in latent_edges)


def test_no_path_without_a_decision_and_none_are_not_asked_for():
    graph = make_graph([GraphNode("token:a", "token", "a")], [])
    assert strongest_paths(graph, 5) == ()
    with pytest.raises(InvalidValue, match="n_paths is 0"):
        strongest_paths(graph, 0)


def test_strengths_are_sums_of_absolute_weights():
    graph = random_graph(3)
    found = strengths(graph)
    for place, node in enumerate(graph.nodes):
        assert found[place, 0] == pytest.approx(
            sum(abs(e.weight) for e in graph.edges if e.target == node.name)
        )
        assert found[place, 1] == pytest.approx(
            sum(abs(e.weight) for e in graph.edges if e.source == node.name)
        )


def test_edges_that_do_not_go_forward_are_refused():
    nodes = [GraphNode("L1-0", "latent", "", layer=1), GraphNode("L0-0", "latent", "", layer=0)]
    with pytest.raises(InvalidValue, match="from a layer to a later one"):
        make_graph(nodes, [Edge("L1-0", "L0-0", 1.0)])
    with pytest.raises(InvalidValue, match="ends that are nodes"):
        make_graph(nodes, [Edge("L1-0", "L9-0", 1.0)])


def undirected(n_nodes, edges):
    near = [{} for _ in range(n_nodes)]
    for one, other, weight in edges:
        near[one][other] = near[one].get(other, 0.0) + weight
        near[other][one] = near[other].get(one, 0.0) + weight
    return near


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_louvain_is_as_good_as_that_of_networkx(seed):
    rng = np.random.default_rng(seed)
    edges = [(one, other, float(rng.uniform(0.1, 1))) for one, other in
             itertools.combinations(range(24), 2) if rng.random() < 0.15]  # fmt: skip
    graph = nx.Graph()
    graph.add_nodes_from(range(24))
    graph.add_weighted_edges_from(edges)
    near = undirected(24, edges)
    labels = louvain(near, seed=seed)
    groups = [set(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)]
    theirs = nx.community.louvain_communities(graph, seed=seed)
    best = nx.community.modularity(graph, theirs)
    assert nx.community.modularity(graph, groups) >= best - 0.05


def test_planted_groups_are_found_whatever_the_order():
    rng = np.random.default_rng(1)
    group = rng.integers(0, 3, 45)
    edges = [(one, other, 1.0) for one, other in itertools.combinations(range(45), 2)
             if rng.random() < (0.5 if group[one] == group[other] else 0.03)]  # fmt: skip
    for seed in range(5):
        labels = louvain(undirected(45, edges), seed=seed)
        pairs = {(int(a), int(b)) for a, b in zip(group, labels, strict=True)}
        assert len(pairs) == 3


def test_communities_hold_every_latent_with_a_pathway_once():
    graph = random_graph(5)
    found = find_communities(graph, seed=0)
    members = [name for each in found for name in each.members]
    joined = {
        end
        for edge in graph.edges
        if edge.target != DECISION and not edge.source.startswith("token:")
        for end in (edge.source, edge.target)
    }
    assert sorted(members) == sorted(joined)
    assert [each.number for each in found] == list(range(len(found)))
    assert all(0 <= each.share_inside <= 1 for each in found)


def latent(name, **more):
    layer, index = name[1:].split("-")
    return LatentRow(name, int(layer), int(index), **more)


def test_the_graph_of_a_study_leaves_out_what_was_refuted():
    latents = [
        latent("L0-1", n_active=10),
        latent("L1-2", n_active=10, decision_effect=-0.5, decision_q=0.01),
        latent("L2-3", decision_effect=0.2, decision_q=0.6),
    ]
    pathways = [
        PathwayRow(
            "L0-1", "L1-2", 0, 1, attribution_mean=-2.0, attribution_share=0.4, verified=True
        ),
        PathwayRow(
            "L0-1", "L2-3", 0, 2, attribution_mean=1.0, attribution_share=0.6, verified=False
        ),
        PathwayRow("L1-2", "L2-3", 1, 2, attribution_mean=1.0, attribution_share=0.2),
    ]
    tokens = [TokenRow("L0-1", " lost", n_fires=6, log_odds=2.0),
              TokenRow("L0-1", " win", n_fires=6, log_odds=-2.0),
              TokenRow("L0-1", " rent", n_fires=6, log_odds=2.0, offset=1),
              TokenRow("L9-9", " bus", n_fires=6, log_odds=2.0)]  # fmt: skip
    graph = study_graph(latents, pathways, tokens)
    weights = {(edge.source, edge.target): edge.weight for edge in graph.edges}
    assert weights == pytest.approx({
        ("L0-1", "L1-2"): -0.4, ("L1-2", "L2-3"): 0.2, ("token: lost", "L0-1"): 0.6,
        # Ablating it lowers the logit of stopping, so it pushes towards stopping.
        ("L1-2", DECISION): 1.0,
    })  # fmt: skip
    (path,) = strongest_paths(graph, 9)
    assert path.nodes == ("token: lost", "L0-1", "L1-2", DECISION)
    assert path.weight == pytest.approx(-0.24)
    assert path.verified


def test_an_effect_that_random_directions_have_too_is_no_arrow_and_no_measure_of_the_others():
    latents = [
        latent("L0-1", n_active=10, decision_effect=0.1, decision_q=0.01),
        latent("L1-2", n_active=10, decision_effect=-2.0, decision_q=0.4),
        latent("L1-3", n_active=10, decision_effect=-0.2, decision_q=0.05),
    ]
    tokens = [TokenRow(row.name, " lost", n_fires=6, log_odds=2.0) for row in latents]
    graph = study_graph(latents, [], tokens, q=0.05)
    arrows = {edge.source: edge for edge in graph.edges if edge.target == DECISION}
    assert {name: edge.weight for name, edge in arrows.items()} == {"L0-1": -0.5, "L1-3": 1.0}
    assert all(edge.verified for edge in arrows.values())
    assert {name for path in strongest_paths(graph, 9) for name in path.nodes[1:-1]} == set(arrows)
