"""Counted operations against torch's own counter, and the sums of a study."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from glassbox.pathways.orchestration.costs import (
    LLAMA_3_1_8B,
    ContextShape,
    ModelShape,
    ReplayShape,
    corpus_flop,
    literal_flop,
    replay_flop,
    sweep_flop,
)
from glassbox.pathways.orchestration.forecast import A40, Shares, StudySize, forecast_study

SMALL = ModelShape("small", 3, 64, 96, 4, 2, 16, 50, itemsize=4)


def llama(shape):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=shape.d_model,
        intermediate_size=shape.d_feed_forward,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.d_head,
        vocab_size=shape.d_vocab,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config).eval(), config


def attention_surplus(shape, n):
    # Eager attention multiplies the masked half, too; the count here is of what is needed.
    return shape.n_layers * 4 * shape.n_heads * shape.d_head * (n * n - n * (n + 1) // 2)


@pytest.mark.parametrize("n_tokens", [1, 7, 24])
def test_a_forward_pass_is_counted_as_torch_counts_it(n_tokens):
    model, config = llama(SMALL)
    assert ModelShape.of_config(config, name="small", itemsize=4) == SMALL
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.model(torch.zeros(1, n_tokens, dtype=torch.long), use_cache=False)
    rotary = 2 * n_tokens * SMALL.d_head // 2
    counted = SMALL.forward_flop(3, n_tokens) + attention_surplus(SMALL, n_tokens)
    assert counter.get_total_flops() == pytest.approx(counted + rotary, rel=1e-3)


def test_a_cotangent_is_counted_as_torch_counts_a_backward_pass():
    n_tokens = 24
    model, _ = llama(SMALL)
    model.requires_grad_(requires_grad=False)
    embedded = torch.randn(1, n_tokens, SMALL.d_model, requires_grad=True)
    out = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    counted = SMALL.vjp_flop(3, n_tokens) + 2 * attention_surplus(SMALL, n_tokens)
    assert counter.get_total_flops() == pytest.approx(counted, rel=1e-3)


def test_weights_are_counted_as_the_model_holds_them():
    model, _ = llama(SMALL)
    matrices = sum(each.numel() for each in model.parameters() if each.dim() == 2)
    assert SMALL.weights_bytes == 4 * matrices
    assert LLAMA_3_1_8B.weights_bytes == pytest.approx(16.06e9, rel=1e-3)
    assert LLAMA_3_1_8B.block_parameters == 218_103_808


@given(st.integers(1, 300), st.integers(0, 300))
def test_a_suffix_and_its_prefix_make_a_whole(n_tokens, first):
    first = min(first, n_tokens)
    whole = SMALL.forward_flop(3, n_tokens)
    assert SMALL.forward_flop(3, first) + SMALL.forward_flop(3, n_tokens, first=first) == whole


def test_a_sweep_shares_what_targets_of_one_text_share():
    together = [ContextShape(32, ((3, 10), (2, 30)))]
    apart = [ContextShape(32, ((3, 10),)), ContextShape(32, ((2, 30),))]
    assert sweep_flop(LLAMA_3_1_8B, together) < sweep_flop(LLAMA_3_1_8B, apart)
    assert sweep_flop(LLAMA_3_1_8B, apart) < literal_flop(LLAMA_3_1_8B, apart, d_sae=32768)


def test_a_replay_from_the_last_layer_costs_nothing():
    assert replay_flop(SMALL, [ReplayShape(16, 2, 3, last_layer=2)]) == 0
    assert replay_flop(SMALL, [ReplayShape(16, 0, 15, last_layer=2)]) == SMALL.forward_flop(
        2, 16, first=15
    )


def test_reading_latents_adds_next_to_nothing_to_a_corpus_pass():
    plain = LLAMA_3_1_8B.forward_flop(32, 128)
    read = corpus_flop(LLAMA_3_1_8B, [128], dict.fromkeys(range(1, 32), 50))
    assert plain < read < 1.002 * plain


def test_the_plan_of_the_source_has_1550_latents_and_37500_pathways():
    size = StudySize()
    assert size.n_latents == 1550
    assert size.n_targets == 1500
    assert size.n_pathways == 37_500
    assert len(size.replays()) == 37_500
    pairs = [target for context in size.contexts() for target in context.targets]
    assert len(pairs) == 12_000
    assert all(2 <= layer <= 31 and 0 <= position < 128 for layer, position in pairs)


def test_fewer_sources_than_the_top_bound_the_pathways():
    assert StudySize(layers=(0, 1, 2), per_layer=4, top=25).n_pathways == 4 * 4 + 4 * 8


def test_a_forecast_is_operations_over_rate_and_share():
    found = forecast_study(shares=Shares(sweep=0.5, replay=0.5, corpus=0.5))
    for step in found.steps:
        assert step.seconds == pytest.approx(step.flop / (0.5 * A40.matmul_flop_s))
    assert found.seconds == pytest.approx(sum(step.seconds for step in found.steps))
    content = found.to_json()
    assert content["plan_pathways"] == 38_750
    assert content["device"]["origin"] == "stated"


def test_half_the_texts_are_half_the_sweep_and_replay():
    whole, half = (forecast_study(size=StudySize(n_contexts=n)) for n in (8, 4))
    assert half.steps[0].flop == pytest.approx(whole.steps[0].flop / 2, rel=0.01)
    assert half.steps[1].flop == pytest.approx(whole.steps[1].flop / 2)
    assert half.steps[2].flop == pytest.approx(whole.steps[2].flop / 2)
    assert half.steps[3].flop == whole.steps[3].flop


def test_every_random_direction_costs_what_a_dose_does():
    found = forecast_study(size=StudySize(n_doses=3, n_null=12))
    validate, null = found.steps[1:3]
    assert null.flop == pytest.approx(4 * validate.flop)
    assert null.plan_s is None
    assert forecast_study(size=StudySize(n_null=0)).steps[2].flop == 0
