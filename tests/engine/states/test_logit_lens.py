"""The logit lens against the library's own states, and against the model itself."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPTNeoConfig, LlamaConfig, OpenAIGPTConfig

from glassbox.engine.lens import LensEngine, LensRequest
from glassbox.engine.model.blocks import blocks_of
from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.states import logit_lens as lens_module
from glassbox.engine.states.logit_lens import logit_lens, read_lens
from glassbox.errors import (
    InvalidValue,
    NonFiniteOutput,
    OutOfMemory,
    TextTooLong,
    UnknownName,
    UnsupportedModel,
)
from glassbox.testing import tiny_engine, tiny_loaded
from glassbox.testing.tiny import ARCHITECTURES, D_VOCAB

TOKENS = (0, 72, 69, 76, 290, 76, 79, 12, 265, 271, 40, 33, 90, 91, 92, 7, 8, 9, 210)
POSITIONS = (0, 3, 7, 12, 17)

FINAL_NORM = {
    "llama": lambda model: model.model.norm,
    "mistral": lambda model: model.model.norm,
    "qwen3": lambda model: model.model.norm,
    "gemma3": lambda model: model.model.norm,
    "phi": lambda model: model.model.final_layernorm,
    "gpt2": lambda model: model.transformer.ln_f,
    "gpt_neox": lambda model: model.gpt_neox.final_layer_norm,
}


def _model(architecture="llama", seed=0):
    return tiny_loaded(architecture, seed).model


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_last_row_is_the_models_own_next_token_distribution(architecture):
    model = _model(architecture)
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=D_VOCAB)
    with torch.inference_mode():
        own = model(torch.tensor([TOKENS])).logits[0, list(POSITIONS)].float().log_softmax(-1)
    ids = torch.from_numpy(lens.top_ids[-1])
    assert np.allclose(lens.top_logprobs[-1], own.gather(1, ids).numpy(), atol=1e-4)
    entropy = -(own.exp() * own).sum(-1).numpy()
    assert np.allclose(lens.entropies[-1], entropy, atol=1e-4)
    assert np.allclose(lens.final_logprobs[-1], own.max(-1).values.numpy(), atol=1e-4)


def test_blocks_that_answer_with_a_list_are_read():
    config = OpenAIGPTConfig(vocab_size=D_VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=1)
    with torch.inference_mode():
        own = model(torch.tensor([TOKENS])).logits[0, list(POSITIONS)].float().log_softmax(-1)
    assert np.allclose(lens.final_logprobs[-1], own.max(-1).values.numpy(), atol=1e-4)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_row_is_final_norm_and_unembedding_of_that_blocks_output(architecture):
    model = _model(architecture, seed=1)
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=3)
    caught = []
    handles = [
        block.register_forward_hook(
            lambda _module, _args, output: caught.append(
                output[0] if isinstance(output, tuple) else output
            )
        )
        for block in blocks_of(model)
    ]
    with torch.inference_mode():
        model(torch.tensor([TOKENS]))
        for handle in handles:
            handle.remove()
        for layer, state in enumerate(caught):
            normed = FINAL_NORM[architecture](model)(state[0, list(POSITIONS)])
            logprobs = model.get_output_embeddings()(normed).float().log_softmax(-1)
            best = logprobs.topk(3)
            assert np.allclose(lens.top_logprobs[layer], best.values.numpy(), atol=1e-4)
            assert (lens.top_ids[layer] == best.indices.numpy()).all()


def test_the_lens_leaves_the_model_as_it_was():
    model = _model()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    text = torch.tensor([TOKENS])
    with torch.inference_mode():
        expected = model(text).logits
        logit_lens(model, TOKENS, POSITIONS, top_k=1)
        assert torch.equal(model(text).logits, expected)
    for name, module in model.named_modules():
        assert module.__dict__.keys() == before[name].keys()
        assert not module._forward_hooks


def test_a_block_with_a_forward_of_its_own_gets_it_back():
    model = _model()
    block = blocks_of(model)[0]
    own = block.forward
    block.forward = own
    logit_lens(model, TOKENS, (2,), top_k=1)
    assert block.__dict__["forward"] is own


def test_the_choice_of_positions_changes_nothing_else():
    model = _model()
    together = logit_lens(model, TOKENS, POSITIONS, top_k=4)
    for column, position in enumerate(POSITIONS):
        alone = logit_lens(model, TOKENS, (position,), top_k=4)
        assert np.allclose(together.top_logprobs[:, column], alone.top_logprobs[:, 0], atol=1e-4)
        assert np.allclose(together.entropies[:, column], alone.entropies[:, 0], atol=1e-4)


def test_blocks_that_answer_with_tuples_are_read_too():
    config = GPTNeoConfig(
        vocab_size=D_VOCAB, hidden_size=32, num_layers=2, num_heads=4,
        attention_types=[[["global", "local"], 1]], max_position_embeddings=64,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=1)
    with torch.inference_mode():
        own = model(torch.tensor([TOKENS])).logits[0, list(POSITIONS)].log_softmax(-1)
    assert np.allclose(lens.final_logprobs[-1], own.max(-1).values.numpy(), atol=1e-4)


def test_a_model_whose_answer_needs_more_than_its_last_block_is_refused():
    model = _model()

    def remember(_module, _args, output):
        # The whole text and the lens's own calls differ in length: only the former is bent.
        if output.last_hidden_state.shape[1] == len(TOKENS):
            output.last_hidden_state = output.last_hidden_state.roll(1, -1)
        return output

    model.model.register_forward_hook(remember)
    with pytest.raises(UnsupportedModel, match="no logit lens"):
        logit_lens(model, TOKENS, (1,), top_k=1)


def test_a_model_without_a_list_of_blocks_is_refused():
    model = _model()
    model.config.num_hidden_layers = 5
    with pytest.raises(UnsupportedModel, match="blocks of LlamaForCausalLM"):
        logit_lens(model, TOKENS, (2,), top_k=1)


def test_each_layers_logits_are_reduced_before_the_next_ones_are_made(monkeypatch):
    config = LlamaConfig(
        vocab_size=D_VOCAB, hidden_size=32, intermediate_size=32, num_hidden_layers=6,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    calls = []
    end, layer = lens_module._end, lens_module._layer
    monkeypatch.setattr(lens_module, "_end", lambda *each: calls.append("end") or end(*each))
    monkeypatch.setattr(lens_module, "_layer", lambda *each: calls.append("layer") or layer(*each))
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=2)
    assert lens.entropies.shape == (6, 5)
    assert calls == ["end", "layer"] * 6


def test_tokens_that_cannot_come_are_read_like_any():
    model = _model()
    plain = logit_lens(model, TOKENS, POSITIONS, top_k=3)
    unlikely = sorted(set(range(D_VOCAB)) - set(plain.top_ids.ravel().tolist()))[:5]

    def pad(_module, _args, output):
        return output.index_fill(-1, torch.tensor(unlikely), -torch.inf)

    model.get_output_embeddings().register_forward_hook(pad)
    lens = logit_lens(model, TOKENS, POSITIONS, top_k=3)
    assert (lens.top_ids == plain.top_ids).all()
    assert np.isfinite(lens.entropies).all()


def test_nan_weights_are_an_error():
    model = _model()
    blocks_of(model)[1].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        logit_lens(model, TOKENS, (1,), top_k=1)


def test_the_engine_reads_the_lens_between_other_requests():
    engine = tiny_engine()
    assert isinstance(engine, LensEngine)
    lens = engine.lens(LensRequest(TOKENS, POSITIONS, top_k=1))
    (answer,) = engine.generate(
        [Request(TOKENS[:4], sampling=Sampling(max_tokens=1, temperature=0.0))]
    )
    assert lens.top_ids[-1, 1, 0] == answer.tokens.token_ids[0]
    assert lens.top_logprobs[-1, 1, 0] == pytest.approx(answer.tokens.logprobs[0], abs=1e-4)
    engine.close()


# PEFT's own wrapper reads a name that transformers has renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_engine_reads_an_adapter_through_the_lens(tmp_path):
    engine = tiny_engine()
    torch.manual_seed(3)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(_model(), config).save_pretrained(tmp_path, save_embedding_layers=False)
    name = engine.load_adapter(tmp_path, name="a")
    base = engine.lens(LensRequest(TOKENS, (18,), top_k=1))
    tuned = engine.lens(LensRequest(TOKENS, (18,), top_k=1, adapter=name))
    own = engine.logprobs([TOKENS], [(5,)], adapter=name)
    assert tuned.entropies[-1, 0] == pytest.approx(own.entropy[0], abs=1e-4)
    assert abs(tuned.entropies - base.entropies).max() > 1e-3
    (adapter,) = engine.adapters
    assert (base.adapter_digest, tuned.adapter_digest) == (None, adapter.digest)
    with pytest.raises(UnknownName, match="adapter"):
        engine.lens(LensRequest(TOKENS, (18,), adapter="b"))
    engine.close()


def test_a_text_that_does_not_fit_into_memory_says_so(monkeypatch):
    def full(*_args, **_kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    model = _model()
    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(OutOfMemory, match="fewer positions"):
        read_lens(model, LensRequest(TOKENS, (1,)))

    def broken(*_args, **_kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        read_lens(model, LensRequest(TOKENS, (1,)))


INFO = EngineInfo(
    name="x", digest="0", architecture="A", n_parameters=1, n_layers=2, d_model=4,
    d_vocab=10, context=8, dtype="float32", device="cpu", scoring_path="plain",
)  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (LensRequest((), (0,)), "one or more token ids"),
        (LensRequest((1, 10), (0,)), "each from 0 to 9"),
        (LensRequest((1, 2), ()), "number of positions is 0"),
        (LensRequest(tuple([1] * 8), tuple([0] * 65)), "number of positions is 65"),
        (LensRequest((1, 2), (2,)), "each from 0 to 1"),
        (LensRequest((1, 2, 3), (0,), n_hidden=1), "each from 1 to 2"),
        (LensRequest((1, 2, 3), (2, 1)), "ascending and distinct"),
        (LensRequest((1, 2), (0,), top_k=0), "top_k is 0; allowed: 1 to 10"),
        (LensRequest((1, 2), (0,), top_k=11), "top_k is 11; allowed: 1 to 10"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(request_, message):
    with pytest.raises(InvalidValue, match=message):
        request_.check(INFO)


@pytest.mark.parametrize("odd", [10, -1])
def test_an_unknown_token_is_named_without_the_rest_of_the_text(odd):
    with pytest.raises(InvalidValue, match=f"token ids is {odd}; allowed") as caught:
        LensRequest((7, 8, 7, odd), (3,), n_hidden=3).check(INFO)
    assert "8" not in str(caught.value)


def test_a_text_over_the_context_is_refused():
    with pytest.raises(TextTooLong, match="9 tokens"):
        LensRequest(tuple([1] * 9), (0,)).check(INFO)
