"""The study's page: what it found in words and tables, the graph to walk in, a card per latent.

Written from the reader's values alone, so that a finished study can be shown again at any time.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glassbox.artifacts import write_bytes
from glassbox.charts.report import Report, Section, Tone, render_with, report_environment
from glassbox.pathways.integration.graph import TOKEN_PREFIX
from glassbox.pathways.integration.report.layout import draw_graph
from glassbox.pathways.integration.report.pictures import (
    effect_picture,
    histogram_picture,
    number,
    rates_picture,
    share,
)
from glassbox.pathways.integration.report.sections import (
    Piece,
    communities_section,
    n_driving,
    paths_section,
    pathways_section,
    subgraph_section,
    warnings_section,
)
from glassbox.pathways.integration.report.tokens import quoted, shown_context
from glassbox.pathways.integration.results import StudyResults
from glassbox.pathways.integration.summary import StudySummary
from glassbox.pathways.integration.values import (
    DECISION,
    EVERY_CONDITION,
    GraphView,
    LatentCard,
    LatentRow,
    PathwayRow,
)
from glassbox.wording import counted

if TYPE_CHECKING:
    from jinja2 import Template
else:
    Template = Any

_TEMPLATE: Final = "page.html.j2"
GRAPH_EDGES: Final = 140
"""Edges that the page draws: more of them cannot be told apart."""
GRAPH_TOKENS: Final = 16
"""Tokens that the page draws."""
TABLE_ROWS: Final = 25
"""Rows of the pathways' and latents' tables; the Parquet files have all."""
MOST_REPLAYED: Final = 4000
"""Pathways of either verdict that the picture of predictions is drawn from."""
CARD_CONTEXTS: Final = 6
"""Contexts shown on a card."""
_MEANINGS: Final = {
    "total": "the true derivative",
    "frozen": "attention and norms held, which makes them linear",
    "past": "a change passes them by, in the model's own stream",
    "through": "a change goes through their latents, their errors held",
}
"""What modes of the gradients, and ways of later SAEs, are."""
CARD_ROWS: Final = 8
"""Tokens shown on a card, and pathways on either side of its latent."""


def write_report(study: StudyResults, *, n_cards: int = 100) -> Path:
    """Write the study's page beside its tables and return its path.

    Raises:
        CorruptArtifact: A table is damaged.
        DependencyMissing: jinja2 is not installed.
        NoDiskSpace: The device is full.
    """
    write_bytes(study.report, study_page(study, n_cards=n_cards).encode("utf-8"))
    return study.report


def study_page(study: StudyResults, *, n_cards: int = 100) -> str:
    """Return the study as one self-contained HTML page.

    Args:
        study: The finished study.
        n_cards: Most latents that get a card: those on paths first, then by strength.

    Raises:
        CorruptArtifact: A table is damaged.
        DependencyMissing: jinja2 is not installed.
    """
    latents = sorted(study.latents(), key=_by_importance)
    rows, n_rows = _shown_pathways(study)
    replayed = [
        row
        for verified in (True, False)
        for row in study.pathways(verified=verified, limit=MOST_REPLAYED).rows
    ]
    chosen = latents[:n_cards]
    cards = study.cards([row.name for row in chosen], limit=CARD_ROWS)
    parts = [
        _graph_section(study),
        paths_section(study.decision_paths),
        pathways_section(rows, n_rows, replayed, study.summary),
        subgraph_section(study.summary.subgraph, study.decision_paths),
        communities_section(study.communities, latents),
        _latents_section(latents, cards),
    ]
    if study.summary.warnings:
        parts.append((warnings_section(study.summary.warnings), None))
    summary = study.summary
    tone, verdict = _verdict(summary, n_driving(study.decision_paths))
    report = Report(
        title=f"Pathways of {summary.name}",
        verdict=verdict,
        summary=_sentences(summary),
        figures=_figures(summary),
        sections=tuple(section for section, _ in parts),
        provenance=(
            ("model", summary.model),
            *((name, _meant(value)) for name, value in summary.conventions),
            *summary.provenance,
        ),
        tone=tone,
    )
    return render_with(
        _template(),
        report,
        pieces=[piece for _, piece in parts],
        carded=frozenset(row.name for row in chosen),
    )


def _verdict(summary: StudySummary, n_on_pathways: int) -> tuple[Tone, str]:
    if not summary.n_replayed:
        return "caution", (
            f"Gradients propose {counted(summary.n_candidates, 'pathway')} between "
            f"{counted(summary.n_latents, 'latent')}; none of them has been replayed, so none is "
            "confirmed."
        )
    verified = (
        f"Of {counted(summary.n_replayed, 'replayed pathway')} between "
        f"{counted(summary.n_latents, 'latent')}, "
        f"{counted(summary.n_verified, 'moves its target', 'move their targets')} beyond "
        "random directions in their sources' place"
    )
    test = summary.subgraph
    if test is None or test.faithfulness is None:
        return ("good" if summary.n_verified else "caution"), f"{verified}."
    return ("good" if summary.n_verified and test.faithfulness > 0.5 else "caution"), (
        f"{verified}; the {counted(test.n_kept, 'latent')} on the strongest paths to the "
        f"decision ({n_on_pathways} on verified pathways) "
        f"{'keeps' if test.n_kept == 1 else 'keep'} {share(test.faithfulness)} of what "
        "all of these latents do to it."
    )


def _sentences(summary: StudySummary) -> tuple[str, ...]:
    if summary.n_expected_by_chance is None:
        return ()
    return (
        f"Had no latent of the patching study any effect, about "
        f"{number(summary.n_expected_by_chance)} would still look as strong as those that its "
        f"rule chose; it chose {summary.n_latents:,}.",
    )


def _meant(value: str) -> str:
    """Return a setting's value with what it means, where the word alone does not tell."""
    return f"{value}: {_MEANINGS[value]}" if value in _MEANINGS else value


