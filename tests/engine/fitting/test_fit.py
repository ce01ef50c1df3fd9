"""Fitting: it learns, it is deterministic, it keeps the best weights, and it says what failed."""

import copy
import dataclasses
import math

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GptOssConfig,
    MambaConfig,
    MixtralConfig,
)

from glassbox.engine.fitting.fit import FitTask, fit
from glassbox.engine.fitting.trainee import training_adapter
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.files import WEIGHTS_FILE
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.errors import (
    InvalidValue,
    NonFiniteOutput,
    NotEnoughData,
    OutOfMemory,
    TextTooLong,
)
from tests.engine.fit_world import (
    RECIPE,
    MeanNll,
    answering,
    examples,
    plain_forward,
    task,
    tiny_base,
    weights_of,
)

SHAPE = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
"""Of models of other kinds than the world's."""

TOKENS = torch.tensor([[1, 25, 11, 40, 33]])


def changed(**changes) -> AdapterRecipe:
    return dataclasses.replace(RECIPE, **changes)


def run(folder, recipe=RECIPE, work=None, base=None, **options):
    base = base or tiny_base()
    return fit(base, plain_forward(base.model), work or task(), folder, recipe, **options)


def mean_loss(base, rows) -> float:
    with torch.no_grad():
        logprobs = plain_forward(base.model)([row.prompt for row in rows])
    return float(MeanNll()(logprobs, torch.tensor([row.target for row in rows])))


def test_it_learns_what_can_be_learned(tmp_path):
    base = tiny_base()
    unseen = examples(200, 3)
    before = mean_loss(base, unseen)
    fitted = run(tmp_path, changed(epochs=8), task(n_train=200), base)
    bank = AdapterBank(base)
    with answering(bank, bank.register(tmp_path).name):
        after = mean_loss(base, unseen)
    assert after < 0.8 < 1.0 < before
    assert fitted.curve[-1].train_loss < fitted.curve[0].train_loss


def test_the_kept_weights_are_those_of_the_lowest_validation_loss(tmp_path):
    base = tiny_base()
    fitted = run(tmp_path, changed(learning_rate=0.3), base=base)
    losses = {point.step: point.validation_loss for point in fitted.curve}
    assert losses[fitted.best_step] == min(losses.values())
    assert fitted.best_step < fitted.curve[-1].step
    bank = AdapterBank(base)
    with answering(bank, bank.register(tmp_path).name):
        assert mean_loss(base, task().validation) == pytest.approx(min(losses.values()), abs=1e-5)


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator(tmp_path):
    torch.manual_seed(1)
    first = run(tmp_path / "a")
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    second = run(tmp_path / "b")
    torch.manual_seed(2)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert first.digest == second.digest
    assert torch.equal(torch.rand(3), expected)
    run(tmp_path / "c", changed(seed=1))
    assert weights_of(tmp_path / "c") != weights_of(tmp_path / "a")


def test_loaded_adapters_do_not_disturb_a_fit(tmp_path):
    run(tmp_path / "alone")
    run(tmp_path / "other", changed(seed=5, epochs=1))
    base = tiny_base()
    bank = AdapterBank(base)
    bank.register(tmp_path / "other", "other")
    with answering(bank, "other"):
        before = mean_loss(base, task().validation)
    run(tmp_path / "beside", base=base)
    with answering(bank, "other"):
        assert mean_loss(base, task().validation) == before
    assert weights_of(tmp_path / "beside") == weights_of(tmp_path / "alone")
    assert [info.name for info in bank.infos()] == ["other"]


def test_the_base_model_is_left_as_it_was(tmp_path):
    base = tiny_base()
    model = base.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(tmp_path, base=base)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_accumulation_is_the_larger_batch(tmp_path):
    work = task(n_train=8)
    whole = run(tmp_path / "a", changed(dropout=0.0, batch_size=8, epochs=4), work)
    parts = run(tmp_path / "b", changed(dropout=0.0, batch_size=3, accumulation=3, epochs=4), work)
    assert [point.step for point in parts.curve] == [point.step for point in whole.curve]
    for one, two in zip(whole.curve, parts.curve, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)
        assert one.validation_loss == pytest.approx(two.validation_loss, abs=1e-4)


def test_it_stops_early_when_validation_gets_worse(tmp_path):
    wrong = [Example(row.prompt, (row.target + 1) % 3) for row in examples(24, 2)]
    work = dataclasses.replace(task(n_train=200), validation=wrong)
    fitted = run(tmp_path, changed(patience=2, epochs=8), work)
    n_steps = 8 * math.ceil(200 / RECIPE.batch_size)
    assert fitted.curve[-1].step < n_steps
    after_best = [point for point in fitted.curve if point.step > fitted.best_step]
    assert len(after_best) == 2


