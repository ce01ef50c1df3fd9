"""Where circuit-tracer is installed (``pip install --no-deps circuit-tracer``: it pins another
transformers), files are read by its own models; everywhere, by the JSON schemas of those."""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import jsonschema
import orjson
import pytest

from glassbox.pathways.integration.export.circuit_tracer import (
    FEATURES_FOLDER,
    METADATA_FILE,
    cantor_pairing,
    feature_json,
    graph_json,
    write_graphs,
)
from glassbox.pathways.integration.prompt_graph import PromptEdge, PromptGraph, PromptNode
from glassbox.pathways.integration.results import read_study
from tests.pathways.integration.worlds import write_made_up_study

SCHEMAS = orjson.loads(Path(__file__).with_name("circuit_tracer_schemas.json").read_bytes())

GRAPH = PromptGraph(
    prompt="<s>Will you stop?",
    tokens=("<s>", "Will", " you", " stop", "?"),
    n_layers=8,
    nodes=(
        PromptNode("token", 1, 77, influence=0.1, label="Will"),
        PromptNode("token", 3, 78, influence=0.05, label=" stop"),
        PromptNode("latent", 3, 2044, 2, 1.5, influence=0.5, label="L2-2044 (of the study)"),
        PromptNode("latent", 4, 2044, 2, 0.5, influence=0.02, label="L2-2044"),
        PromptNode("latent", 4, 9, 5, 2.5, influence=0.2, label="L5-9"),
        PromptNode("error", 4, -1, 2, influence=0.13, label="error of layer 2"),
        PromptNode("logit", 4, 414, prob=0.7, label="stop"),
        PromptNode("logit", 4, 433, prob=0.2, label="continue"),
    ),
    edges=(
        PromptEdge(0, 2, 0.4), PromptEdge(2, 4, -1.25), PromptEdge(5, 4, 0.1),
        PromptEdge(4, 6, 2.0), PromptEdge(4, 7, -2.0),
    ),
    n_latents_active=40,
    n_positions_left_out=1,
)  # fmt: skip


def models(name: str) -> ModuleType:
    """One of circuit-tracer's files of models, without the rest of the package."""
    found = importlib.util.find_spec("circuit_tracer")
    if found is None or found.origin is None:
        pytest.skip("circuit-tracer is not installed (pip install --no-deps circuit-tracer)")
    path = Path(found.origin).parent / "frontend" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"circuit_tracer_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(write_made_up_study(tmp_path_factory.mktemp("study"), n_layers=3))


@pytest.fixture(scope="module")
def graph():
    return graph_json(GRAPH, slug="safe-0", scan="slots")


def test_a_graph_fits_the_schema(graph):
    jsonschema.validate(graph, SCHEMAS["graph"])


def test_a_graph_has_what_neuronpedia_asks_for(graph):
    text, number = {"type": "string"}, {"type": "number"}
    maybe = {"type": ["number", "null"]}

    def thing(required, **properties):
        return {"type": "object", "required": required, "properties": properties}

    node = thing(
        ["node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"],
        node_id=text, feature={"type": ["integer", "null"]}, layer={"type": ["string", "integer"]},
        ctx_idx={"type": "integer"}, feature_type=text, jsNodeId=text, clerp=text,
        influence=maybe, activation=maybe,
    )  # fmt: skip
    metadata = thing(
        ["slug", "scan", "prompt_tokens", "prompt"], slug=text, scan=text, prompt=text,
        prompt_tokens={"type": "array", "items": text}, node_threshold=number,
        info=thing([], description=text, creator_name=text, generator=thing([], name=text)),
    )  # fmt: skip
    link = thing(["source", "target", "weight"], source=text, target=text, weight=number)
    whole = thing(
        ["metadata", "qParams", "nodes", "links"], metadata=metadata, qParams={"type": "object"},
        nodes={"type": "array", "items": node}, links={"type": "array", "items": link},
    )  # fmt: skip
    jsonschema.validate(graph, whole)


