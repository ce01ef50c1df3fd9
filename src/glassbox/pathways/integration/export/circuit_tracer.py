"""Graphs and latents in the JSON that circuit-tracer's browser view and Neuronpedia read.

The fields are theirs; what ours mean where theirs have no word is said in ``metadata.info``, which
their readers pass over. Knows nothing of models.

Source: circuit-tracer 0.5.0, ``frontend/graph_models.py``, ``frontend/feature_models.py``,
``utils/create_graph_files.py``; Neuronpedia ``apps/webapp/app/api/graph/graph-schema.json``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from glassbox.artifacts import write_json
from glassbox.pathways.integration.prompt_graph import WEIGHT, PromptGraph, PromptNode
from glassbox.pathways.integration.values import LatentCard, TopContext

SCHEMA_VERSION: Final = 1
"""Of circuit-tracer's graph files."""

NODES: Final = "Nodes are latents of residual-stream SAEs; errors are what an SAE leaves out."
"""What the nodes are, for those who get the file."""

METADATA_FILE: Final = "graph-metadata.json"
"""Index of the graphs in a folder, which circuit-tracer's server reads."""

FEATURES_FOLDER: Final = "features"
"""Folder of the latents' files; below it one folder named after the scan."""

_TYPES: Final = {
    "latent": "cross layer transcoder",
    "error": "mlp reconstruction error",
    "token": "embedding",
    "logit": "logit",
}
"""Their names of the kinds; a latent of a residual SAE is drawn as theirs are."""


def cantor_pairing(layer: int, index: int) -> int:
    """Return the one number by which the viewer knows a latent of a layer.

    Source: circuit-tracer ``frontend/graph_models.py``.
    """
    return (layer + index) * (layer + index + 1) // 2 + index


def node_name(node: PromptNode, n_layers: int) -> str:
    """Return the node's id in the viewer's way of naming."""
    if node.kind == "latent":
        return f"{node.layer}_{node.index}_{node.position}"
    if node.kind == "error":
        # Theirs are named by layer and position alone, and could then be taken for a latent's.
        return f"error_{node.layer}_{node.position}"
    if node.kind == "token":
        return f"E_{node.index}_{node.position}"
    return f"{n_layers + 1}_{node.index}_{node.position}"


def graph_json(graph: PromptGraph, *, slug: str, scan: str) -> dict[str, Any]:
    """Return a prompt's graph as the viewer reads it.

    Args:
        graph: The graph.
        slug: Its name in the viewer and of its file.
        scan: Name of the set of latents; their files are found by it.
    """
    cumulative = _cumulative([node.influence for node in graph.nodes])
    names = [node_name(node, graph.n_layers) for node in graph.nodes]
    best = max(
        (node for node in graph.nodes if node.kind == "logit"),
        key=lambda node: node.prob or 0.0,
        default=None,
    )
    return {
        "metadata": {
            "slug": slug,
            "scan": scan,
            "transcoder_list": [],
            "prompt_tokens": list(graph.tokens),
            "prompt": graph.prompt,
            "node_threshold": 1.0,
            "schema_version": SCHEMA_VERSION,
            "info": {
                "creator_name": "Glassbox",
                "description": f"Weights are {WEIGHT}. {NODES}",
                "generator": {"name": "glassbox pathways"},
                "n_latents_active": graph.n_latents_active,
                "n_positions_left_out": graph.n_positions_left_out,
            },
        },
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [
            _node_json(node, name, share, graph.n_layers, is_target=node is best)
            for node, name, share in zip(graph.nodes, names, cumulative, strict=True)
        ],
        "links": [
            {"source": names[edge.source], "target": names[edge.target], "weight": edge.weight}
            for edge in graph.edges
        ],
    }


def _node_json(
    node: PromptNode, name: str, cumulative: float, n_layers: int, *, is_target: bool
) -> dict[str, Any]:
    feature, layer, number = node.position, "E", f"{node.index}-{node.position}"
    clerp = node.label
    if node.kind == "latent" and node.layer is not None:
        feature = cantor_pairing(node.layer, node.index)
        layer, number = str(node.layer), f"{node.index}-0"
    elif node.kind == "error":
        feature, layer, number = -1, str(node.layer), f"{node.position}-0"
    elif node.kind == "logit":
        feature, layer = node.index, str(n_layers + 1)
        # The viewer reads the probability out of these words.
        clerp = f'Output "{node.label}" (p={node.prob or 0.0:.3f})'
    prefix = "L" if node.kind == "logit" else layer
    return {
        "node_id": name,
        "feature": feature,
        "layer": layer,
        "ctx_idx": node.position,
        "feature_type": _TYPES[node.kind],
        "token_prob": node.prob or 0.0,
        "is_target_logit": is_target,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{prefix}_{number}",
        "clerp": clerp,
        "influence": None if node.kind == "logit" else cumulative,
        "activation": node.value,
    }


def _cumulative(influences: Sequence[float]) -> list[float]:
    """Return for each node the share of all influence that it and stronger ones have.

    The viewer hides nodes whose figure is above its threshold.
    """
    total = sum(influences) or 1.0
    shares = [0.0] * len(influences)
    reached = 0.0
    for place in sorted(range(len(influences)), key=lambda place: -influences[place]):
        reached += influences[place]
        shares[place] = min(1.0, reached / total)
    return shares


def feature_json(card: LatentCard, *, scan: str) -> dict[str, Any]:
    """Return a latent's card as the viewer reads it."""
    histogram = card.histogram
    contexts = list(card.contexts)
    peaks = [max(each.activations, default=0.0) for each in contexts]
    return {
        "transcoder_id": scan,
        "index": cantor_pairing(card.latent.layer, card.latent.index),
        "examples_quantiles": [
            {
                "quantile_name": "Top activations",
                "examples": [_example(each) for each in contexts],
            }
        ],
        "top_logits": [each.token for each in card.promoted],
        "bottom_logits": [each.token for each in card.suppressed],
        "act_min": 0.0,
        "act_max": card.latent.activation_max or max(peaks, default=0.0),
        "quantile_values": [] if histogram is None else list(histogram.edges),
        "histogram": [] if histogram is None else [float(count) for count in histogram.counts],
        "activation_frequency": card.latent.active_share or 0.0,
    }


def _example(context: TopContext) -> dict[str, Any]:
    return {
        "tokens": list(context.tokens),
        "tokens_acts_list": list(context.activations),
        "train_token_ind": context.peak,
        "is_repeated_datapoint": False,
    }


def write_graphs(
    folder: Path, graphs: Mapping[str, PromptGraph], cards: Sequence[LatentCard], *, scan: str
) -> None:
    """Write graphs, their index and the latents' files into a folder that the viewer can serve.

    Args:
        folder: Gets ``{slug}.json``, ``graph-metadata.json`` and ``features/{scan}/…``.
        graphs: By slug.
        cards: Latents that get a file.
        scan: Name of the set of latents.

    Raises:
        NoDiskSpace: The device is full.
    """
    index = []
    for slug, graph in graphs.items():
        content = graph_json(graph, slug=slug, scan=scan)
        write_json(folder / f"{slug}.json", content)
        index.append(content["metadata"])
    write_json(folder / METADATA_FILE, {"graphs": index})
    for card in cards:
        content = feature_json(card, scan=scan)
        write_json(folder / FEATURES_FOLDER / scan / f"{content['index']}.json", content)
