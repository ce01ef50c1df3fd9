"""Many adapters in one batch: PEFT's mixed batch is the oracle, and nobody's row leaks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch.testing import assert_close

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.weights import linear_layers
from glassbox.errors import ConflictError, InvalidValue, UnknownName, UnsupportedModel
from glassbox.testing import ARCHITECTURES, tiny_loaded
from tests.engine.lora.bank_world import (
    ALL,
    FORMS,
    bank_of,
    base_of,
    logits,
    save_adapter,
    slots_of,
    tokens_of,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:fan_in_fan_out is set:UserWarning"
)


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
