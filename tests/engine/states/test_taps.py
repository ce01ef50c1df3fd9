import pytest
import torch

from glassbox.engine.states import taps as module
from glassbox.engine.states.places import point_of_hidden_state
from glassbox.engine.states.taps import NAMES, Names, Taps
from glassbox.errors import InvalidHookPoint, UnsupportedModel
from glassbox.testing import tiny_loaded
from glassbox.types import HookPoint
from tests.techniques.library.worlds import EVERY, world


def test_every_row_of_the_table_has_a_tiny_model():
    assert {world(name)[0].config.model_type for name in EVERY} == set(NAMES)


@pytest.mark.parametrize("architecture", EVERY)
def test_taps_show_the_librarys_hidden_states(architecture):
    model, _ = world(architecture)
    taps = Taps(model)
    tokens = torch.tensor([[3, 14, 15, 92, 65]])
    points = [point_of_hidden_state(index, 2) for index in range(3)]
    n_hooks = [len(module._forward_hooks) for module in model.modules()]
    with torch.inference_mode():
        with taps.tapped(points) as seen:
            model(input_ids=tokens, use_cache=False)
        assert [len(module._forward_hooks) for module in model.modules()] == n_hooks
        expected = model(input_ids=tokens, use_cache=False, output_hidden_states=True).hidden_states
    for point, states in zip(points, expected, strict=True):
        torch.testing.assert_close(seen[point], states)


@pytest.mark.parametrize("architecture", ["phi", "gpt_neox"])
def test_parallel_blocks_have_no_middle(architecture):
    taps = Taps(tiny_loaded(architecture).model)
    with pytest.raises(InvalidHookPoint, match="no resid_mid"):
        taps.whole(HookPoint(0, "resid_mid"))


def test_an_unknown_architecture_names_the_table(monkeypatch):
    monkeypatch.delitem(module.NAMES, "llama")
    with pytest.raises(UnsupportedModel, match="Known: gemma, "):
        Taps(tiny_loaded().model)


def test_modules_of_other_names_are_refused(monkeypatch):
    monkeypatch.setitem(NAMES, "llama", Names("model.blocks", "model.norm"))
    with pytest.raises(UnsupportedModel, match="does not have the modules"):
        Taps(tiny_loaded().model)


@pytest.mark.parametrize(
    "names",
    [
        Names("model.layers", "model.layers.0.input_layernorm"),
        Names("model.layers", "model.norm", "input_layernorm"),
    ],
)
def test_taps_in_the_wrong_place_are_refused_loudly(monkeypatch, names):
    monkeypatch.setitem(NAMES, "llama", names)
    with pytest.raises(UnsupportedModel, match="is not the"):
        Taps(tiny_loaded().model)
