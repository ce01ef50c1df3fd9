"""The large model's benchmark, on a tiny one: the same code, for want of a device everywhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from benchmarks.apparatus.large_world import random_model, shape_8b, shape_tiny
from benchmarks.pathways_large import make_slice, print_report, require_room
from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.discovery.sources import StreamedSources
from glassbox.pathways.orchestration.costs import LLAMA_3_1_8B
from glassbox.pathways.orchestration.forecast import A40

CPU = torch.device("cpu")
DEVICE = replace(A40, matmul_flop_s=1e11, origin="assumed")


@pytest.fixture(scope="module")
def ready():
    return make_slice(shape_tiny(), 3, CPU, DEVICE)


def test_the_large_shape_is_the_one_that_is_forecast():
    assert shape_8b().model == LLAMA_3_1_8B


def test_a_model_made_on_its_device_is_whole():
    shape = shape_tiny()
    made, usual = random_model(shape, CPU), LlamaForCausalLM(shape.config)
    names = dict(usual.named_parameters())
    for name, weight in made.named_parameters():
        assert weight.shape == names.pop(name).shape
        spread = 0.0 if name.endswith("norm.weight") else shape.config.initializer_range
        assert float(weight.std()) == pytest.approx(spread, rel=0.1)
    assert not names
    wanted = dict(usual.named_buffers())
    for name, buffer in made.named_buffers():
        torch.testing.assert_close(buffer, wanted[name])


def test_about_as_many_latents_fire_as_are_said_to(ready):
    tokens = torch.tensor(ready.texts[0].token_ids)
    with torch.no_grad():
        run = run_context(ready.blocks, tokens)
        for layer in ready.dictionaries.layers:
            fires = ready.dictionaries.load(layer).encode(run.output(layer)[1:]) > 0
            assert float(fires.sum(1).float().mean()) == pytest.approx(ready.shape.firing, rel=0.5)


def test_every_part_is_run_and_counted(ready, capsys):
    parts = {each.name: each for each in ready.parts()}
    assert list(parts) == ["sweep", "streamed", "replay", "corpus"]
    for each in parts.values():
        assert each.seconds > 0
        assert each.flop > 0
        assert each.peak_bytes >= each.before_bytes > 0
        assert each.counted_bytes > 0
    assert parts["sweep"].flop == parts["streamed"].flop
    sweep = parts["sweep"]
    # All texts of the study take as often the slice's operations as there are of them.
    assert sweep.study_flop / sweep.flop == pytest.approx(
        len(ready.shape.size.contexts()) / len(ready.texts), rel=0.5
    )
    print_report(ready, list(parts.values()))
    assert "the study's sweep, replays and tokens" in capsys.readouterr().out


def test_what_is_run_is_what_is_counted(ready):
    selected = ready.sweep(StreamedSources(ready.dictionaries), ready.texts)
    assert [each.context for each in selected] == list(ready.texts)
    assert all(np.isfinite(layer.gradients).all() for each in selected for layer in each.layers)
    measured = ready.replay(ready.texts)
    assert len(ready.replay(ready.texts[:1])) == 1
    for text, runs, effects in zip(ready.texts, ready.runs, measured, strict=True):
        size = ready.shape.size
        most = sum(min(size.top, 8 * (target.latent.layer - 1)) for target in text.targets)
        assert 0.8 * most <= len(runs) == len(effects.pre) <= most
        for row, run in enumerate(runs):
            (number,) = run.what.targets
            target, shape = text.targets[number], run.shape
            assert (shape.layer, shape.last_layer) == (run.what.first_layer, target.latent.layer)
            assert shape.position == min(run.what.positions)
            assert shape.n_tokens == target.position + 1
            assert effects.n_changed[row, number] >= 1
            assert abs(effects.pre[row, number]) > 0
    assert ready.read(ready.texts) > 0


def test_a_large_model_is_refused_where_there_is_no_device_for_it():
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        require_room(shape_8b(), CPU)
    require_room(shape_tiny(), CPU)
