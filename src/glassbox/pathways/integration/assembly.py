"""Latents, pathways and tokens joined into one table, one graph and one folder of files.

Pure of models: rows in, rows and files out. What the rows hold was measured elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from glassbox.artifacts import write_json
from glassbox.pathways.integration.communities import find_communities
from glassbox.pathways.integration.graph import (
    TOKEN_PREFIX,
    PathwayGraph,
    is_verified,
    study_graph,
)
from glassbox.pathways.integration.paths import betweenness, strengths, strongest_paths
from glassbox.pathways.integration.results import (
    CARDS_FILE,
    EDGES_FILE,
    INTEGRATED,
    LATENTS_FILE,
    NODES_FILE,
    PATHWAYS_FILE,
    STUDY_FILE,
    STUDY_SCHEMA,
    TABLE_FILE,
    TABLE_JSON_FILE,
    TOKENS_FILE,
)
from glassbox.pathways.integration.summary import StudySummary
from glassbox.pathways.integration.typed import to_plain, write_rows
from glassbox.pathways.integration.values import (
    EVERY_CONDITION,
    Community,
    DecisionPath,
    Edge,
    GraphNode,
    IntegratedRow,
    LatentRow,
    PathwayRow,
    StoredCard,
    TokenRow,
)

TOP_TOKENS: Final = 8
"""Tokens named beside a latent."""

CARDS_PER_GROUP: Final = 32
"""Cards in one row group: reading one card decodes no more than these."""


@dataclass(frozen=True)
class Assembled:
    """A study put together, before it is written."""

    latents: tuple[LatentRow, ...]
    """With their places in the graph."""
    pathways: tuple[PathwayRow, ...]
    tokens: tuple[TokenRow, ...]
    graph: PathwayGraph
    communities: tuple[Community, ...]
    paths: tuple[DecisionPath, ...]
    subgraph: frozenset[str]
    """Latents on the verified ones of the paths."""


def assemble(
    latents: Iterable[LatentRow],
    pathways: Iterable[PathwayRow],
    tokens: Iterable[TokenRow],
    *,
    n_paths: int = 50,
    q: float = 0.05,
    seed: int = 0,
) -> Assembled:
    """Return the study's rows with their graph, communities, hubs and paths.

    Args:
        latents: One row for each latent.
        pathways: One row for each pathway between two of them.
        tokens: Associations that count: those the study calls out.
        n_paths: Most paths from a token to the decision that are listed.
        q: Largest adjusted p-value at which an effect on the decision counts.
        seed: Of the communities.

    Raises:
        InvalidValue: A pathway that does not go from a layer to a later one.
    """
    token_rows = tuple(tokens)
    named = _with_tokens(tuple(latents), token_rows)
    known = {row.name for row in named}
    rows = tuple(pathways)
    graph = study_graph(named, rows, token_rows, q=q)
    communities = find_communities(graph, seed=seed)
    paths = strongest_paths(graph, n_paths)
    subgraph = frozenset(
        name for path in paths if path.verified for name in path.nodes if name in known
    )
    placed = _placed(graph, communities, subgraph)
    return Assembled(
        latents=_with_places(named, placed, communities, subgraph),
        pathways=rows,
        tokens=token_rows,
        graph=placed,
        communities=communities,
        paths=paths,
        subgraph=subgraph,
    )


def _with_tokens(latents: Sequence[LatentRow], tokens: Sequence[TokenRow]) -> tuple[LatentRow, ...]:
    best: dict[str, list[TokenRow]] = {}
    for row in tokens:
        if row.condition == EVERY_CONDITION and row.offset == 0 and (row.log_odds or 0.0) > 0:
            best.setdefault(row.latent, []).append(row)
    named = {
        latent: tuple(
            row.token for row in sorted(rows, key=lambda row: (-(row.z or 0.0), row.token))
        )[:TOP_TOKENS]
        for latent, rows in best.items()
    }
    return tuple(replace(row, top_tokens=named.get(row.name, row.top_tokens)) for row in latents)


def _placed(
    graph: PathwayGraph, communities: Sequence[Community], subgraph: frozenset[str]
) -> PathwayGraph:
    group = {name: each.number for each in communities for name in each.members}
    nodes = tuple(
        replace(node, community=group.get(node.name), on_path=node.name in subgraph)
        for node in graph.nodes
    )
    return PathwayGraph(nodes, graph.edges)


def _with_places(
    latents: Sequence[LatentRow],
    graph: PathwayGraph,
    communities: Sequence[Community],
    subgraph: frozenset[str],
) -> tuple[LatentRow, ...]:
    group = {name: each.number for each in communities for name in each.members}
    among = graph.only(
        edge
        for edge in graph.edges
        if graph.nodes[graph.places[edge.source]].kind == "latent"
        and graph.nodes[graph.places[edge.target]].kind == "latent"
    )
    sums, between = strengths(among), betweenness(graph)
    n_in = dict.fromkeys((edge.target for edge in among.edges), 0)
    n_out = dict.fromkeys((edge.source for edge in among.edges), 0)
    for edge in among.edges:
        n_in[edge.target] += 1
        n_out[edge.source] += 1
    rows = []
    for row in sorted(latents, key=lambda each: (each.layer, each.index)):
        place = graph.places.get(row.name)
        rows.append(
            replace(
                row,
                community=group.get(row.name),
                n_upstream=n_in.get(row.name, 0),
                n_downstream=n_out.get(row.name, 0),
                in_strength=0.0 if place is None else float(sums[place, 0]),
                out_strength=0.0 if place is None else float(sums[place, 1]),
                betweenness=0.0 if place is None else float(between[place]),
                on_path=row.name in subgraph,
            )
        )
    return tuple(rows)


def one_table(study: Assembled) -> tuple[IntegratedRow, ...]:
    """Return pathways with what is known of both ends; latents without pathways follow."""
    known = {row.name: row for row in study.latents}
    joined = [_joined(row, known[row.source], known[row.target]) for row in study.pathways
              if row.source in known and row.target in known]  # fmt: skip
    touched = {name for row in joined for name in (row.source, row.target)}
    alone = [
        IntegratedRow(
            target=row.name,
            target_layer=row.layer,
            target_cohen_d=row.cohen_d,
            target_decision_effect=row.decision_effect,
            target_tokens=row.top_tokens,
        )
        for row in study.latents
        if row.name not in touched
    ]
    return (*joined, *alone)


def _joined(row: PathwayRow, source: LatentRow, target: LatentRow) -> IntegratedRow:
    ablated = row.ablated
    return IntegratedRow(
        target=row.target,
        target_layer=row.target_layer,
        source=row.source,
        source_layer=row.source_layer,
        attribution_share=row.attribution_share,
        gradient_mean=row.gradient_mean,
        direct=row.direct,
        mediated=row.mediated,
        effect_pre=None if ablated is None else ablated.measured_pre,
        effect_post=None if ablated is None else ablated.measured_post,
        q=row.q,
        verified=row.verified,
        on_path=source.on_path and target.on_path,
        source_cohen_d=source.cohen_d,
        target_cohen_d=target.cohen_d,
        source_decision_effect=source.decision_effect,
        target_decision_effect=target.decision_effect,
        source_community=source.community,
        target_community=target.community,
        source_tokens=source.top_tokens,
        target_tokens=target.top_tokens,
    )


def ordered_edges(study: Assembled) -> tuple[Edge, ...]:
    """Return the edges: those of listed paths, then the verified ones, then others, by weight.

    Token edges off the paths come last: their weights are shares of firings, not of attribution,
    and would crowd out the rest.
    """
    on_paths = {
        pair for path in study.paths for pair in zip(path.nodes, path.nodes[1:], strict=False)
    }
    return tuple(
        sorted(
            study.graph.edges,
            key=lambda edge: (
                (edge.source, edge.target) not in on_paths,
                edge.source.startswith(TOKEN_PREFIX),
                not is_verified(edge),
                -abs(edge.weight),
                edge.source,
                edge.target,
            ),
        )
    )


def write_study(
    folder: Path, study: Assembled, cards: Iterable[StoredCard], summary: StudySummary
) -> None:
    """Write the tables, the graph and the summary of a study below ``folder``.

    ``study.json`` comes last: a folder that has it is whole.

    Raises:
        NoDiskSpace: The device is full.
    """
    out = folder / INTEGRATED
    out.mkdir(parents=True, exist_ok=True)
    (out / STUDY_FILE).unlink(missing_ok=True)
    table = one_table(study)
    write_rows(out / LATENTS_FILE, LatentRow, study.latents)
    write_rows(out / PATHWAYS_FILE, PathwayRow, study.pathways)
    write_rows(out / TOKENS_FILE, TokenRow, study.tokens)
    write_rows(out / CARDS_FILE, StoredCard, cards, CARDS_PER_GROUP)
    write_rows(out / NODES_FILE, GraphNode, study.graph.nodes)
    write_rows(out / EDGES_FILE, Edge, ordered_edges(study))
    write_rows(out / TABLE_FILE, IntegratedRow, table)
    write_json(out / TABLE_JSON_FILE, {"schema": STUDY_SCHEMA, "rows": to_plain(table)})
    write_json(
        out / STUDY_FILE,
        {
            "schema": STUDY_SCHEMA,
            "summary": to_plain(summary),
            "communities": to_plain(study.communities),
            "paths": to_plain(study.paths),
        },
    )