def test_features_fit_the_schema(study):
    for row in study.latents():
        jsonschema.validate(feature_json(study.card(row.name), scan="slots"), SCHEMAS["feature"])


def test_a_graph_is_read_by_their_own_models(graph):
    theirs = models("graph_models")
    found = theirs.Model.model_validate(graph)
    assert [node.node_id for node in found.nodes] == [each["node_id"] for each in graph["nodes"]]
    assert [theirs.Link.model_validate(each).weight for each in found.links] == [
        edge.weight for edge in GRAPH.edges
    ]
    assert theirs.Model.model_json_schema() == SCHEMAS["graph"]


def test_features_are_read_by_their_own_models(study):
    theirs = models("feature_models")
    card = study.card(study.latents()[3].name)
    found = theirs.Model.model_validate(feature_json(card, scan="slots"))
    (quantile,) = found.examples_quantiles
    assert quantile.examples[0].tokens == list(card.contexts[0].tokens)
    assert quantile.examples[0].tokens_acts_list == list(card.contexts[0].activations)
    assert theirs.Model.model_json_schema() == SCHEMAS["feature"]


def test_nodes_are_named_as_theirs_are(graph):
    theirs = models("graph_models")
    ours = {each["node_id"]: each for each in graph["nodes"]}
    latent = theirs.Node.feature_node(2, 3, 2044, influence=0.5, activation=1.5)
    token = theirs.Node.token_node(1, 77)
    logit = theirs.Node.logit_node(4, 414, "stop", 8, target_logit=True, token_prob=0.7)
    for each in (latent, token, logit):
        mine = ours[each.node_id]
        for field in ("feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "is_target_logit"):
            assert mine[field] == getattr(each, field), field
    assert ours[logit.node_id]["clerp"] == logit.clerp


def test_names_are_distinct_and_links_end_in_nodes(graph):
    names = [each["node_id"] for each in graph["nodes"]]
    assert len(set(names)) == len(names)
    for link in graph["links"]:
        assert {link["source"], link["target"]} <= set(names)


def test_one_target_is_the_most_probable_answer(graph):
    assert [each["clerp"] for each in graph["nodes"] if each["is_target_logit"]] == [
        'Output "stop" (p=0.700)'
    ]


def test_influence_is_cumulative_from_the_strongest_on(graph):
    found = {each["node_id"]: each["influence"] for each in graph["nodes"]}
    assert found["2_2044_3"] == pytest.approx(0.5)
    assert found["5_9_4"] == pytest.approx(0.7)
    assert max(value for value in found.values() if value is not None) == pytest.approx(1)


def test_what_a_weight_is_stands_in_the_file(graph):
    assert "past later SAEs" in graph["metadata"]["info"]["description"]
    assert graph["metadata"]["info"]["n_positions_left_out"] == 1


def test_pairing_gives_every_pair_its_own_number():
    pairs = list(itertools.product(range(40), range(40)))
    assert len({cantor_pairing(*pair) for pair in pairs}) == len(pairs)
    assert cantor_pairing(2, 2044) == (2046 * 2047) // 2 + 2044


def test_the_folder_holds_graphs_index_and_features(tmp_path: Path, study):
    cards = [study.card(row.name) for row in study.latents()[:3]]
    write_graphs(tmp_path, {"safe-0": GRAPH, "risky-0": GRAPH}, cards, scan="slots")
    index = orjson.loads((tmp_path / METADATA_FILE).read_bytes())
    assert [each["slug"] for each in index["graphs"]] == ["safe-0", "risky-0"]
    for each in index["graphs"]:
        jsonschema.validate(
            orjson.loads((tmp_path / f"{each['slug']}.json").read_bytes()), SCHEMAS["graph"]
        )
    names = {path.stem for path in (tmp_path / FEATURES_FOLDER / "slots").iterdir()}
    assert names == {str(cantor_pairing(card.latent.layer, card.latent.index)) for card in cards}
