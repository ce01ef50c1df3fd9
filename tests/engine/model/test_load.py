import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BartConfig,
    BartForConditionalGeneration,
    Gemma3Config,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from glassbox.engine.forecast import count_parameters, read_config
from glassbox.engine.model.files import short_name
from glassbox.engine.model.finding import cached_model, find_adapter, find_model
from glassbox.engine.model.load import load_model
from glassbox.engine.resident import load_engine
from glassbox.errors import (
    CorruptArtifact,
    InvalidValue,
    OutOfMemory,
    UnknownName,
    UnsupportedModel,
)
from glassbox.testing import tiny_loaded
from glassbox.testing.tiny import ARCHITECTURES, D_VOCAB, tiny_tokenizer
from glassbox.types import ModelSpec


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    loaded = tiny_loaded()
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def spec(folder, **options):
    return ModelSpec(str(folder), device="cpu", dtype="float32", **options)


def test_a_folder_gives_the_model_that_was_saved_in_it(saved):
    loaded, original = load_model(spec(saved)), tiny_loaded()
    for name, weight in original.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight, atol=0, rtol=0)
    assert loaded.context == original.context
    assert not loaded.model.training
    text = "a positive word"
    assert loaded.tokenizer(text)["input_ids"] == original.tokenizer(text)["input_ids"]


def test_the_digest_follows_every_byte_that_matters(saved, copy):
    before = load_model(spec(saved)).digest
    assert load_model(spec(copy)).digest == before
    (copy / "README.md").write_text("no part of the model")
    assert load_model(spec(copy)).digest == before
    weights = load_file(copy / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_model(spec(copy)).digest != before


def test_loading_says_nothing(saved, capfd):
    load_engine(spec(saved))
    assert capfd.readouterr() == ("", "")


def test_half_a_weights_file_is_damage(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptArtifact, match="not a whole safetensors file"):
        load_model(spec(copy))


def test_missing_weights_are_never_drawn_at_random(copy):
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptArtifact, match=r"1 weight is missing, such as .*up_proj"):
        load_model(spec(copy))


@pytest.mark.parametrize("stage", ["from_pretrained", "to"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        MemoryError(),
    ],
)
def test_a_model_that_does_not_fit_is_not_called_damaged(saved, monkeypatch, stage, error):
    def full(*_given, **_named):
        raise error

    kinds = {"from_pretrained": AutoModelForCausalLM, "to": PreTrainedModel}
    monkeypatch.setattr(kinds[stage], stage, full)
    with pytest.raises(OutOfMemory, match="does not fit into memory"):
        load_model(ModelSpec(str(saved), device="cpu"))


def test_a_missing_shard_is_named(copy):
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptArtifact, match="model-00002-of-00002"):
        load_model(spec(copy))


def test_weights_of_another_shape_are_damage(copy):
    config = json.loads((copy / "config.json").read_text())
    config["intermediate_size"] = 48
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CorruptArtifact, match="do not fit"):
        load_model(spec(copy))


def test_pickled_weights_are_not_read(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match="no weights in safetensors"):
        load_model(spec(copy))


def test_code_in_the_folder_is_not_run(copy, monkeypatch):
    # The library asks on standard input, where the lines of a pipe may say anything.
    monkeypatch.setattr("builtins.input", lambda _: "y")
    config = json.loads((copy / "config.json").read_text())
    config["model_type"] = "of_its_own"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UnsupportedModel, match="never run"):
        load_model(spec(copy))
    with pytest.raises(UnsupportedModel, match="never run"):
        read_config(copy / "config.json")
    # A model that the library knows, whose tokenizer it does not.
    config["model_type"] = "llama"
    del config["auto_map"]
    (copy / "config.json").write_text(json.dumps(config))
    told = json.loads((copy / "tokenizer_config.json").read_text())
    told |= {"tokenizer_class": "OfItsOwn", "auto_map": {"AutoTokenizer": ["code.Own", None]}}
    (copy / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(CorruptArtifact, match="no usable tokenizer"):
        load_model(spec(copy))


@pytest.mark.parametrize(
    "model",
    [
        T5ForConditionalGeneration(
            T5Config(vocab_size=D_VOCAB, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
        ),
        BartForConditionalGeneration(
            BartConfig(
                vocab_size=D_VOCAB, d_model=16, encoder_layers=1, decoder_layers=1,
                encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
                decoder_ffn_dim=16, max_position_embeddings=64,
            )
        ),
    ],
    ids=["t5", "bart"],
)  # fmt: skip
def test_an_encoder_decoder_model_is_refused_in_a_sentence(model, tmp_path):
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="is an encoder-decoder model") as told:
        load_model(spec(tmp_path))
    assert len(str(told.value)) < 300


def test_of_a_gemma_3_that_also_sees_pictures_the_text_part_is_loaded(tmp_path):
    text = ARCHITECTURES["gemma3"]().to_dict()
    sees = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    torch.manual_seed(0)
    whole = AutoModelForImageTextToText.from_config(
        Gemma3Config(text_config=text, vision_config=sees), dtype=torch.float32
    ).eval()
    whole.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    engine = load_engine(spec(tmp_path))
    prompt, answer = (5, 6, 7, 90, 12), (40, 33)
    found = engine.logprobs([prompt], [answer]).values[0, 0]
    with torch.no_grad():
        logits = (
            whole(input_ids=torch.tensor([(*prompt, *answer)])).logits[0, -3:-1].log_softmax(-1)
        )
    assert found == pytest.approx(float(logits[0, 40] + logits[1, 33]), abs=1e-4)
    config = read_config(tmp_path / "config.json")
    assert count_parameters(config) == engine.info.n_parameters < whole.num_parameters()
    engine.close()


def test_a_model_without_a_tokenizer_is_damage(copy):
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CorruptArtifact, match="tokenizer"):
        load_model(spec(copy))


