import random
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine.layout.packing import common_prefix_length
from glassbox.engine.layout.trie import build_trie
from glassbox.engine.model.blocks import blocks_of
from glassbox.engine.scoring.forward import (
    continuation_logprobs,
    path_logprobs,
    prefix_states,
    read_logits,
)
from glassbox.testing import ARCHITECTURES, tiny_loaded

CLOSE = 1e-4
NESTED = build_trie([(5,), (6, 7), (6, 7, 8), (6, 9), (6,), (10, 11, 12, 13), (10, 11, 14)])

tokens = st.integers(0, 60)
prompt_sets = st.tuples(
    st.lists(tokens, max_size=20),
    st.lists(st.lists(tokens, min_size=1, max_size=20), min_size=1, max_size=7),
).map(lambda drawn: [(*drawn[0], *rest) for rest in drawn[1]])
continuation_sets = st.lists(
    st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=6,
    unique=True,
)


@cache
def model(architecture):
    return tiny_loaded(architecture).model


def prompts(n=9, n_prefix=20, seed=0):
    draw = random.Random(seed)
    prefix = tuple(draw.randrange(300) for _ in range(n_prefix))
    return [
        prefix + tuple(draw.randrange(300) for _ in range(draw.randint(1, 25))) for _ in range(n)
    ]


def plain(architecture, rows, trie):
    with torch.inference_mode():
        return continuation_logprobs(model(architecture), rows, trie, path="plain")


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_packed_equals_plain(architecture):
    rows = prompts()
    n_prefix = common_prefix_length(rows)
    expected = plain(architecture, rows, NESTED)
    with torch.inference_mode():
        states = prefix_states(model(architecture), rows[0][:n_prefix])
        with_states = read_logits(model(architecture), rows, NESTED, prefix=(n_prefix, states))
        inside = continuation_logprobs(model(architecture), rows, NESTED)
        without = read_logits(model(architecture), rows, NESTED, prefix=(0, {}))
    torch.testing.assert_close(inside, expected, atol=CLOSE, rtol=0)
    torch.testing.assert_close(path_logprobs(with_states, NESTED), expected, atol=CLOSE, rtol=0)
    torch.testing.assert_close(path_logprobs(without, NESTED), expected, atol=CLOSE, rtol=0)
    # The texts differ in what matters: a law about constants would hold for any mask.
    assert expected.std(dim=0).min() > 0.05


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
@settings(max_examples=25)
@given(rows=prompt_sets, continuations=continuation_sets)
def test_packed_equals_plain_whatever_is_asked(architecture, rows, continuations):
    trie = build_trie(continuations)
    with torch.inference_mode():
        packed = continuation_logprobs(model(architecture), rows, trie)
    torch.testing.assert_close(packed, plain(architecture, rows, trie), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_gradients_equal_those_of_the_plain_path(architecture):
    copy = tiny_loaded(architecture).model.requires_grad_(True)
    rows, gradients = prompts(5), []
    for path in ("packed", "plain"):
        copy.zero_grad()
        continuation_logprobs(copy, rows, NESTED, path=path).square().mean().backward()
        gradients.append({name: weight.grad for name, weight in copy.named_parameters()})
    for name, gradient in gradients[1].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            gradients[0][name], gradient, atol=1e-4 * max(scale, 1.0), rtol=1e-3
        )


def test_the_model_is_the_librarys_own_again_afterwards():
    stock = model("llama")
    before = stock.config._attn_implementation
    continuation_logprobs(stock, prompts(2), NESTED)
    assert stock.config._attn_implementation == before
    blocks = blocks_of(stock)
    assert blocks is not None
    assert not blocks[-1]._forward_pre_hooks
    assert not blocks[-1]._forward_hooks


def test_soft_caps_are_honoured():
    from transformers import AutoModelForCausalLM, Gemma2Config

    config = Gemma2Config(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=9,
        attn_logit_softcapping=2.0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    capped = AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        for weight in capped.parameters():
            weight.mul_(3)
        packed = continuation_logprobs(capped, prompts(), NESTED)
        expected = continuation_logprobs(capped, prompts(), NESTED, path="plain")
    torch.testing.assert_close(packed, expected, atol=CLOSE, rtol=0)
