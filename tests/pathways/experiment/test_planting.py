"""The planted truth, on the embedded model: found where it is, silent where it is not."""

import json
from dataclasses import replace

import pytest
import torch

from glassbox.engine.model.load import load_model
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, InvalidValue, UnsupportedModel
from glassbox.pathways.experiment.planted import read_planted
from glassbox.pathways.experiment.planting import plant_world
from glassbox.pathways.experiment.prompts import choose_pairs, prompts_path, read_pairs
from glassbox.pathways.experiment.run import run_experiment
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.writing import save_sae
from glassbox.pathways.sections import ExperimentSection
from glassbox.testing import shipped_saes, tiny_engine, tiny_sae
from glassbox.types import ModelSpec
from tests.pathways.experiment.worlds import section, write_pairs

SECTION = ExperimentSection(
    plant=True, n_pairs=30, trials=30, max_new_tokens=1, batch_rows=240, seed=1,
    latents=("L1-7", "L5-11"),
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    engine = ResidentEngine(load_model(ModelSpec("tiny")))
    planted = plant_world(SECTION, engine, shipped_saes(), folder / "saes", folder / "planted.json")
    outcome = run_experiment(
        SECTION, engine, planted.dictionaries, checkpoints=folder / "analysis",
        logs=folder / "logs", always=[each.latent for each in planted.latents],
    )  # fmt: skip
    return engine, planted, outcome, folder


def test_planted_latents_are_found_and_their_nulls_are_not(world):
    _, planted, outcome, _ = world
    causal = {each.name for role in ("causal", "driven") for each in planted.of(role)}
    assert len(causal) == 4
    assert len(planted.of("null")) == 4
    assert set(outcome.causal) == causal
    results = {each["feature"]: each for each in outcome.results}
    for each in planted.of("null"):
        twin = results[each.twin]
        # To activations, a null is its twin.
        assert results[each.name]["means"] == twin["means"]
        change, usual = (one["difference_p_stop"] for one in (results[each.name], twin))
        assert abs(change) < 0.35 * abs(usual)
    for name in causal:
        side = next(each.side for each in planted.latents if each.name == name)
        assert (results[name]["difference"] < 0) == (side == "safe")


def test_the_recorded_effects_are_those_of_an_intervention_by_hand(world):
    engine, planted, _, _ = world
    pairs, _ = choose_pairs(read_pairs(prompts_path("tiny")), 30, SECTION.seed)
    stop, go_on = (
        engine.codec.encode([word], special=False)[0][0] for word in (" stop", " continue")
    )
    chain = [each for each in planted.latents if each.role == "causal" and each.side == "safe"]
    null = [each for each in planted.of("null") if each.twin == chain[0].name]
    with engine.lend(lease_s=60) as lent:
        layers = lent.model.model.layers
        for each in (*chain, *null):
            sae = planted.dictionaries.load(each.latent.layer)
            driven = planted.of("driven")[0].latent
            reader = planted.dictionaries.load(driven.layer)
            changes, drives, usual = [], [], []
            for pair in pairs:
                tokens = engine.codec.encode([pair.safe])[0]
                seen = {}

                def ablate(_module, _inputs, output, sae=sae, index=each.latent.index):
                    # The latent is removed wherever it fires; its risky mean is nearly 0.
                    f = sae.encode(output)[..., index]
                    f[:, 0] = 0
                    return output - f[..., None] * sae.w_dec[index]

                def watch(_module, _inputs, output, seen=seen):
                    seen["x"] = output[0, -1]

                values = []
                for is_ablated in (False, True):
                    handles = [layers[driven.layer].register_forward_hook(watch)]
                    if is_ablated:
                        handles.append(layers[each.latent.layer].register_forward_hook(ablate))
                    with torch.inference_mode():
                        logits = lent.model(input_ids=torch.tensor([tokens])).logits[0, -1]
                    for handle in handles:
                        handle.remove()
                    z = reader.preactivations(seen["x"])[driven.index]
                    values.append((float((logits[stop] - logits[go_on]).sigmoid()), float(z)))
                changes.append(values[1][0] - values[0][0])
                drives.append(values[1][1] - values[0][1])
                usual.append(max(0.0, values[0][1]))
            assert sum(changes) / 30 == pytest.approx(each.effect, abs=0.03)
            assert sum(drives) / sum(usual) == pytest.approx(each.drive, abs=0.05)
    assert chain[0].effect < -0.3
    assert chain[0].drive < -0.7
    assert abs(null[0].effect) < 0.3 * abs(chain[0].effect)


def test_planting_again_reads_what_is_there_and_other_settings_are_refused(world):
    engine, planted, _, folder = world
    again = plant_world(SECTION, engine, shipped_saes(), folder / "saes", folder / "planted.json")
    assert again.latents == planted.latents == read_planted(folder / "planted.json")
    assert again.dictionaries.digest == planted.dictionaries.digest
    with pytest.raises(ConflictError, match="planted under another configuration"):
        plant_world(
            SECTION.model_copy(update={"plant_nulls": 2}), engine, shipped_saes(),
            folder / "saes", folder / "planted.json",
        )  # fmt: skip


def test_the_other_latents_are_left_as_they_were(world):
    _, planted, _, folder = world
    early, late = json.loads((folder / "planted.json").read_text())["layers"]
    for layer, before in ((layer, shipped_saes().load(layer)) for layer in range(8)):
        after = planted.dictionaries.load(layer)
        n_planted = 4 if layer in (early, late) else 0
        assert after.d_sae == before.d_sae + n_planted
        for name in ("w_enc", "b_enc", "w_dec", "threshold"):
            assert torch.equal(getattr(after, name)[: before.d_sae], getattr(before, name))
        for each in planted.latents:
            if each.latent.layer == layer:
                norm = after.w_dec[each.latent.index].norm()
                assert float(norm) == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_planted_is_said(tmp_path):
    engine = tiny_engine()
    prompts = write_pairs(tmp_path / "prompts.jsonl", 6)
    for layer in range(2):
        save_sae(tiny_sae(layer), tmp_path / "saes" / f"layer_{layer}")
    dictionaries = open_dictionaries(tmp_path / "saes")
    places = {"folder": tmp_path / "planted", "record": tmp_path / "planted.json"}
    for changes, problem in (
        ({"positions": "last"}, "acts on the framing's words"),
        ({"plant_layer": 1}, "below layer 1"),
    ):
        with pytest.raises(InvalidValue, match=problem):
            plant_world(section(prompts, plant=True, **changes), engine, dictionaries, **places)
    save_sae(replace(tiny_sae(0, kind="topk"), layer=0), tmp_path / "topk" / "layer_0")
    save_sae(tiny_sae(1), tmp_path / "topk" / "layer_1")
    with pytest.raises(UnsupportedModel, match="layer 0 is TopK"):
        plant_world(
            section(prompts, plant=True), engine, open_dictionaries(tmp_path / "topk"), **places
        )
