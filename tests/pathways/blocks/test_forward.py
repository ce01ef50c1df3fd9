import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from glassbox.errors import UnsupportedModel
from glassbox.pathways.blocks.forward import KeyValues, block_forward, run_context
from glassbox.pathways.blocks.weights import take_blocks
from tests.pathways.blocks.models import MODELS, SIZES, make


def outputs_of(model, tokens):
    """What the model's own layer modules write."""
    seen = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
        for layer in model.model.layers
    ]
    with torch.no_grad():
        model(tokens[None])
    for hook in hooks:
        hook.remove()
    return [out[0][0] if isinstance(out, tuple) else out[0] for out in seen]


@pytest.mark.parametrize("name", MODELS)
def test_blocks_write_what_the_models_own_modules_write(name):
    model, tokens = make(name), torch.arange(20) % 60
    run = run_context(take_blocks(model), tokens)
    for layer, expected in enumerate(outputs_of(model, tokens)):
        torch.testing.assert_close(run.output(layer), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "mistral"])
@pytest.mark.parametrize("start", [1, 7, 19])
def test_a_suffix_behind_shared_keys_and_values_is_the_whole_texts_end(name, start):
    blocks = take_blocks(make(name))
    run = run_context(blocks, torch.arange(20) % 60)
    for layer in range(blocks.n_layers):
        x = run.inputs[layer][start:]
        rows = torch.stack([x, 2 * x, x])
        out, own = block_forward(
            blocks, layer, rows, start=start, before=run.caches[layer].upto(start)
        )
        torch.testing.assert_close(out[0], run.output(layer)[start:], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(out[2], out[0])
        alone, _ = block_forward(
            blocks, layer, rows[1], start=start, before=run.caches[layer].upto(start)
        )
        torch.testing.assert_close(out[1], alone, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(own.keys[0], run.caches[layer].keys[:, start:])


def test_rows_may_bring_keys_and_values_of_their_own():
    blocks = take_blocks(make("llama"))
    run = run_context(blocks, torch.arange(12))
    cache = run.caches[1].upto(5)
    rows = torch.stack([run.inputs[1][5:]] * 2)
    before = KeyValues(cache.keys.expand(2, -1, -1, -1), cache.values.expand(2, -1, -1, -1))
    out, _ = block_forward(blocks, 1, rows, start=5, before=before)
    torch.testing.assert_close(out[1], run.output(1)[5:], atol=2e-5, rtol=1e-4)


def test_only_as_many_blocks_run_as_are_asked_for():
    blocks = take_blocks(make("llama"))
    run = run_context(blocks, torch.arange(5), 2)
    assert len(run.inputs) == 3
    assert len(run.caches) == 2


def test_weights_are_shared_not_copied():
    model = make("llama")
    blocks = take_blocks(model)
    assert blocks.blocks[1].gate.data_ptr() == model.model.layers[1].mlp.gate_proj.weight.data_ptr()
    assert blocks.parameters_per_block == sum(
        p.numel() for n, p in model.model.layers[0].named_parameters() if "norm" not in n
    )
    assert (blocks.d_model, blocks.d_feed_forward, blocks.n_layers) == (32, 48, 3)


def test_models_with_other_blocks_are_refused_by_name():
    with pytest.raises(UnsupportedModel, match=r"'gpt2'.*Known: llama"):
        take_blocks(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9)))
    wrong = LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu", mlp_bias=True))
    with pytest.raises(UnsupportedModel, match=r"'gelu'.*a bias in the feed-forward part"):
        take_blocks(wrong)
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    with pytest.raises(UnsupportedModel, match="'dynamic'"):
        take_blocks(LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=dynamic)))
    biased = LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True))
    with pytest.raises(UnsupportedModel, match="behind its heads"):
        take_blocks(biased)
    quantised = make("llama")
    quantised.model.layers[0].mlp.up_proj = torch.nn.Identity()
    with pytest.raises(UnsupportedModel, match="Identity"):
        take_blocks(quantised)
