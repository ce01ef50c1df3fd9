"""The results of a study, read for a server, a command or a report.

``read_study`` opens what ``integrate_study`` wrote; tables stay on disk and are filtered there by
Parquet, so that a study with tens of thousands of pathways costs little until it is asked.
Computes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue, UnknownName
from glassbox.pathways.integration.summary import StudySummary
from glassbox.pathways.integration.typed import (
    Row,
    open_table,
    read_rows,
    row_from_plain,
    rows_from_table,
)
from glassbox.pathways.integration.values import (
    EVERY_CONDITION,
    Community,
    DecisionPath,
    Edge,
    GraphNode,
    GraphView,
    LatentCard,
    LatentRow,
    Page,
    PathwayRow,
    StoredCard,
    TokenRow,
)
from glassbox.pathways.latents import LatentId

STUDY_SCHEMA: Final = 2
"""Version of the layout of the folder ``results/integrated``."""

INTEGRATED: Final = Path("results", "integrated")
"""Where a study keeps what ``integrate_study`` wrote, below its own folder."""

STUDY_FILE: Final = "study.json"
LATENTS_FILE: Final = "latents.parquet"
PATHWAYS_FILE: Final = "pathways.parquet"
TOKENS_FILE: Final = "tokens.parquet"
CARDS_FILE: Final = "cards.parquet"
NODES_FILE: Final = "nodes.parquet"
EDGES_FILE: Final = "edges.parquet"
TABLE_FILE: Final = "integrated.parquet"
TABLE_JSON_FILE: Final = "integrated.json"
REPORT_FILE: Final = "report.html"
GRAPH_FOLDER: Final = "graph"

_ORDERS: Final[dict[str, tuple[str, bool]]] = {
    "attribution": ("attribution_share", True),
    "mediated": ("mediated", True),
    "effect": ("measured_pre", True),
    "q": ("q", False),
}
"""Column of each order, and whether the largest absolute value comes first."""


@dataclass(frozen=True)
class StudyResults:
    """One finished study on disk.

    Rows come back as values; nothing is held but the small files that were asked for.
    """

    folder: Path
    """The study's own folder, the one with ``results/``."""
    summary: StudySummary
    """The study in a few figures."""
    communities: tuple[Community, ...] = ()
    """Groups of latents that drive one another, the largest first."""
    decision_paths: tuple[DecisionPath, ...] = ()
    """Ways from tokens to the decision, the strongest first."""

    @property
    def integrated(self) -> Path:
        """The folder with the tables."""
        return self.folder / INTEGRATED

    @property
    def report(self) -> Path:
        """The study's HTML report."""
        return self.integrated / REPORT_FILE

    def latents(self, *, layer: int | None = None) -> tuple[LatentRow, ...]:
        """Return the study's latents, in order of layer and index.

        Raises:
            CorruptArtifact: The table is damaged.
        """
        return read_rows(
            self.integrated / LATENTS_FILE,
            LatentRow,
            None if layer is None else [("layer", "==", layer)],
        )

    def pathways(
        self,
        *,
        source: str | None = None,
        target: str | None = None,
        verified: bool | None = None,
        order: str = "attribution",
        limit: int = 100,
        offset: int = 0,
    ) -> Page[PathwayRow]:
        """Return the pathways that fit, strongest first.

        Args:
            source: Only those that start in this latent.
            target: Only those that end in it.
            verified: Only those that replay confirmed (True), or did not (False).
            order: What makes a pathway strong.
            limit: Most rows returned.
            offset: Rows passed over.

        Raises:
            UnknownName: The study has no such latent, or there is no such order.
            InvalidValue: A negative limit or offset.
            CorruptArtifact: The table is damaged.
        """
        wanted: list[tuple[str, str, Any]] = []
        for column, name in (("source", source), ("target", target)):
            if name is not None:
                self._require(name)
                wanted.append((column, "==", name))
        if verified is not None:
            wanted.append(("verified", "==", verified))
        table = open_table(self.integrated / PATHWAYS_FILE, wanted or None)
        return _page(PathwayRow, _ordered(table, order), limit, offset)

    def tokens(
        self,
        *,
        latent: str | None = None,
        token: str | None = None,
        condition: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page[TokenRow]:
        """Return the token associations that fit: those over all texts, then of single conditions.

        Each by z-score, the largest first.

        Raises:
            UnknownName: The study has no such latent.
            InvalidValue: A negative limit or offset.
            CorruptArtifact: The table is damaged.
        """
        if latent is not None:
            self._require(latent)
        asked = (("latent", latent), ("token", token), ("condition", condition))
        wanted = [(column, "==", value) for column, value in asked if value is not None]
        table = open_table(self.integrated / TOKENS_FILE, wanted or None)
        return _page(TokenRow, _pooled_first(table), limit, offset)

    def card(self, name: str, *, limit: int = 50) -> LatentCard:
        """Return all that is known of one latent.

        Args:
            name: The latent, ``L13-2044``.
            limit: Most pathways on either side, and most tokens.

        Raises:
            UnknownName: The study has no such latent.
            InvalidValue: A negative limit.
            CorruptArtifact: A table is damaged.
        """
        return self.cards([name], limit=limit)[0]

    def cards(self, names: Sequence[str], *, limit: int = 50) -> tuple[LatentCard, ...]:
        """Return the cards of some latents; each table is read once for all of them.

        Args:
            names: The latents, in the order of the cards.
            limit: Most pathways on either side of each, and most tokens of each.

        Raises:
            UnknownName: The study has no such latent.
            InvalidValue: A negative limit.
            CorruptArtifact: A table is damaged.
        """
        _check_count("limit", limit)
        rows = [self._require(name) for name in names]
        wanted = pa.array(names, pa.string())

        def read(file: str, column: str) -> pa.Table:
            return open_table(self.integrated / file, pc.field(column).isin(wanted))

        read_cards = rows_from_table(StoredCard, read(CARDS_FILE, "name"))
        stored = {each.name: each for each in read_cards}
        tokens = _pooled_first(read(TOKENS_FILE, "latent"))
        upstream = _ordered(read(PATHWAYS_FILE, "target"))
        downstream = _ordered(read(PATHWAYS_FILE, "source"))

        def first(kind: type[Row], table: pa.Table, column: str, name: str) -> tuple[Row, ...]:
            found = table.filter(pc.equal(table[column], name))
            return rows_from_table(kind, found.slice(0, limit))

        return tuple(
            LatentCard(
                latent=row,
                histogram=card.histogram,
                contexts=card.contexts,
                promoted=card.promoted,
                suppressed=card.suppressed,
                rates=card.rates,
                tokens=first(TokenRow, tokens, "latent", row.name),
                upstream=first(PathwayRow, upstream, "target", row.name),
                downstream=first(PathwayRow, downstream, "source", row.name),
            )
            for row in rows
            for card in [stored.get(row.name, StoredCard(row.name))]
        )

    def graph(self, *, limit: int = 400) -> GraphView:
        """Return the strongest part of the graph: at most so many edges, and their ends.

        Edges of paths to the decision come first, then the verified ones, then by weight.

        Raises:
            InvalidValue: A limit below 0.
            CorruptArtifact: A table is damaged.
        """
        _check_count("limit", limit)
        edges = read_rows(self.integrated / EDGES_FILE, Edge)
        nodes = read_rows(self.integrated / NODES_FILE, GraphNode)
        shown = edges[:limit]
        ends = {end for each in shown for end in (each.source, each.target)}
        return GraphView(
            nodes=tuple(each for each in nodes if each.name in ends),
            edges=shown,
            n_nodes=len(nodes),
            n_edges=len(edges),
            communities=self.communities,
            paths=tuple(each for each in self.decision_paths if ends.issuperset(each.nodes)),
        )

    @cached_property
    def _rows_by_name(self) -> dict[str, LatentRow]:
        return {each.name: each for each in self.latents()}

    def _require(self, name: str) -> LatentRow:
        row = self._rows_by_name.get(name)
        if row is None:
            known = sorted(self._rows_by_name, key=LatentId.parse)
            more = f" The study has {len(known)} latents." if len(known) > 12 else ""
            raise UnknownName(
                "latent of this study", name, known[:12] if more else known, remedy=more.strip()
            )
        return row


def read_study(folder: Path) -> StudyResults:
    """Return the results of the study in a folder.

    Args:
        folder: The study's own folder (with ``results/integrated`` in it), or that folder itself.

    Raises:
        InvalidData: There are no integrated results.
        CorruptArtifact: They are damaged or of another schema.
    """
    if folder.name == INTEGRATED.name and (folder / STUDY_FILE).is_file():
        folder = folder.parent.parent
    path = folder / INTEGRATED / STUDY_FILE
    if not path.is_file():
        raise InvalidData(
            f"{folder} holds no finished study: there is no {INTEGRATED / STUDY_FILE}. Run "
            "`glassbox pathways integrate` (or `run`) with its configuration first."
        )
    try:
        content = orjson.loads(path.read_bytes())
        schema = content["schema"]
        if schema != STUDY_SCHEMA:
            raise CorruptArtifact(
                path, f"schema is {schema!r} and this version reads {STUDY_SCHEMA}; integrate anew"
            )
        return StudyResults(
            folder=folder,
            summary=row_from_plain(StudySummary, content["summary"]),
            communities=tuple(row_from_plain(Community, each) for each in content["communities"]),
            decision_paths=tuple(row_from_plain(DecisionPath, each) for each in content["paths"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(path, f"{error}; integrate anew") from error


def _check_count(what: str, value: int) -> None:
    if value < 0:
        raise InvalidValue(what, value, "0 or more")


def _page(kind: type[Any], table: pa.Table, limit: int, offset: int) -> Page[Any]:
    _check_count("limit", limit)
    _check_count("offset", offset)
    rows = rows_from_table(kind, table.slice(offset, limit))
    return Page(rows=rows, n_rows=table.num_rows)


def _pooled_first(table: pa.Table) -> pa.Table:
    """Return associations over all texts, then those of one condition, which often repeat them."""
    order = [("z", "descending"), ("latent", "ascending"), ("token", "ascending")]
    ordered = table.sort_by(order)
    pooled = pc.equal(ordered["condition"], EVERY_CONDITION)
    return pa.concat_tables([ordered.filter(pooled), ordered.filter(pc.invert(pooled))])


def _ordered(table: pa.Table, order: str = "attribution") -> pa.Table:
    if order not in _ORDERS:
        raise UnknownName("order of pathways", order, _ORDERS)
    column, largest_first = _ORDERS[order]
    values = _measured_pre(table) if column == "measured_pre" else table[column]
    keyed = table.append_column("_key", pc.abs(values))
    direction = "descending" if largest_first else "ascending"
    keys = [("_key", direction), ("target", "ascending"), ("source", "ascending")]
    return keyed.sort_by(keys).drop_columns(["_key"])


def _measured_pre(table: pa.Table) -> Any:
    """Return the effect of the ablation of each row, missing where it was not made."""
    effects = [
        next((dose["measured_pre"] for dose in doses or () if dose["dose"] == "ablate"), None)
        for doses in table["doses"].to_pylist()
    ]
    return pa.chunked_array([pa.array(effects, pa.float64())])
