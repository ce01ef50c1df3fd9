import pytest
import torch
from torch import nn

from glassbox.engine.model import packed_linear
from glassbox.engine.model.packed_linear import MAX_TOKENS, PackedLinears


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(512, 1408), nn.Linear(1408, 512, bias=False))
    return layers.requires_grad_(False).eval()


@pytest.mark.parametrize("n_tokens", [1, 32, MAX_TOKENS])
def test_arranged_weights_give_the_same_products(model, n_tokens):
    packed = PackedLinears(model)
    inputs = torch.randn(1, n_tokens, 512)
    expected = model(inputs)
    with torch.inference_mode(), packed(n_tokens):
        arranged = [layer for layer in model if "forward" in layer.__dict__]
        found = model(inputs)
    assert len(arranged) in (0, 2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not any("forward" in layer.__dict__ for layer in model)


def test_large_passes_and_large_models_are_left_alone(model, monkeypatch):
    packed = PackedLinears(model)
    with packed(MAX_TOKENS + 1):
        assert not any("forward" in layer.__dict__ for layer in model)
    monkeypatch.setattr(packed_linear, "MAX_BYTES", 1000)
    with packed(1):
        assert not any("forward" in layer.__dict__ for layer in model)


def test_hooks_still_fire(model):
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    with torch.inference_mode(), PackedLinears(model)(1):
        model(torch.randn(1, 1, 512))
    assert seen == [1]
