import itertools

import pytest
import torch

from glassbox.errors import InvalidData
from glassbox.pathways.integration.prompt_graph import Prompt, Tracing, trace_prompt
from glassbox.pathways.latents import LatentId
from tests.pathways.integration.small_models import small_model, small_saes

IDS = (0, 40, 51, 62, 73, 84, 95, 46)
ANSWERS = {70: "stop", 71: "continue"}


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def world(request):
    model, codec, width = small_model(request.param)
    saes = small_saes(2, width)
    prompt = Prompt(IDS, tuple(codec.decode([each]) for each in IDS), frozenset({0, 1}))
    graph = trace_prompt(
        model, prompt, saes, ANSWERS, study=frozenset({LatentId(0, 3)}),
        tracing=Tracing(n_latents=20, n_errors=6, n_sources=100),
    )  # fmt: skip
    return model, saes, prompt, graph


def run(model, saes, change=None):
    """Pre-activations of every layer and the logits, with something added to one place."""
    seen = {}

    def hook_of(place):
        def hook(_module, _args, output):
            x = output[0] if isinstance(output, tuple) else output
            if change is not None and change[0] == place:
                x = x.clone()
                x[0, change[1]] += change[2]
            seen[place] = x
            return (x, *output[1:]) if isinstance(output, tuple) else x

        return hook

    modules = {-1: model.get_input_embeddings(), 0: model.model.layers[0], 1: model.model.layers[1]}
    handles = [module.register_forward_hook(hook_of(place)) for place, module in modules.items()]
    with torch.inference_mode():
        logits = model(torch.tensor([IDS])).logits[0, -1]
    for each in handles:
        each.remove()
    return {layer: saes.load(layer).preactivations(seen[layer][0]) for layer in (0, 1)}, logits


def direction_of(graph, saes, model, node):
    if node.kind == "latent":
        return node.value * saes.load(node.layer).w_dec[node.index]
    if node.kind == "token":
        return model.get_input_embeddings().weight[node.index]
    seen = {}
    handle = model.model.layers[node.layer].register_forward_hook(
        lambda _m, _a, out: seen.update(x=out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        model(torch.tensor([IDS]))
    handle.remove()
    return saes.load(node.layer).error(seen["x"][0, node.position])


def test_weights_are_what_a_small_change_of_the_source_does(world):
    model, saes, _, graph = world
    step = 1e-2
    sources = sorted({edge.source for edge in graph.edges})
    kinds = {kind: [s for s in sources if graph.nodes[s].kind == kind][:3]
             for kind in ("token", "latent", "error")}  # fmt: skip
    assert all(kinds.values())
    for source in itertools.chain.from_iterable(kinds.values()):
        node = graph.nodes[source]
        place = -1 if node.layer is None else node.layer
        move = step * direction_of(graph, saes, model, node)
        up, up_logits = run(model, saes, (place, node.position, move))
        down, down_logits = run(model, saes, (place, node.position, -move))
        for edge in (each for each in graph.edges if each.source == source):
            target = graph.nodes[edge.target]
            if target.kind == "latent":
                at = (target.position, target.index)
                change = float(up[target.layer][at] - down[target.layer][at])
            else:
                change = float(
                    (up_logits[target.index] - up_logits.mean())
                    - (down_logits[target.index] - down_logits.mean())
                )
            assert edge.weight == pytest.approx(change / (2 * step), abs=3e-3, rel=2e-2)


def test_edges_go_forward_in_layers_and_positions(world):
    *_, graph = world
    for edge in graph.edges:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        assert source.position <= target.position
        if target.layer is not None and source.layer is not None:
            assert source.layer < target.layer
        assert source.kind != "logit"
        assert target.kind in ("latent", "logit")


def test_latents_are_active_where_they_stand_and_never_on_the_first_position(world):
    model, saes, _, graph = world
    z, _ = run(model, saes)
    for node in graph.nodes:
        if node.kind == "latent":
            assert node.position > 0
            assert float(z[node.layer][node.position, node.index]) == pytest.approx(
                node.value, abs=1e-5
            )
    assert graph.n_positions_left_out == 1


def test_the_strongest_latents_are_kept(world):
    model, saes, prompt, graph = world
    whole = trace_prompt(model, prompt, saes, ANSWERS, tracing=Tracing(10_000, 10_000, 1))
    kept = {(n.layer, n.position, n.index) for n in graph.nodes if n.kind == "latent"}
    ranked = sorted((n for n in whole.nodes if n.kind == "latent"), key=lambda n: -n.influence)
    assert kept == {(n.layer, n.position, n.index) for n in ranked[:20]}
    assert whole.n_latents_active == graph.n_latents_active >= len(ranked)
    assert sum(n.influence for n in whole.nodes) == pytest.approx(1, abs=1e-4)


def test_probabilities_are_those_behind_a_soft_cap():
    model, codec, width = small_model("gemma3")
    model.config.final_logit_softcapping = 0.01
    prompt = Prompt(IDS, tuple(codec.decode([each]) for each in IDS), frozenset({0, 1}))
    graph = trace_prompt(model, prompt, small_saes(2, width), ANSWERS)
    with torch.inference_mode():
        probs = model(torch.tensor([IDS])).logits[0, -1].float().softmax(dim=-1)
    found = {node.index: node.prob for node in graph.nodes if node.kind == "logit"}
    assert found == pytest.approx({token: float(probs[token]) for token in ANSWERS}, rel=1e-5)
    # Without the cap they would be apart by more than its width.
    assert abs(found[70] / found[71] - 1) < 0.03


def test_study_latents_are_marked_and_probabilities_are_the_models(world):
    model, saes, _, graph = world
    for node in graph.nodes:
        if node.kind == "latent":
            assert ("of the study" in node.label) == (
                LatentId(node.layer, node.index) == LatentId(0, 3)
            )
    _, logits = run(model, saes)
    probs = logits.float().softmax(-1)
    for node in graph.nodes:
        if node.kind == "logit":
            assert node.prob == pytest.approx(float(probs[node.index]), abs=1e-6)


def test_a_graph_needs_two_answers_and_a_token(world):
    model, saes, prompt, _ = world
    with pytest.raises(InvalidData, match="a token and two answers"):
        trace_prompt(model, prompt, saes, {70: "stop"})
    with pytest.raises(InvalidData, match="a token and two answers"):
        trace_prompt(model, Prompt((), ()), saes, ANSWERS)