def test_the_curve_and_the_counts_are_what_happened(tmp_path):
    calls = []
    fitted = run(tmp_path, progress=lambda point, done, total: calls.append((point, done, total)))
    assert [done for _, done, _ in calls] == list(range(1, 25))
    assert {total for _, _, total in calls} == {24}
    assert tuple(point for point, _, _ in calls if point is not None) == fitted.curve
    assert [point.epoch for point in fitted.curve] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert all(a.seconds < b.seconds for a, b in zip(fitted.curve, fitted.curve[1:], strict=False))
    base = tiny_base()
    with training_adapter(base, RECIPE) as trainee:
        assert fitted.n_trainable == trainee.n_trainable
        assert all(p.dtype == torch.float32 for p in trainee.parameters.values())
        assert not any("lm_head" in name or "embed" in name for name in trainee.parameters)
    assert fitted.n_parameters == base.n_parameters + fitted.n_trainable


def test_master_weights_are_float32_under_a_bfloat16_base():
    base = tiny_base()
    base.model.to(torch.bfloat16)
    with training_adapter(base, RECIPE) as trainee:
        assert {p.dtype for p in trainee.parameters.values()} == {torch.float32}


class NotANumber:
    def __call__(self, logprobs, targets):
        return logprobs.sum() * torch.nan


def test_a_loss_that_is_not_finite_stops_the_fit_and_frees_the_model(tmp_path):
    base = tiny_base()
    with pytest.raises(NonFiniteOutput, match=r"Step 1 of the fit gave loss nan.*learning rate"):
        run(tmp_path, work=dataclasses.replace(task(), loss=NotANumber()), base=base)
    run(tmp_path, base=base)


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_says_what_to_change(tmp_path, failure):
    def forward(prompts):
        raise failure

    with pytest.raises(OutOfMemory, match="Halve batch_size and double accumulation"):
        fit(tiny_base(), forward, task(), tmp_path, RECIPE)


def test_other_failures_of_the_forward_pass_are_not_disguised(tmp_path):
    def forward(prompts):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fit(tiny_base(), forward, task(), tmp_path, RECIPE)


def test_too_little_or_too_long_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "adapter"
    with pytest.raises(NotEnoughData, match="Fitting an adapter needs at least 1 row;"):
        run(folder, work=dataclasses.replace(task(), train=[]))
    with pytest.raises(NotEnoughData, match="Early stopping"):
        run(folder, work=dataclasses.replace(task(), validation=[]))
    with pytest.raises(TextTooLong, match=r"longest prompt takes 64 tokens.* room for 63"):
        run(folder, work=FitTask([Example((1,) * 64, 0)], task().validation, ((5,),), MeanNll()))
    assert not folder.exists()


@pytest.mark.parametrize(
    "change",
    [{"rank": 0}, {"batch_size": 0}, {"dropout": 1.0}, {"learning_rate": 0.0}, {"seed": -1}],
)
def test_a_recipe_out_of_range_is_refused(tmp_path, change):
    (name,) = change
    with pytest.raises(InvalidValue, match=f"{name} is"):
        run(tmp_path, changed(**change))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            MixtralConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2),
            {"k_proj", "o_proj", "q_proj", "v_proj"},
        ),
        (
            DeepseekV3Config(
                **SHAPE | {"num_key_value_heads": 4}, kv_lora_rank=16, q_lora_rank=16,
                qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, n_routed_experts=4,
                num_experts_per_tok=2, moe_intermediate_size=16, first_k_dense_replace=1,
                n_group=2, topk_group=1,
            ),
            {"kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_a_proj", "q_b_proj"},
        ),
        (
            MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4),
            {"in_proj", "x_proj"},
        ),
        (
            GptOssConfig(**SHAPE, head_dim=8, num_local_experts=4, num_experts_per_tok=2),
            {"k_proj", "o_proj", "q_proj", "v_proj"},
        ),
    ],
    ids=["mixtral", "deepseek_v3", "mamba", "gpt_oss"],
)  # fmt: skip
def test_what_peft_takes_no_layer_for_is_left_out_and_the_adapter_is_read_again(
    config, expected, tmp_path
):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    base = dataclasses.replace(tiny_base(), model=model.eval().requires_grad_(False))
    run(tmp_path, dataclasses.replace(RECIPE, epochs=1), task(n_train=16), base)
    names = load_file(tmp_path / WEIGHTS_FILE)
    assert {name.split(".lora_")[0].split(".")[-1] for name in names} == expected
    bank = AdapterBank(base)
    wrapped = PeftModel.from_pretrained(copy.deepcopy(model), tmp_path).eval()
    with torch.no_grad():
        plain = model(input_ids=TOKENS, use_cache=False).logits
        with answering(bank, bank.register(tmp_path).name):
            found = model(input_ids=TOKENS, use_cache=False).logits
        expected_logits = wrapped(input_ids=TOKENS, use_cache=False).logits
    assert torch.allclose(found, expected_logits, atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-5)


def test_a_layer_that_no_row_comes_to_is_kept_as_it_began(tmp_path):
    base = tiny_base()
    base.model.model.layers[0].expert = torch.nn.Linear(32, 32, bias=False)
    base.model.requires_grad_(False)
    run(tmp_path, changed(epochs=1), task(n_train=16), base)
    weights = load_file(tmp_path / WEIGHTS_FILE)
    assert not any(weights[name].any() for name in weights if ".expert.lora_B" in name)
    assert AdapterBank(base).register(tmp_path)
