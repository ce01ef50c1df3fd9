"""Counted operations against torch's own counter, and the sums of a study."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from glassbox.pathways.discovery import sweep
from glassbox.pathways.orchestration import sizes
from glassbox.pathways.orchestration.costs import (
    LLAMA_3_1_8B,
    ContextShape,
    ModelShape,
    ReplayShape,
    corpus_flop,
    literal_flop,
    replay_flop,
    runs_of_source,
    sweep_flop,
)
from glassbox.pathways.orchestration.forecast import A40, Shares, StudySize, forecast_study
from glassbox.pathways.saes.readers import reader

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
    assert size.per_layer * len(size.replays()) == 37_500
    assert {len(texts) for texts in size.replays()} == {8}
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
    assert half.steps[1].flop == pytest.approx(whole.steps[1].flop / 2, rel=0.1)
    assert half.steps[2].flop == pytest.approx(whole.steps[2].flop / 2, rel=0.1)
    # The shortest of fewer texts is longer.
    one, other = (forecast_parts(n_contexts=n, close_texts=1)["its null"] for n in (8, 4))
    assert other > 1.2 * one
    # The sample, the tokens, the ablations on prompts.
    for mine, other in zip(half.steps[3:], whole.steps[3:], strict=True):
        assert mine.flop == pytest.approx(other.flop, rel=0.02)


def forecast_parts(**size):
    found = forecast_study(size=StudySize(**size))
    return {step.step: step.flop for step in found.steps}


def test_random_directions_cost_what_doses_do_in_the_texts_looked_at_closely():
    one, two, all_ = (forecast_parts(close_texts=n) for n in (1, 2, None))
    assert 2 * one["its null"] < two["its null"] < all_["its null"] / 4
    two_doses, one_dose = (forecast_parts(n_doses=n, close_texts=None) for n in (2, 1))
    plain = two_doses["validate"] - one_dose["validate"]
    assert all_["its null"] == pytest.approx(20 * plain)
    doses = {n: forecast_parts(n_doses=n, close_texts=1)["validate"] for n in (1, 3, 23)}
    assert doses[23] - doses[3] == pytest.approx(one["its null"])
    assert doses[3] - doses[1] == pytest.approx(one["its null"] / 10)
    without = forecast_parts(n_null=0)
    assert without["its null"] == 0
    assert without["its sample"] == pytest.approx(one["its sample"] / 21)


def test_random_directions_before_the_decision_cost_the_blocks_above_their_latent():
    found = forecast_parts(layers=(0, 31), n_null=3)
    whole = LLAMA_3_1_8B.forward_flop(32, 128)
    # Nothing is above the last layer, and all but one block above the first: from halfway on.
    own = whole * 31 / 32 * 50 * 48 / 2
    assert found["integrate"] == pytest.approx(own + 48 * whole, rel=0.05)
    assert found["its own null"] == pytest.approx(3 * own, rel=0.05)
    assert forecast_parts(n_null=0)["its own null"] == 0


def test_a_second_look_before_the_decision_is_not_everybodys():
    few, many = (forecast_parts(layers=(0, 16), n_null=n)["its own null"] for n in (1, 20))
    assert many == pytest.approx((5 + 20 / 2) * few)
    assert forecast_parts(layers=(0, 16), per_layer=2)["its own null"] * 25 == pytest.approx(
        20 * few
    )


def test_runs_of_a_source_are_counted_over_its_texts():
    # Eight texts: the first dose in each, in two of them two more doses and five directions.
    assert runs_of_source(doses=3, null=5, texts=8, close=2) == (8 + 2 * 7) / 8
    assert runs_of_source(doses=3, null=5, texts=8, close=None) == 8
    assert runs_of_source(doses=3, null=5, texts=8, close=20) == 8
    shared = runs_of_source(doses=3, null=5, texts=8, close=1, shared=4.0)
    assert 1 + 7 / 8 < shared < 1 + 4 * 7 / 8


def test_replays_end_where_the_target_stands():
    runs = [run for texts in StudySize().replays() for run in texts]
    for run in runs:
        assert 0 <= run.position < run.n_tokens <= 128
        assert run.layer < run.last_layer
    assert sum(run.n_tokens for run in runs) / len(runs) == pytest.approx(64.5, rel=0.02)
    changed = [run.n_tokens - run.position for run in runs]
    assert sum(changed) / len(runs) == pytest.approx(32.5, rel=0.03)


def test_sizes_are_counted_with_what_the_sweep_takes():
    options = sweep.SweepOptions()
    assert sizes.TILE_ROWS == sweep.TILE_ROWS
    assert (sizes.DIRECT_PAIRS, sizes.FOLDED_ROWS) == (sweep.DIRECT_PAIRS, reader.CHUNK)
    assert (sizes.Chunking().targets, sizes.CHUNK_POSITIONS) == (
        options.chunk_targets,
        options.chunk_positions,
    )
