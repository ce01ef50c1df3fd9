"""The memory forecast: parameters by the library's own count, an 8B model on 24 GB."""

import json
from pathlib import Path

import pytest
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    BartConfig,
    LlamaConfig,
    MambaConfig,
    T5Config,
)

from glassbox.cli import main as shell
from glassbox.engine.batching.slots import Slots
from glassbox.engine.forecast import (
    Load,
    count_parameters,
    fitted,
    forecast,
    read_config,
)
from glassbox.engine.model.finding import find_config
from glassbox.errors import CorruptArtifact, InvalidValue, UnsupportedModel
from glassbox.testing.tiny import ARCHITECTURES, tiny_loaded

GB = 10**9

EIGHT_B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
"""The shape of Llama 3 8B."""


@pytest.fixture
def eight_b(tmp_path: Path) -> Path:
    path = tmp_path / "eight" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(EIGHT_B))
    return path.parent


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_parameters_are_those_of_the_real_model(name: str) -> None:
    config = ARCHITECTURES[name]()
    assert count_parameters(config) == tiny_loaded(name).model.num_parameters()


def test_a_model_without_heads_keeps_no_keys_and_answers_one_at_a_time() -> None:
    config = MambaConfig(vocab_size=500, hidden_size=32, num_hidden_layers=2, state_size=4)
    found = forecast(config, dtype="float32")
    assert (found.token_bytes, found.keys_bytes) == (0, 0)
    assert found.most_requests(64 * GB) == 1
    assert found.most_requests(GB // 10) == 0


@pytest.mark.parametrize("config", [T5Config(), BartConfig()], ids=["t5", "bart"])
def test_an_encoder_decoder_model_is_refused_in_a_sentence(config) -> None:
    with pytest.raises(UnsupportedModel, match="is an encoder-decoder model") as told:
        forecast(config, dtype="float32")
    assert len(str(told.value)) < 300


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_an_encoder_is_refused_as_it_is_when_it_is_loaded(kind: str) -> None:
    with pytest.raises(UnsupportedModel, match="each token looks at those that come later"):
        forecast(CONFIG_MAPPING[kind](), dtype="float32")


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "falcon", "gemma2", "bloom"])
def test_a_decoder_is_not_taken_for_an_encoder(kind: str) -> None:
    # GPT-NeoX's configuration says that it is no decoder, and BLOOM's attention says nothing.
    assert forecast(CONFIG_MAPPING[kind](), dtype="float32").n_parameters > 0


def test_tied_embeddings_are_counted_once() -> None:
    shape = {"vocab_size": 500, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64}
    shape |= {"num_attention_heads": 4}
    tied = LlamaConfig(**shape, tie_word_embeddings=True)
    free = LlamaConfig(**shape, tie_word_embeddings=False)
    assert count_parameters(free) - count_parameters(tied) == 500 * 32
    assert count_parameters(tied) == AutoModelForCausalLM.from_config(tied).num_parameters()


def test_an_8b_model_with_states_of_its_last_eight_layers_fits_24_gb(eight_b: Path) -> None:
    found = fitted(read_config(eight_b / "config.json"), 24 * GB, dtype="bfloat16", load=Load())
    assert found.n_parameters == 8_030_261_248
    assert found.weights_bytes == pytest.approx(16.06 * GB, rel=0.001)
    assert found.token_bytes == 128 * 1024
    assert found.load.n_layers == 8
    assert found.total_bytes <= 24 * GB
    assert found.most_requests(24 * GB) >= 8
    assert found.most_requests(12 * GB) == 0


def test_an_8b_model_in_32_bit_does_not_fit(eight_b: Path) -> None:
    found = fitted(read_config(eight_b / "config.json"), 24 * GB, dtype="float32")
    assert found.total_bytes > 24 * GB
    assert found.most_requests(24 * GB) == 0


def test_steps_shrink_until_they_fit(eight_b: Path) -> None:
    config = read_config(eight_b / "config.json")
    wide = Load(step_tokens=32768)
    assert forecast(config, dtype="bfloat16", load=wide).total_bytes > 24 * GB
    found = fitted(config, 24 * GB, dtype="bfloat16", load=wide)
    assert found.total_bytes <= 24 * GB
    assert 512 <= found.load.step_tokens < 32768


def test_a_token_takes_what_the_running_batch_gives_it() -> None:
    loaded = tiny_loaded("llama")
    config = loaded.model.config
    slots = Slots(
        config.num_hidden_layers,
        config.num_key_value_heads,
        config.head_dim,
        dtype=loaded.model.dtype,
        device=loaded.model.device,
        budget_bytes=1,
    )
    assert forecast(config, dtype="float32").token_bytes == slots.place_bytes


def test_more_of_anything_takes_more() -> None:
    config = read_config(find_config("tiny"))
    least = forecast(config, dtype="float32", load=Load(1, 100, 1, 512)).total_bytes
    for load in (Load(2, 100, 1, 512), Load(1, 200, 1, 512), Load(1, 100, 2, 512)):
        assert forecast(config, dtype="float32", load=load).total_bytes > least


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="dtype is 'int3'"):
        forecast(read_config(find_config("tiny")), dtype="int3")
    with pytest.raises(InvalidValue, match="1 or more requests"):
        forecast(read_config(find_config("tiny")), dtype="float32", load=Load(n_requests=0))
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "neverheardof"}')
    with pytest.raises(UnsupportedModel, match="does not know"):
        read_config(file)
    file.write_text('{"model_type": ')
    with pytest.raises(CorruptArtifact, match=r"config\.json"):
        read_config(file)


def test_the_command_says_whether_it_fits(
    eight_b: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["doctor", "--model", str(eight_b), "--memory", "24GB"]) == 0
    shown = capsys.readouterr()
    assert "8.03B in bfloat16" in shown.out
    assert "fits 24GB" in shown.err
    assert shell.main(["doctor", "--model", str(eight_b), "--memory", "16 GB", "--json"]) == 7
    assert json.loads(capsys.readouterr().out)["fits"] is False
    assert shell.main(["doctor", "--model", str(eight_b), "--memory", "lots"]) == 2
