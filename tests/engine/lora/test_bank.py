"""Many adapters in one batch: PEFT's mixed batch is the oracle, and nobody's row leaks."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from torch.testing import assert_close

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.tables import Tables
from glassbox.engine.lora.weights import BaseModel, linear_layers
from glassbox.errors import (
    CapacityError,
    ConflictError,
    CorruptArtifact,
    InvalidValue,
    OutOfMemory,
    UnknownName,
    UnsupportedModel,
)
from glassbox.testing import ARCHITECTURES, tiny_loaded

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:fan_in_fan_out is set:UserWarning"
)

ALL = "all-linear"
FORMS: dict[str, list[dict]] = {
    "llama": [
        {"r": 3, "target_modules": ["q_proj", "v_proj"], "lora_alpha": 7},
        {
            "r": 8,
            "target_modules": ALL,
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {"0.mlp.up_proj": 3},
        },
        {"r": 5, "target_modules": ["down_proj", "lm_head"], "use_rslora": True},
        {"r": 1, "target_modules": ["k_proj", "up_proj"], "layers_to_transform": [1]},
    ],
    "gpt2": [
        {"r": 3, "target_modules": ["c_attn"]},
        {"r": 4, "target_modules": ALL, "lora_alpha": 5},
        {"r": 2, "target_modules": r".*\.mlp\.c_proj", "use_rslora": True},
    ],
    "phi": [
        {"r": 3, "target_modules": ["q_proj", "fc1"]},
        {"r": 6, "target_modules": ALL},
        {"r": 2, "target_modules": ["dense"], "lora_alpha": 1},
    ],
}


def base_of(architecture: str) -> BaseModel:
    loaded = tiny_loaded(architecture)
    n_parameters = int(loaded.model.num_parameters())
    return BaseModel(
        loaded.model, loaded.tokenizer, loaded.name, loaded.digest, loaded.context, n_parameters
    )


def save_adapter(folder: Path, architecture: str, seed: int, **form) -> Path:
    """Save an adapter of random weights with PEFT."""
    torch.manual_seed(seed)
    config = LoraConfig(init_lora_weights=False, **form)
    made = get_peft_model(tiny_loaded(architecture).model, config)
    made.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, list[Path]]:
    """Adapters of several shapes for three architectures, as PEFT saves them."""
    root = tmp_path_factory.mktemp("adapters")
    return {
        architecture: [
            save_adapter(root / architecture / str(number), architecture, number, **form)
            for number, form in enumerate(forms)
        ]
        for architecture, forms in FORMS.items()
    }


def bank_of(architecture: str, folders: dict[str, list[Path]], **options) -> AdapterBank:
    bank = AdapterBank(base_of(architecture), AdapterPlaces(**options))
    for number, folder in enumerate(folders[architecture]):
        bank.register(folder, str(number))
    return bank


def slots_of(bank: AdapterBank) -> list[int]:
    """Return slot 0, then a slot for each adapter."""
    return [0, *(bank.acquire(info.name).slot for info in bank.infos())]


def tokens_of(n_rows: int, length: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(3, 60, (n_rows, length), generator=draw)


def logits(bank: AdapterBank, tokens: torch.Tensor, slots: Sequence[int]) -> torch.Tensor:
    rows = [(slot, tokens.shape[1]) for slot in slots]
    with torch.inference_mode(), bank.applying(rows):
        return bank.base.model(input_ids=tokens).logits


@pytest.mark.parametrize("architecture", FORMS)
@pytest.mark.parametrize("length", [1, 6])
def test_a_mixed_batch_is_pefts_mixed_batch(architecture, folders, length):
    names = [str(number) for number in range(len(folders[architecture]))]
    model = tiny_loaded(architecture).model
    oracle = PeftModel.from_pretrained(model, folders[architecture][0], adapter_name="0").eval()
    for name, folder in zip(names[1:], folders[architecture][1:], strict=True):
        oracle.load_adapter(folder, adapter_name=name)
    rows = [*names, "__base__", *reversed(names), names[0], "__base__"]
    tokens = tokens_of(len(rows), length)
    with torch.no_grad():
        expected = oracle(input_ids=tokens, adapter_names=rows).logits
    bank = bank_of(architecture, folders)
    slots = slots_of(bank)
    chosen = [0 if name == "__base__" else slots[1 + int(name)] for name in rows]
    ours = logits(bank, tokens, chosen)
    assert_close(ours, expected, atol=1e-5, rtol=0)
    base = logits(bank, tokens, [0] * len(rows))
    is_base = torch.tensor([slot == 0 for slot in chosen])
    assert torch.equal(ours[is_base], base[is_base])
    assert all(not torch.equal(ours[row], base[row]) for row in torch.nonzero(~is_base))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_mixed_batch_equals_each_alone_on_every_architecture(architecture, tmp_path):
    bank = AdapterBank(base_of(architecture))
    for seed in range(3):
        folder = save_adapter(
            tmp_path / str(seed), architecture, seed, r=2 + seed, target_modules=ALL
        )
        bank.register(folder, str(seed))
    slots = slots_of(bank)
    tokens = tokens_of(6, 5)
    chosen = [slots[number] for number in (2, 0, 1, 3, 3, 0)]
    mixed = logits(bank, tokens, chosen)
    for row, slot in enumerate(chosen):
        alone = tokens[row : row + 1]
        with torch.inference_mode(), bank.applying_all(slot):
            assert_close(
                mixed[row : row + 1], bank.base.model(input_ids=alone).logits, atol=1e-5, rtol=0
            )


SHARED: list[AdapterBank] = []
"""One bank for all examples, so that its tables carry over from one to the next."""


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_batches_came_before_each_row_gets_its_own_update(data, folders):
    """Layers alone, in flat batches of rows of any lengths, one batch after another."""
    if not SHARED:
        SHARED.append(bank_of("llama", folders))
    bank = SHARED[0]
    slots = slots_of(bank)
    layers = linear_layers(bank.base.model)
    named = {
        name: layers[name]
        for name in ("model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head")
    }
    for _ in range(data.draw(st.integers(1, 4))):
        row = st.tuples(st.sampled_from(slots), st.integers(1, 7))
        rows = data.draw(st.lists(row, min_size=1, max_size=10))
        n_tokens = sum(n for _, n in rows)
        for layer in named.values():
            x = torch.randn(1, n_tokens, layer.in_features)
            with torch.inference_mode():
                base = layer(x)
                with bank.applying(rows):
                    mixed = layer(x)
                alone = {0: base}
                for slot in {slot for slot, _ in rows} - {0}:
                    with bank.applying_all(slot):
                        alone[slot] = layer(x)
            first = 0
            for slot, n in rows:
                piece = slice(first, first + n)
                assert_close(mixed[:, piece], alone[slot][:, piece], atol=1e-5, rtol=0)
                assert slot or torch.equal(mixed[:, piece], base[:, piece])
                first += n


def test_layers_that_see_only_what_is_read_update_the_right_rows(folders):
    bank = bank_of("llama", folders)
    slots = slots_of(bank)
    rows = [(slots[3], 4), (0, 2), (slots[2], 3), (slots[3], 1)]
    reads = np.array([1, 3, 5, 7, 8, 9])
    head = linear_layers(bank.base.model)["lm_head"]
    x = torch.randn(1, 10, head.in_features)
    with torch.inference_mode():
        with bank.applying(rows):
            whole = head(x)
        with bank.applying(rows, reads):
            cut = head(x[:, reads])
            assert_close(head(x), whole)
    assert_close(cut, whole[:, reads], atol=1e-6, rtol=0)


def test_a_layer_that_sees_an_unexpected_number_of_tokens_is_refused(folders):
    bank = bank_of("llama", folders)
    slots = slots_of(bank)
    head = linear_layers(bank.base.model)["lm_head"]
    with (
        torch.inference_mode(),
        bank.applying([(slots[3], 4), (0, 2)]),
        pytest.raises(UnsupportedModel, match="'lm_head' sees 5 of 6 tokens"),
    ):
        head(torch.randn(1, 5, head.in_features))


def test_the_model_is_left_without_hooks(folders):
    bank = bank_of("llama", folders)
    slots = slots_of(bank)
    with pytest.raises(KeyboardInterrupt), bank.applying([(slots[1], 1), (slots[2], 1)]):
        raise KeyboardInterrupt
    assert not any(module._forward_hooks for module in bank.base.model.modules())


def test_padded_batches_of_one_adapter_are_its_rows(folders):
    bank = bank_of("gpt2", folders)
    slot = slots_of(bank)[2]
    tokens = tokens_of(3, 4)
    with torch.inference_mode(), bank.applying_all(slot):
        padded = bank.base.model(input_ids=tokens).logits
    assert_close(padded, logits(bank, tokens, [slot] * 3))


def test_two_passes_at_once_are_refused(folders):
    bank = bank_of("gpt2", folders)
    slots = slots_of(bank)
    with (
        bank.applying_all(slots[1]),
        pytest.raises(ConflictError, match="One forward pass at a time"),
        bank.applying([(slots[1], 1), (slots[2], 1)]),
    ):
        pass
    with bank.applying_all(slots[2]):
        pass


def test_a_bfloat16_base_gets_updates_of_its_own_format(folders):
    base = base_of("llama")
    base.model.to(torch.bfloat16)
    bank = AdapterBank(base)
    bank.register(folders["llama"][0], "tuned")
    lease = bank.acquire("tuned")
    tokens = tokens_of(2, 4)
    ours = logits(bank, tokens, [lease.slot, 0])
    wide = bank_of("llama", folders)
    expected = logits(wide, tokens, [wide.acquire("0").slot, 0])
    assert ours.dtype == torch.bfloat16
    assert bank.infos()[0].n_bytes * 2 == wide.infos()[0].n_bytes
    assert_close(ours.float().log_softmax(-1), expected.log_softmax(-1), atol=0.1, rtol=0)


def test_the_list_says_rank_size_and_where_each_is(folders):
    first = folders["llama"][0]
    bank = AdapterBank(base_of("llama"), AdapterPlaces(host_bytes=0))
    info = bank.register(first)
    weights = sum(tensor.numel() for _, tensor in _tensors(first))
    assert (info.rank, info.n_bytes, info.tier) == (3, 4 * weights, "disk")
    assert info.name == info.digest
    bank.acquire(info.digest)
    assert [each.tier for each in bank.infos()] == ["device"]


def _tensors(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors").items()


def test_names_that_would_mislead_are_refused(folders):
    bank = bank_of("llama", folders)
    with pytest.raises(ConflictError, match="is the name of the base model"):
        bank.register(folders["llama"][0], bank.base.name)
    with pytest.raises(InvalidValue, match="the adapter's name is ''"):
        bank.register(folders["llama"][0], "")
    with pytest.raises(UnknownName, match="No adapter 's3://bucket/x'"):
        bank.acquire("s3://bucket/x")


def test_a_slot_without_a_lease_is_refused(folders):
    bank = bank_of("llama", folders)
    with pytest.raises(ConflictError, match="Adapter slot 5 holds nothing"):
        bank.applying([(5, 1), (0, 1)])


@pytest.fixture
def copy(folders, tmp_path) -> Path:
    return Path(shutil.copytree(folders["llama"][0], tmp_path / "copy"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged or half-written"),
        (lambda path: os.truncate(path, 0), "damaged or half-written"),
        (lambda path: path.write_bytes(_flipped(path.read_bytes())), "has changed since"),
        (lambda path: path.unlink(), "the file is missing"),
        (lambda path: shutil.rmtree(path.parent), "folder is gone since it was loaded"),
    ],
)
def test_files_damaged_after_loading_are_an_error_and_the_others_live(
    copy, folders, damage, problem
):
    bank = AdapterBank(base_of("llama"), AdapterPlaces(host_bytes=0))
    bank.register(copy, "damaged")
    bank.register(folders["llama"][1], "whole")
    whole = bank.acquire("whole")
    before = logits(bank, tokens_of(2, 3), [whole.slot, 0])
    damage(copy / "adapter_model.safetensors")
    for _ in range(2):
        with pytest.raises(CorruptArtifact, match=problem):
            bank.acquire("damaged")
    assert torch.equal(logits(bank, tokens_of(2, 3), [whole.slot, 0]), before)
    assert bank.tiers.device_bytes == bank.info("whole").n_bytes


def _flipped(content: bytes) -> bytes:
    """Return weights whose last number is another, finite one."""
    return content[:-1] + bytes([content[-1] ^ 1])


def test_weights_in_memory_do_not_hang_on_the_file(copy):
    bank = AdapterBank(base_of("llama"))
    bank.register(copy, "tuned")
    slot = bank.acquire("tuned").slot
    before = logits(bank, tokens_of(2, 3), [slot, 0])
    os.truncate(copy / "adapter_model.safetensors", 10)
    assert torch.equal(logits(bank, tokens_of(2, 3), [slot, 0]), before)


def test_evicted_adapters_come_back_the_same(folders):
    sizes = [bank_of("llama", folders).info(str(number)).n_bytes for number in range(4)]
    bank = bank_of("llama", folders, device_bytes=max(sizes) + 1, host_bytes=min(sizes) + 1)
    tokens = tokens_of(1, 5)
    answers: list[dict[int, torch.Tensor]] = [{}, {}]
    for seen in answers:
        for number in range(4):
            with bank.leased(str(number)) as lease:
                seen[number] = logits(bank, tokens, [lease.slot])
    for number in range(4):
        assert torch.equal(answers[0][number], answers[1][number])
    assert bank.tiers.device_bytes <= max(sizes) + 1


def test_a_device_full_of_adapters_in_use_never_answers_from_the_base(folders):
    sizes = [bank_of("llama", folders).info(str(number)).n_bytes for number in range(4)]
    bank = bank_of("llama", folders, device_bytes=max(sizes))
    bank.acquire(str(sizes.index(max(sizes))))
    with pytest.raises(CapacityError, match=r"No room on the device.*1 adapter in use fills"):
        bank.acquire(str(sizes.index(min(sizes))), timeout_s=0.01)


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_device_that_is_full_after_all_evicts_and_tries_again(folders, monkeypatch, failure):
    bank = bank_of("llama", folders)
    bank.release(bank.acquire("0"))
    real, n_left = type(bank._tiers.on_device(1)).to, [1]

    def to(weights, device):
        if n_left[0]:
            n_left[0] -= 1
            raise failure
        return real(weights, device)

    monkeypatch.setattr("glassbox.engine.lora.weights.AdapterWeights.to", to)
    assert bank.acquire("1").slot == 2
    assert bank.info("0").tier == "host"
    n_left[0] = 99
    with pytest.raises(OutOfMemory, match="does not fit beside the model"):
        bank.acquire("2")


def test_other_failures_of_the_device_are_not_disguised(folders, monkeypatch):
    bank = bank_of("llama", folders)

    def to(weights, device):
        raise RuntimeError("a bug")

    monkeypatch.setattr("glassbox.engine.lora.weights.AdapterWeights.to", to)
    with pytest.raises(RuntimeError, match="a bug"):
        bank.acquire("0")
    assert bank.tiers.device_bytes == 0


def test_tables_that_do_not_fit_are_given_back_whole(folders, monkeypatch):
    bank = bank_of("llama", folders)
    slots = slots_of(bank)
    chosen, tokens = [slots[1], slots[2]], tokens_of(2, 2)
    expected = logits(bank, tokens, chosen)
    bank = bank_of("llama", folders)
    slots = slots_of(bank)
    real = Tables._empty

    def empty(self, like, width):
        if self.n_bytes:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, like, width)

    with monkeypatch.context() as patch:
        patch.setattr(Tables, "_empty", empty)
        with pytest.raises(torch.OutOfMemoryError):
            logits(bank, tokens, chosen)
        assert bank._tables.n_bytes == 0
    assert torch.equal(logits(bank, tokens, chosen), expected)


def test_tables_keep_positions_and_copy_only_who_is_new(folders, monkeypatch):
    bank = bank_of("llama", folders)
    adapters = [bank.tiers.on_device(slot) for slot in slots_of(bank)[1:]]
    tables, written = Tables(), []
    real = Tables._write

    def write(self, place, adapter):
        written.append(adapter.digest)
        real(self, place, adapter)

    monkeypatch.setattr(Tables, "_write", write)
    big, other, *rest = sorted(adapters, key=lambda each: -each.rank)
    first = tables.place([big, other])
    assert tables.place([other, big]) == first[::-1]
    assert len(written) == 2
    (place,) = tables.place([rest[0]])
    assert place in first
    assert written[2:] == [rest[0].digest]
    n_bytes = tables.n_bytes
    tables.place([big, other])
    assert tables.n_bytes == n_bytes
    assert len(set(tables.place(adapters))) == len(adapters)


def test_a_request_that_was_accepted_gets_its_adapter_though_it_is_unloaded(folders):
    bank = bank_of("llama", folders)
    claim = bank.claim("0")
    assert bank.info("0").tier == "host"
    digest = bank.info("0").digest
    assert not bank.unregister("0", timeout_s=0)
    with pytest.raises(UnknownName, match="No adapter '0'"):
        bank.claim("0")
    assert bank.acquire_now(claim) is None
    lease = bank.acquire(claim)
    assert lease.digest == digest
    assert bank.acquire_now(claim).slot == lease.slot


def test_a_closed_bank_holds_no_memory_and_says_that_it_is_closed(folders):
    bank = bank_of("llama", folders)
    with bank.leased("0") as one, bank.leased("1") as other:
        before = logits(bank, tokens_of(2, 3), [one.slot, other.slot])
        bank.close()
        assert bank._tables.n_bytes == 0
        assert torch.equal(logits(bank, tokens_of(2, 3), [one.slot, other.slot]), before)
        bank.close()
    assert bank.tiers.device_bytes == bank.tiers.host_bytes == bank._tables.n_bytes == 0
    assert bank.infos() == ()
    with pytest.raises(ConflictError, match="The engine is closed"):
        bank.acquire("0")
    with pytest.raises(ConflictError, match="The engine is closed"):
        bank.register(folders["llama"][0], "0")