def test_an_adapter_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="holds an adapter"):
        load_model(spec(tmp_path))


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"no config\.json"):
        load_model(spec(tmp_path))


@pytest.mark.parametrize("name", ["somebody/some-model", "no-such-model"])
def test_a_hub_name_without_a_hub(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownName, match="cannot be reached"):
        find_model(name)


@pytest.mark.parametrize("name", ["./missing/folder", "/no/such/folder", "a/b/c", ""])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(UnknownName, match="Give a folder"):
        find_model(name)


def test_an_adapter_is_found_as_a_model_is(tmp_path, monkeypatch):
    asked = []

    def fetch(name, *, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        return str(tmp_path)

    assert find_adapter(str(tmp_path)) == tmp_path
    with pytest.raises(UnknownName, match="Give a folder or a hub name"):
        find_adapter("runs/of/mine")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownName, match=r"No adapter 'somebody/lora'.* cannot be reached"):
        find_adapter("somebody/lora")
    monkeypatch.setattr("glassbox.engine.model.finding.snapshot_download", fetch)
    assert find_adapter("somebody/lora") == find_adapter("somebody/lora@v1") == tmp_path
    (name, revision, files), named = asked
    assert (name, revision) == ("somebody/lora", None)
    assert named[:2] == ("somebody/lora", "v1")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files)


@pytest.fixture
def hub(saved, tmp_path, monkeypatch):
    """The hub's cache with one model in two commits, as the hub's own library lays it out."""
    commits = {"main": "1" * 40, "v1": "2" * 40}
    repo = tmp_path / "hub" / "models--somebody--some-model"
    for branch, commit in commits.items():
        snapshot = repo / "snapshots" / commit
        shutil.copytree(saved, snapshot)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / branch).write_text(commit)
    config = repo / "snapshots" / commits["v1"] / "config.json"
    config.write_text(config.read_text().replace('"rope_theta"', '"another": 1, "rope_theta"'))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return {branch: repo / "snapshots" / commit for branch, commit in commits.items()}


def test_a_hub_name_may_say_its_revision(hub, monkeypatch, tmp_path):
    name = "somebody/some-model"
    assert find_model(name) == find_model(f"{name}@main") == hub["main"]
    for revision in ("v1", "2" * 40):
        assert find_model(f"{name}@{revision}") == find_model(name, revision) == hub["v1"]
        assert cached_model(f"{name}@{revision}") == hub["v1"]
    assert cached_model(f"{name}@v9") is None
    with pytest.raises(
        UnknownName, match=r"No model 'somebody/some-model'.*not in the hub's cache"
    ):
        find_model(f"{name}@v9")
    with pytest.raises(InvalidValue, match="'v1', which the name"):
        find_model(f"{name}@v1", "main")
    with pytest.raises(UnknownName, match="Give a folder"):
        find_model(f"{name}@")
    first, second = load_model(spec(name)), load_model(spec(f"{name}@v1"))
    assert (first.name, second.name) == (name, f"{name}@v1")
    assert first.digest != second.digest
    # A folder of such a name is that folder.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(hub["main"], tmp_path / "mine@v1")
    assert find_model("mine@v1") == Path("mine@v1")
    assert short_name("somebody/some-model@refs/pr/1") == "some-model"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantised_weights_are_refused_without_cuda(saved, quantization):
    with pytest.raises(UnsupportedModel, match="CUDA"):
        load_model(spec(saved, quantization=quantization))


def test_half_precision_on_request(saved):
    loaded = load_model(ModelSpec(str(saved), device="cpu", dtype="bfloat16"))
    assert loaded.model.dtype == torch.bfloat16


def test_an_unknown_device_is_refused(saved):
    with pytest.raises(InvalidValue, match="device is 'toaster'"):
        load_model(ModelSpec(str(saved), device="toaster"))
