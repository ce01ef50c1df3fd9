"""An adapter in the making: PEFT's layers come, are trained, and go without a trace."""

import dataclasses

import pytest
import torch
from torch import nn

from glassbox.engine.fitting.trainee import training_adapter
from glassbox.errors import UnsupportedModel
from tests.engine.fit_world import RECIPE, tiny_base

TOKENS = torch.tensor([[1, 25, 11, 40, 33]])


def layers(base) -> list[tuple[str, int]]:
    return [(name, id(module)) for name, module in base.model.named_modules()]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_models_own_layers_return_even_after_an_error(architecture):
    base = tiny_base(architecture)
    before = layers(base)
    with torch.no_grad():
        answer = base.model(input_ids=TOKENS).logits
    with training_adapter(base, RECIPE):
        assert layers(base) != before
    assert layers(base) == before
    with pytest.raises(KeyboardInterrupt), training_adapter(base, RECIPE):
        raise KeyboardInterrupt
    assert layers(base) == before
    assert not hasattr(base.model, "peft_config")
    with torch.no_grad():
        assert torch.equal(base.model(input_ids=TOKENS).logits, answer)


def test_it_begins_as_the_base_model_and_moves_when_its_weights_do():
    base = tiny_base()
    with torch.no_grad():
        answer = base.model(input_ids=TOKENS).logits
        with training_adapter(base, RECIPE) as trainee:
            trainee.training(False)
            assert torch.equal(base.model(input_ids=TOKENS).logits, answer)
            for name, parameter in trainee.parameters.items():
                if ".lora_B." in name:
                    parameter.fill_(0.1)
            assert not torch.allclose(base.model(input_ids=TOKENS).logits, answer)


def test_only_the_adapter_learns():
    base = tiny_base()
    with training_adapter(base, RECIPE) as trainee:
        learning = {id(p) for p in base.model.parameters() if p.requires_grad}
        assert learning == {id(p) for p in trainee.parameters.values()}


def test_the_first_weights_come_from_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(3)
        with training_adapter(tiny_base_seeded(), dataclasses.replace(RECIPE, seed=seed)) as made:
            starts.append({name: each.detach().clone() for name, each in made.parameters.items()})
        assert torch.equal(torch.rand(4), expected)
    names = [name for name in starts[0] if ".lora_A." in name]
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in names)
    assert not any(torch.equal(starts[0][name], starts[2][name]) for name in names)


def tiny_base_seeded():
    """Return a base model without moving the global generator."""
    with torch.random.fork_rng(devices=[]):
        return tiny_base()


def test_a_model_without_linear_layers_is_refused_and_left_alone():
    base = tiny_base()
    base.model.model.layers = nn.ModuleList()
    with (
        pytest.raises(UnsupportedModel, match="tiny-random: PEFT finds no layers"),
        training_adapter(base, RECIPE),
    ):
        pass
    assert not hasattr(base.model, "peft_config")


def test_a_model_that_peft_refuses_midway_is_left_as_it_was(monkeypatch):
    base = tiny_base()
    before = dict(base.model.named_modules())
    half = ["q_proj", "input_layernorm"]
    monkeypatch.setattr("glassbox.engine.fitting.trainee._targets", lambda model: half)
    with pytest.raises(UnsupportedModel, match="PEFT finds"), training_adapter(base, RECIPE):
        pass
    after = dict(base.model.named_modules())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert not hasattr(base.model, "peft_config")
