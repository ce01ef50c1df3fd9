"""One adapter at a time: PEFT is the oracle, bad folders are refused, the base stays itself."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from glassbox.engine.fitting.fit import fit
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.files import read_adapter
from glassbox.engine.protocol import AdapterRecipe
from glassbox.errors import (
    AdapterMismatch,
    ConflictError,
    CorruptArtifact,
    UnknownName,
    UnsupportedModel,
)
from tests.engine.fit_world import RECIPE, answering, plain_forward, task, tiny_base, tiny_model

# PEFT's own wrapper, the oracle here, reads a name that transformers has renamed.
oracle_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TOKENS = torch.tensor([[1, 25, 11, 40, 33], [1, 60, 21, 22, 12]])


def logits(bank: AdapterBank) -> torch.Tensor:
    with torch.no_grad():
        return bank.base.model(input_ids=TOKENS).logits


def fitted_folder(folder: Path, architecture: str, seed: int = 0) -> Path:
    base = tiny_base(architecture)
    recipe = AdapterRecipe(**(vars(RECIPE) | {"epochs": 1, "seed": seed}))
    return fit(base, plain_forward(base.model), task(), folder, recipe).folder


def tiny_bank(architecture: str = "llama", **options) -> AdapterBank:
    return AdapterBank(tiny_base(architecture, **options))


def names(bank: AdapterBank) -> list[str]:
    return [info.name for info in bank.infos()]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return fitted_folder(tmp_path_factory.mktemp("made"), "llama")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return fitted_folder(tmp_path_factory.mktemp("other"), "llama", seed=1)


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@oracle_warns
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_plain_peft_loads_the_folder_and_gives_the_same_logits(architecture, tmp_path):
    folder = fitted_folder(tmp_path, architecture)
    bank = tiny_bank(architecture)
    before = logits(bank)
    name = bank.register(folder).name
    with answering(bank, name):
        ours = logits(bank)
    oracle = PeftModel.from_pretrained(tiny_model(architecture), folder).eval()
    with torch.no_grad():
        assert_close(ours, oracle(input_ids=TOKENS).logits, atol=1e-6, rtol=0)
    assert not torch.equal(ours, before)


@oracle_warns
def test_an_adapter_that_peft_saved_loads(tmp_path):
    torch.manual_seed(7)
    config = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    oracle = get_peft_model(tiny_model(), config).eval()
    oracle.save_pretrained(tmp_path)
    bank = tiny_bank()
    name = bank.register(tmp_path, "from peft v1.2").name
    with answering(bank, name), torch.no_grad():
        assert_close(logits(bank), oracle(input_ids=TOKENS).logits, atol=1e-6, rtol=0)
    assert read_adapter(tmp_path).base_digest == ""


def test_the_base_answers_bit_for_bit_the_same_beside_loaded_adapters(made, other):
    bank = tiny_bank()
    before = logits(bank)
    first, second = (bank.register(each).name for each in (made, other))
    assert torch.equal(logits(bank), before)
    with answering(bank, first):
        of_first = logits(bank)
    with answering(bank, second):
        of_second = logits(bank)
    with answering(bank, first):
        assert torch.equal(logits(bank), of_first)
    with answering(bank, None):
        assert torch.equal(logits(bank), before)
    assert not torch.equal(of_first, of_second)
    alone = tiny_bank()
    with answering(alone, alone.register(other).name):
        assert torch.equal(logits(alone), of_second)


def test_an_error_inside_a_selection_gives_the_base_back(made):
    bank = tiny_bank()
    before = logits(bank)
    name = bank.register(made).name
    with pytest.raises(KeyboardInterrupt), answering(bank, name):
        raise KeyboardInterrupt
    assert torch.equal(logits(bank), before)


def test_unloading_leaves_the_others_and_in_the_end_the_untouched_model(made, other):
    bank = tiny_bank()
    before = logits(bank)
    layers = [(name, type(module)) for name, module in bank.base.model.named_modules()]
    bank.register(made, "first")
    bank.register(other, "second")
    with answering(bank, "second"):
        of_second = logits(bank)
    bank.unregister("first")
    assert names(bank) == ["second"]
    assert torch.equal(logits(bank), before)
    with answering(bank, "second"):
        assert torch.equal(logits(bank), of_second)
    bank.unregister("second")
    assert [(name, type(m)) for name, m in bank.base.model.named_modules()] == layers
    assert torch.equal(logits(bank), before)
    bank.register(made, "first")
    assert names(bank) == ["first"]


def test_unknown_adapters_are_an_error_and_never_the_base(made):
    bank = tiny_bank()
    bank.register(made, "tuned")
    with (
        pytest.raises(UnknownName, match=r"No adapter 'tunde'.*Did you mean 'tuned'"),
        answering(bank, "tunde"),
    ):
        pass
    with pytest.raises(UnknownName, match="No adapter 'x'"):
        bank.unregister("x")


def test_the_default_name_is_the_digest_and_loading_twice_does_nothing(made):
    bank = tiny_bank()
    name = bank.register(made).name
    assert [name] == [read_adapter(made).digest] == [each.digest for each in bank.infos()]
    assert bank.register(made).name == name
    assert names(bank) == [name]


def test_a_name_is_not_given_to_two_adapters(made, other):
    bank = tiny_bank()
    bank.register(made, "tuned")
    with pytest.raises(ConflictError, match="The name 'tuned' belongs to"):
        bank.register(other, "tuned")


def test_loading_leaves_the_global_generator_alone(made):
    bank = tiny_bank()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    bank.register(made)
    assert torch.equal(torch.rand(4), expected)


def test_an_adapter_of_another_base_model_is_refused_and_both_are_named(made):
    bank = tiny_bank(digest="e" * 64)
    with pytest.raises(AdapterMismatch, match=r"made for tiny-random \(digest d{12}\).*e{12}"):
        bank.register(made)
    assert names(bank) == []


def test_shapes_tell_another_base_model_where_no_digest_does(copy):
    (copy / "glassbox.json").unlink()
    with pytest.raises(AdapterMismatch, match=r"does not fit tiny-random: layer .* no such layer"):
        tiny_bank("gpt2").register(copy)
    base = tiny_base()
    layer = base.model.model.layers[0].mlp
    layer.up_proj = torch.nn.Linear(32, 50, bias=False)
    bank = AdapterBank(base)
    with pytest.raises(
        AdapterMismatch, match="32 inputs and 48 outputs; the model has 32 inputs, 50"
    ):
        bank.register(copy)
    assert type(layer.up_proj) is torch.nn.Linear


def rewrite_config(folder: Path, **changes) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    (folder / "glassbox.json").unlink()


def test_a_missing_folder_or_file_is_named(copy, tmp_path):
    bank = tiny_bank()
    with pytest.raises(UnknownName, match="No adapter folder"):
        bank.register(tmp_path / "nowhere")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        broken = shutil.copytree(copy, tmp_path / f"without-{name}")
        (broken / name).unlink()
        with pytest.raises(CorruptArtifact, match=re.escape(name) + ": the file is missing"):
            bank.register(broken)


def test_half_written_weights_are_refused(copy):
    path = copy / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptArtifact, match="damaged or half-written"):
        tiny_bank().register(copy)


def test_exchanged_weights_are_refused(copy, other):
    shutil.copy(other / "adapter_model.safetensors", copy)
    with pytest.raises(CorruptArtifact, match=r"its files have digest .* glassbox.json says"):
        tiny_bank().register(copy)


def test_weights_in_a_pickle_are_not_loaded(copy):
    (copy / "adapter_model.safetensors").rename(copy / "adapter_model.bin")
    with pytest.raises(CorruptArtifact, match="a pickle and are not loaded"):
        tiny_bank().register(copy)


def test_an_unfinished_fit_is_no_adapter(copy):
    (copy / "glassbox.json").unlink()
    (copy / "fit-state.safetensors").touch()
    with pytest.raises(CorruptArtifact, match=r"interrupted.*Run the same tuning again"):
        tiny_bank().register(copy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: next(iter(w.values())).fill_(torch.nan), "holds NaN or infinity"),
        (lambda w: w.pop(next(iter(w))), "one of the two factors of .* is missing"),
        (lambda w: w.clear(), "holds no weights"),
        (lambda w: w.update({sorted(w)[0]: torch.zeros(5, 32)}), "do not fit together"),
        (lambda w: [w.pop(key) for key in sorted(w)[:2]], "disagree on 1 layer,"),
    ],
)
def test_incomplete_weights_are_refused_and_nothing_stays(copy, change, problem):
    path = copy / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    (copy / "glassbox.json").unlink()
    bank = tiny_bank()
    before = logits(bank)
    with pytest.raises(CorruptArtifact, match=problem):
        bank.register(copy)
    assert names(bank) == []
    assert torch.equal(logits(bank), before)


def test_a_rank_that_the_weights_do_not_have_is_refused(copy):
    rewrite_config(copy, r=6)
    with pytest.raises(CorruptArtifact, match=r"it says rank 6 .* the weights have 4"):
        tiny_bank().register(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": 5},
        {"target_modules": "("},
        {"rank_pattern": 1.5},
        {"alpha_pattern": "q_proj"},
        {"lora_alpha": "x"},
    ],
)
def test_a_configuration_of_odd_fields_is_refused(copy, change):
    rewrite_config(copy, **change)
    with pytest.raises(CorruptArtifact, match=r"adapter_config\.json"):
        tiny_bank().register(copy)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.complex64])
def test_factors_in_other_number_formats_are_refused(copy, dtype):
    path = copy / "adapter_model.safetensors"
    save_file({name: each.to(dtype) for name, each in load_file(path).items()}, path)
    (copy / "glassbox.json").unlink()
    with pytest.raises(UnsupportedModel, match="Glassbox loads LoRA factors in"):
        tiny_bank().register(copy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"peft_type": "IA3"}, "of kind IA3; Glassbox loads LORA"),
        ({"use_dora": True}, "uses use_dora"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "began as 'pissa_niter_4'",
        ),
        ({"modules_to_save": ["lm_head"], "bias": "all"}, "uses modules_to_save, bias"),
    ],
)
def test_other_kinds_of_adapter_are_refused(copy, change, problem):
    rewrite_config(copy, **change)
    with pytest.raises(UnsupportedModel, match=problem):
        tiny_bank().register(copy)


def test_the_folder_says_what_it_is(made):
    described = json.loads((made / "glassbox.json").read_text())
    curve = json.loads((made / "training_curve.json").read_text())
    readme = (made / "README.md").read_text()
    assert described["base_digest"] == "d" * 64
    assert described["digest"] == read_adapter(made).digest
    assert curve["best_step"] == described["best_step"]
    assert described["digest"] in readme
    assert described["base_digest"] in readme
    assert (made / "tokenizer.json").exists()
    assert not (made / "fit-state.safetensors").exists()
