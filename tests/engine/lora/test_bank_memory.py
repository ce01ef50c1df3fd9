"""Adapters on the device and in memory: evicted, damaged, full, closed."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.tables import Tables
from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, OutOfMemory, UnknownName
from tests.engine.lora.bank_world import bank_of, base_of, logits, slots_of, tokens_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:fan_in_fan_out is set:UserWarning"
)
"""One bank for all examples, so that its tables carry over from one to the next."""


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
    assert bank.tiers.device_bytes == bank.infos()[-1].n_bytes


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
    sizes = [each.n_bytes for each in bank_of("llama", folders).infos()]
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
    sizes = [each.n_bytes for each in bank_of("llama", folders).infos()]
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
    real, n_left = type(bank.tiers.on_device(1)).to, [1]

    def to(weights, device):
        if n_left[0]:
            n_left[0] -= 1
            raise failure
        return real(weights, device)

    monkeypatch.setattr("glassbox.engine.lora.weights.AdapterWeights.to", to)
    assert bank.acquire("1").slot == 2
    assert bank.infos()[0].tier == "host"
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
    assert bank.infos()[0].tier == "host"
    digest = bank.infos()[0].digest
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