def _figures(summary: StudySummary) -> tuple[tuple[str, str], ...]:
    figures = [
        ("latents", f"{summary.n_latents:,}"),
        ("pathways proposed", f"{summary.n_candidates:,}"),
        ("replayed", f"{summary.n_replayed:,}"),
        ("verified", f"{summary.n_verified:,}"),
        ("token associations", f"{summary.n_tokens:,}"),
    ]
    if summary.subgraph is not None and summary.subgraph.faithfulness is not None:
        figures.append(("faithfulness", share(summary.subgraph.faithfulness)))
    return tuple(figures)


def _shown_pathways(study: StudyResults) -> tuple[list[PathwayRow], int]:
    """Return the table's rows, verified ones before those that are only strong, and how many exist.

    Verified ones come by mediated effect, as mechanism and not persistence is looked for.
    """
    verified = study.pathways(verified=True, order="mediated", limit=TABLE_ROWS).rows
    strongest = study.pathways(order="attribution", limit=2 * TABLE_ROWS)
    others = [row for row in strongest.rows if row.verified is not True]
    return [*verified, *others][:TABLE_ROWS], strongest.n_rows


def _graph_section(study: StudyResults) -> tuple[Section, Piece | None]:
    view = _with_few_tokens(study.graph(limit=GRAPH_EDGES))
    if not view.edges:
        return Section("Graph", ("No pathway was found, so there is nothing to draw.",)), None
    text = (
        "Tokens on the left fire latents; latents drive latents of later layers; on the right is "
        "the decision (logit of stopping less that of going on). Blue raises, orange lowers; the "
        "width is the strength; a dashed arrow was not verified by an intervention. Point at a "
        "node to see its arrows; choose it to read about it.",
        f"Shown are {len(view.edges)} of {counted(view.n_edges, 'arrow')} and {len(view.nodes)} of "
        f"{counted(view.n_nodes, 'node')}: paths to the decision first, then the verified ones, "
        f"then by strength; never more than {GRAPH_TOKENS} tokens.",
    )
    n_communities = sum(
        1 for each in study.communities if any(node.community == each.number for node in view.nodes)
    )
    drawing = draw_graph(view)
    return Section("Graph", text), Piece("graph", (drawing, min(8, n_communities)))


def _with_few_tokens(view: GraphView) -> GraphView:
    """Return the graph with few of its tokens, as a long column of them hides the rest.

    Those that the listed paths to the decision begin with come first, then the strongest.
    """
    weights: dict[str, float] = {}
    for edge in view.edges:
        if edge.source.startswith(TOKEN_PREFIX):
            weights[edge.source] = weights.get(edge.source, 0.0) + abs(edge.weight)
    first = {name: place for place, name in enumerate(path.nodes[0] for path in view.paths[::-1])}
    ranked = sorted(weights, key=lambda name: (-first.get(name, -1), -weights[name], name))
    kept = set(ranked[:GRAPH_TOKENS])
    edges = tuple(edge for edge in view.edges if edge.source not in weights or edge.source in kept)
    ends = {end for edge in edges for end in (edge.source, edge.target)}
    nodes = tuple(node for node in view.nodes if node.name in ends)
    return replace(view, nodes=nodes, edges=edges)


def _latents_section(
    latents: Sequence[LatentRow], cards: Sequence[LatentCard]
) -> tuple[Section, Piece]:
    text = (
        f"A card for {len(cards)} of {counted(len(latents), 'latent')}: those on paths to the "
        "decision first, then by strength. Open one to see when it fires, what it says, what "
        "drives it and what it drives.",
    )
    return Section("Latents", text), Piece("cards", [_shown_card(card) for card in cards])


def _shown_card(card: LatentCard) -> dict[str, Any]:
    row = card.latent
    largest = max(
        (value for each in card.contexts for value in each.activations),
        default=row.activation_max or 0.0,
    )
    lens = [*card.promoted, *card.suppressed]
    reach = max((abs(each.logit) for each in lens), default=1.0) or 1.0
    return {
        "row": row,
        "effect": effect_picture(row),
        "histogram": histogram_picture(card.histogram) if card.histogram else "",
        "rates": rates_picture(card.rates) if card.rates else "",
        "contexts": [
            (context, shown_context(context, largest)) for context in card.contexts[:CARD_CONTEXTS]
        ],
        "promoted": [(each, round(100 * abs(each.logit) / reach)) for each in card.promoted],
        "suppressed": [(each, round(100 * abs(each.logit) / reach)) for each in card.suppressed],
        "tokens": [each for each in card.tokens if each.condition == EVERY_CONDITION],
        "upstream": card.upstream,
        "downstream": card.downstream,
    }


def _by_importance(row: LatentRow) -> tuple[bool, float, str]:
    return (not row.on_path, -(row.in_strength + row.out_strength), row.name)


def _plain_name(name: str) -> str:
    """Return a node's name for readers."""
    if name == DECISION:
        return "decision"
    return quoted(name.removeprefix(TOKEN_PREFIX)) if name.startswith(TOKEN_PREFIX) else name


@cache
def _template() -> Template:
    environment = report_environment("glassbox.pathways.integration.report")
    environment.filters |= {
        "figure": number,
        "share": share,
        "quoted": quoted,
        "plain_name": _plain_name,
    }
    return environment.get_template(_TEMPLATE)
