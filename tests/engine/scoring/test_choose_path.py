import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    FalconConfig,
    GptOssConfig,
    LlamaConfig,
    RobertaConfig,
)

from glassbox.engine.scoring.choose_path import choose_path
from glassbox.errors import NonFiniteOutput, UnsupportedModel
from glassbox.testing import ARCHITECTURES, tiny_loaded

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
LLAMA = SIZES | {"num_key_value_heads": 4, "intermediate_size": 64}


def random_model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_ordinary_architectures_are_packed(architecture):
    loaded = tiny_loaded(architecture)
    assert choose_path(loaded.model, loaded.context) == ("packed", "")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BloomConfig(**{**SIZES, "n_layer": 2, "n_head": 4}), "do not take"),
        (FalconConfig(**SIZES, alibi=True), "do not take"),
        (
            GptOssConfig(
                **LLAMA, head_dim=8, num_local_experts=4, num_experts_per_tok=2,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            ),
            "s_aux",
        ),
        (
            LlamaConfig(
                **LLAMA,
                rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
            ),
            "dynamic",
        ),
    ],
    ids=["alibi", "alibi in the mask", "attention sinks", "rotation of the call"],
)  # fmt: skip
def test_what_cannot_be_packed_takes_the_plain_path(config, reason):
    path, why = choose_path(random_model(config), 128)
    assert path == "plain"
    assert reason in why


def test_a_window_that_does_not_reach_the_attention_is_noticed(monkeypatch):
    loaded = tiny_loaded("gemma3")
    swapped = ["full_attention", "sliding_attention"]
    monkeypatch.setattr(loaded.model.config, "layer_types", swapped)
    path, why = choose_path(loaded.model, loaded.context)
    assert path == "plain"
    assert "sliding windows" in why


def test_damaged_weights_are_told_at_load():
    loaded = tiny_loaded()
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[3] = float("nan")
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        choose_path(loaded.model, loaded.context)


def test_a_model_that_looks_at_later_tokens_is_refused():
    encoder = BertConfig(**SIZES, intermediate_size=64, is_decoder=False)
    with pytest.raises(UnsupportedModel, match=r"BertLMHeadModel is no causal .* as encoders like"):
        choose_path(random_model(encoder), 128)
    decoder = BertConfig(**SIZES, intermediate_size=64, is_decoder=True)
    assert choose_path(random_model(decoder), 128) == ("packed", "")


def test_a_model_that_cannot_be_run_at_all_is_refused():
    config = RobertaConfig(**SIZES | {"pad_token_id": 1}, intermediate_size=64, is_decoder=True)
    model = random_model(config)
    model.roberta.embeddings.padding_idx = None
    with pytest.raises(UnsupportedModel, match=r"cannot be run on ordinary tokens \(TypeError: "):
        choose_path(model, 128)
