"""Where the graph's nodes and arrows stand: tokens, layers from left to right, the decision.

A layered drawing: the column is given by the kind and layer, the order within a column by the mean
place of a node's neighbours, a few times back and forth, which keeps arrows from crossing much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from glassbox.pathways.integration.values import Edge, GraphNode, GraphView

COLUMN: Final = 128.0
"""Distance of two columns, in units of the drawing."""
ROW: Final = 34.0
"""Distance of two nodes of a column."""
MARGIN: Final = 26.0
"""Room above the first node, where the columns' names stand, and around everything."""
NODE_WIDTH: Final = 84.0
"""Width of a latent's or token's box."""
MOST_LETTERS: Final = 11
"""Letters of a label that fit a box."""
_SWEEPS: Final = 12


@dataclass(frozen=True)
class PlacedNode:
    """A node's box."""

    node: GraphNode
    x: float
    """Middle."""
    y: float
    """Middle."""
    label: str
    """What fits the box."""


@dataclass(frozen=True)
class PlacedEdge:
    """An arrow as a curve."""

    edge: Edge
    curve: str
    """SVG path."""
    width: float
    """Of the line."""


@dataclass(frozen=True)
class Drawing:
    """The whole graph, placed."""

    nodes: tuple[PlacedNode, ...]
    edges: tuple[PlacedEdge, ...]
    """Strongest first."""
    columns: tuple[tuple[str, float], ...]
    """Name and middle of each column."""
    width: float
    height: float


def draw_graph(view: GraphView) -> Drawing:
    """Return where everything of a graph stands."""
    stages = sorted({_stage(node) for node in view.nodes})
    column = {stage: number for number, stage in enumerate(stages)}
    columns: list[list[str]] = [[] for _ in stages]
    by_name = {node.name: node for node in view.nodes}
    for node in sorted(view.nodes, key=lambda each: (_community(each), each.name)):
        columns[column[_stage(node)]].append(node.name)
    _untangle(columns, view.edges)
    tallest = max((len(each) for each in columns), default=0)
    height = 2 * MARGIN + ROW * max(tallest, 3)
    placed: dict[str, PlacedNode] = {}
    for number, names in enumerate(columns):
        top = MARGIN + (height - 2 * MARGIN - ROW * len(names)) / 2
        for row, name in enumerate(names):
            placed[name] = PlacedNode(
                by_name[name],
                MARGIN + NODE_WIDTH / 2 + COLUMN * number,
                top + ROW * (row + 0.75),
                shortened(_label(by_name[name])),
            )
    largest = max((abs(edge.weight) for edge in view.edges), default=1.0) or 1.0
    return Drawing(
        nodes=tuple(placed.values()),
        edges=tuple(
            PlacedEdge(
                edge,
                _curve(placed[edge.source], placed[edge.target]),
                round(0.8 + 3.7 * (abs(edge.weight) / largest) ** 0.5, 2),
            )
            for edge in view.edges
        ),
        columns=tuple(
            (_stage_name(stage), MARGIN + NODE_WIDTH / 2 + COLUMN * number)
            for stage, number in column.items()
        ),
        width=2 * MARGIN + NODE_WIDTH + COLUMN * max(0, len(stages) - 1),
        height=height,
    )


def _label(node: GraphNode) -> str:
    """Return what a box says; the column's name says what the decision is."""
    return "decision" if node.kind == "logit" else node.label


def shortened(label: str) -> str:
    """Return a label that fits its box, with what cannot be seen made visible."""
    text = label.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣" if label.isspace() else " ")
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _stage(node: GraphNode) -> tuple[int, int]:
    kind = {"token": 0, "error": 1, "latent": 1, "logit": 2}[node.kind]
    return (kind, -1 if node.layer is None else node.layer)


def _stage_name(stage: tuple[int, int]) -> str:
    return {0: "tokens", 2: "stop − continue"}.get(stage[0], f"layer {stage[1]}")


def _community(node: GraphNode) -> int:
    return 1_000_000 if node.community is None else node.community


def _untangle(columns: list[list[str]], edges: Sequence[Edge]) -> None:
    """Order every column by the mean height of its nodes' neighbours."""
    near: dict[str, list[tuple[str, float]]] = {}
    for edge in edges:
        near.setdefault(edge.source, []).append((edge.target, abs(edge.weight)))
        near.setdefault(edge.target, []).append((edge.source, abs(edge.weight)))
    height = {name: (row + 0.5) / len(names) for names in columns for row, name in enumerate(names)}
    for sweep in range(_SWEEPS):
        order = columns if sweep % 2 == 0 else columns[::-1]
        for names in order:
            wanted = {name: _mean_height(name, near, height) for name in names}
            names.sort(key=lambda name: (wanted[name], name))
            height |= {name: (row + 0.5) / len(names) for row, name in enumerate(names)}


def _mean_height(
    name: str, near: Mapping[str, Sequence[tuple[str, float]]], height: Mapping[str, float]
) -> float:
    neighbours = near.get(name, ())
    total = sum(weight for _, weight in neighbours)
    if not total:
        return height[name]
    return sum(height[other] * weight for other, weight in neighbours) / total


def _curve(source: PlacedNode, target: PlacedNode) -> str:
    start, end = source.x + NODE_WIDTH / 2, target.x - NODE_WIDTH / 2
    bend = max(18.0, (end - start) * 0.45)
    return (
        f"M{start:.1f} {source.y:.1f}C{start + bend:.1f} {source.y:.1f} "
        f"{end - bend:.1f} {target.y:.1f} {end:.1f} {target.y:.1f}"
    )
