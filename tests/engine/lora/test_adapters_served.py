"""Adapters through the whole engine: requests for different ones share the running batch."""

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model

from glassbox.engine.batching import worker
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.requests import Generation, Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import (
    AdapterMismatch,
    ConflictError,
    CorruptArtifact,
    QueueFull,
    UnknownName,
)
from glassbox.testing import tiny_engine, tiny_loaded
from glassbox.types import Capture, HookPoint
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:fan_in_fan_out is set:UserWarning"
)

FORMS = (
    {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    {"r": 8, "target_modules": "all-linear"},
    {"r": 2, "target_modules": ["down_proj", "lm_head"], "lora_alpha": 20},
)
NAMES = ("attention", "all", "head")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    import torch

    made = {}
    for seed, (name, form) in enumerate(zip(NAMES, FORMS, strict=True)):
        torch.manual_seed(seed)
        made[name] = tmp_path_factory.mktemp("adapters") / name
        config = LoraConfig(init_lora_weights=False, **form)
        model = get_peft_model(tiny_loaded("llama").model, config)
        model.save_pretrained(made[name], save_embedding_layers=False)
    return made


@pytest.fixture(scope="module")
def engine(folders):
    engine = tiny_engine("llama")
    for name, folder in folders.items():
        engine.load_adapter(folder, name=name)
    yield engine
    engine.close()


def asked(adapter: str | None, length: int, **options) -> Request:
    return Request(
        prompt=tuple(range(5, 5 + length)),
        sampling=Sampling(max_tokens=options.pop("max_tokens", 6), temperature=0.0),
        adapter=adapter,
        capture=Capture(points=(HookPoint(-1),), pooling=("mean", "last")),
        **options,
    )


def same(one: Generation, two: Generation) -> None:
    assert one.tokens.token_ids == two.tokens.token_ids
    np.testing.assert_allclose(one.tokens.logprobs, two.tokens.logprobs, atol=1e-4)
    for mine, other in zip(one.states, two.states, strict=True):
        np.testing.assert_allclose(mine.mean, other.mean, atol=1e-4)
        np.testing.assert_allclose(mine.last, other.last, atol=1e-4)


def test_requests_for_different_adapters_share_a_batch_and_equal_each_alone(engine):
    adapters = [*NAMES, None, "all", "head", None, "attention"]
    requests = [asked(each, 3 + 2 * row) for row, each in enumerate(adapters)]
    together = engine.generate(requests)
    digests = {info.name: info.digest for info in engine.adapters}
    for request, answer in zip(requests, together, strict=True):
        (alone,) = engine.generate([request])
        same(answer, alone)
        assert answer.adapter_digest == (request.adapter and digests[request.adapter])
    prompt = asked(None, 9)
    answers = engine.generate([asked(each, 9) for each in (*NAMES, None)])
    assert len({tuple(answer.tokens.logprobs.tolist()) for answer in answers}) == 4
    same(answers[-1], engine.generate([prompt])[0])


def test_a_given_response_is_read_by_the_adapter_that_is_asked(engine):
    rows = [asked(each, 7, response=(9, 8, 7)) for each in (*NAMES, None)]
    for request, answer in zip(rows, engine.generate(rows), strict=True):
        scored = engine.logprobs([request.prompt], [(9, 8, 7)], adapter=request.adapter)
        assert float(answer.tokens.logprobs.sum()) == pytest.approx(
            float(scored.values[0, 0]), abs=1e-4
        )


def test_a_digest_names_an_adapter(engine):
    info = engine.adapters[0]
    by_name, by_digest = engine.generate([asked(info.name, 5), asked(info.digest, 5)])
    same(by_name, by_digest)


def test_unknown_adapters_are_refused_at_the_door(engine):
    for name in ("heads", engine.adapters[0].digest[:16], "s3://models/x"):
        with pytest.raises(UnknownName, match="No adapter"):
            engine.submit(asked(name, 5))


def small_engine(folders: dict[str, Path]) -> ResidentEngine:
    """Return an engine whose adapters do not all fit on the device, and none on the host."""
    sizing = tiny_engine("llama")
    for name, folder in folders.items():
        sizing.load_adapter(folder, name=name)
    largest = max(info.n_bytes for info in sizing.adapters)
    sizing.close()
    places = AdapterPlaces(host_bytes=0, device_bytes=largest)
    return ResidentEngine(tiny_loaded("llama"), adapters=places)


def test_more_adapters_than_fit_take_turns_and_none_is_answered_by_the_base(folders, engine):
    small = small_engine(folders)
    for name, folder in folders.items():
        small.load_adapter(folder, name=name)
    requests = [asked(NAMES[row % 3], 4 + row, max_tokens=3) for row in range(9)]
    for ours, theirs in zip(small.generate(requests), engine.generate(requests), strict=True):
        same(ours, theirs)
    small.close()


def test_a_damaged_adapter_fails_its_own_requests_alone(folders, tmp_path):
    copy = Path(shutil.copytree(folders["attention"], tmp_path / "copy"))
    small = small_engine(folders)
    small.load_adapter(copy, name="damaged")
    small.load_adapter(folders["all"], name="whole")
    os.truncate(copy / "adapter_model.safetensors", 50)
    tickets = [small.submit(asked(name, 5)) for name in ("damaged", "whole", None)]
    with pytest.raises(CorruptArtifact, match="damaged or half-written"):
        tickets[0].result(PATIENCE_S)
    assert tickets[1].result(PATIENCE_S).finish_reason == "length"
    assert tickets[2].result(PATIENCE_S).adapter_digest is None
    small.close()


def test_unloading_lets_running_requests_end_and_refuses_new_ones(folders):
    engine = tiny_engine("llama")
    engine.load_adapter(folders["all"], name="all")
    expected = engine.generate([asked("all", 5, max_tokens=40)])[0]
    begun = threading.Event()
    ticket = engine.submit(asked("all", 5, max_tokens=40), listen=lambda _piece: begun.set())
    assert begun.wait(PATIENCE_S)
    engine.unload_adapter("all")
    same(ticket.result(PATIENCE_S), expected)
    assert engine.adapters == ()
    with pytest.raises(UnknownName, match="No adapter 'all'"):
        engine.submit(asked("all", 5))
    engine.close()


def test_an_adapter_of_another_model_is_refused(folders):
    with pytest.raises(AdapterMismatch, match="does not fit"):
        tiny_engine("gpt2").load_adapter(folders["all"])


def test_an_accepted_request_is_answered_though_its_adapter_is_unloaded_before_it_begins(folders):
    engine = tiny_engine("llama")
    for name in ("all", "head"):
        engine.load_adapter(folders[name], name=name)
    expected = engine.generate([asked("head", 5)])[0]
    lent, is_over = threading.Event(), threading.Event()

    def lend() -> None:
        with engine.lend(lease_s=20):
            lent.set()
            is_over.wait(PATIENCE_S)

    lending = threading.Thread(target=lend)
    lending.start()
    assert lent.wait(PATIENCE_S)
    ticket = engine.submit(asked("head", 5))
    cancelled = engine.submit(asked("all", 5))
    cancelled.cancel()
    unloading = threading.Thread(target=engine.unload_adapter, args=["head"])
    unloading.start()
    until = time.monotonic() + PATIENCE_S
    while len(engine.adapters) > 1 and time.monotonic() < until:
        time.sleep(0.001)
    with pytest.raises(UnknownName, match="No adapter 'head'"):
        engine.submit(asked("head", 5))
    is_over.set()
    for thread in (lending, unloading):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    same(ticket.result(PATIENCE_S), expected)
    assert cancelled.result(PATIENCE_S).finish_reason == "cancelled"
    engine.unload_adapter("all")
    assert engine._bank.tiers.host_bytes == 0
    engine.close()


def test_adapters_that_nobody_waits_for_any_more_are_not_fetched(folders, monkeypatch):
    """Requests that were cancelled would else keep all who load adapters busy for others."""
    engine = small_engine(folders)
    for name, folder in folders.items():
        engine.load_adapter(folder, name=name)
    read, may_read = [], threading.Event()
    original = AdapterBank._again

    def again(bank, source, digest):
        read.append(source)
        assert may_read.wait(PATIENCE_S)
        return original(bank, source, digest)

    monkeypatch.setattr(AdapterBank, "_again", again)
    monkeypatch.setattr(worker, "N_LOADERS", 1)
    gone = [engine.submit(asked(name, 5, client=name)) for name in ("all", "head")]
    until = time.monotonic() + PATIENCE_S
    while not read and time.monotonic() < until:
        time.sleep(0.001)
    for ticket in gone:
        ticket.cancel()
        assert ticket.result(PATIENCE_S).finish_reason == "cancelled"
    ticket = engine.submit(asked("attention", 5))
    may_read.set()
    assert ticket.result(PATIENCE_S).finish_reason == "length"
    assert len(read) == 2
    assert not engine._bank.tiers._claims
    assert not engine._bank.tiers._leases
    engine.close()


def test_a_request_that_is_refused_holds_no_adapter_back(folders):
    engine = ResidentEngine(tiny_loaded("llama"), capacity=Capacity(n_waiting=1))
    engine.load_adapter(folders["all"], name="all")
    with engine.lend(lease_s=20):
        waiting = engine.submit(asked("all", 5))
        with pytest.raises(QueueFull):
            engine.submit(asked("all", 5))
        waiting.cancel()
    engine.unload_adapter("all")
    assert engine._bank.tiers.host_bytes == 0
    engine.close()


def test_a_closed_engine_gives_the_memory_of_its_adapters_back(folders):
    engine = tiny_engine("llama")
    for name, folder in folders.items():
        engine.load_adapter(folder, name=name)
    engine.generate([asked(name, 5) for name in NAMES])
    tiers, tables = engine._bank.tiers, engine._bank._tables
    assert min(tiers.device_bytes, tiers.host_bytes, tables.n_bytes) > 0
    engine.close()
    assert (tiers.device_bytes, tiers.host_bytes, tables.n_bytes) == (0, 0, 0)
    with pytest.raises(ConflictError, match="The engine is closed"):
        engine.submit(asked("all", 5))
    engine.close()
