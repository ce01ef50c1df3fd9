import threading
import time

import pytest
import torch

from glassbox.engine.lens import LensRequest
from glassbox.engine.model import lending
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, DeadlineExceeded, QueueFull
from glassbox.testing import tiny_engine, tiny_loaded

PROMPT = (0, 9, 8, 7, 20, 21, 22)
REQUEST = Request(PROMPT, sampling=Sampling(max_tokens=6, temperature=0.0, stop_at_end=False))


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()


def vandalise(model):
    layer = model.model.layers[0]
    layer.register_forward_hook(lambda *_: None)
    layer.mlp.forward = lambda x: x * 0
    layer.extra = 3
    layer.self_attn.q_proj = torch.nn.Identity()
    model.train()
    model.requires_grad_(True)
    model.config.rms_norm_eps = 1.0
    model.model.norm.weight.data = torch.zeros(3)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    model.lm_head.weight.grad = torch.zeros_like(model.lm_head.weight)


def test_whatever_a_guest_does_is_undone(engine):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        vandalise(lent.model)
    after = engine.generate([REQUEST])[0]
    assert after.tokens.token_ids == before.tokens.token_ids
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()
    with engine.lend(lease_s=5) as lent:
        assert not lent.model.training
        assert not any(weight.requires_grad for weight in lent.model.parameters())
        assert lent.model.lm_head.weight.grad is None
        assert lent.model.config.rms_norm_eps < 1
        assert not hasattr(lent.model.model.layers[0], "extra")


def test_it_is_undone_after_an_error_too(engine):
    before = engine.generate([REQUEST])[0]

    def borrow():
        with engine.lend(lease_s=5) as lent:
            vandalise(lent.model)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        borrow()
    assert engine.generate([REQUEST])[0].tokens.token_ids == before.tokens.token_ids


def test_changed_weights_without_a_copy_close_the_engine(monkeypatch):
    monkeypatch.setattr(lending, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    lending_out = engine.lend(lease_s=5)
    with torch.no_grad():
        lending_out.__enter__().model.lm_head.weight.mul_(2)
    with pytest.raises(ConflictError, match=r"changed weights.*lm_head"):
        lending_out.__exit__(None, None, None)
    with pytest.raises(ConflictError, match="closed"):
        engine.submit(REQUEST)
    engine.close()


def test_requests_wait_while_the_model_is_lent(engine):
    with engine.lend(lease_s=30):
        ticket = engine.submit(REQUEST)
        time.sleep(0.2)
        assert not ticket.future.done()
    assert ticket.result(60).finish_reason == "length"


def test_waiting_requests_are_told_to_come_back_when_the_lease_is_over(engine):
    with engine.lend(lease_s=0.2):
        ticket = engine.submit(REQUEST)
        with pytest.raises(QueueFull, match="Try again"):
            ticket.result(60)
        with pytest.raises(QueueFull, match="Try again"):
            engine.submit(REQUEST)
    assert engine.generate([REQUEST])[0].finish_reason == "length"


def test_lending_waits_for_what_runs_and_gives_up_in_time(engine):
    long = Sampling(max_tokens=200, temperature=0.0, stop_at_end=False)
    started = threading.Event()

    def slowly(_piece):
        started.set()
        time.sleep(0.05)

    ticket = engine.submit(Request(PROMPT, sampling=long), slowly)
    assert started.wait(60)
    with pytest.raises(DeadlineExceeded, match="requests are running"):
        engine.lend(lease_s=0.1).__enter__()
    ticket.cancel()
    with engine.lend(lease_s=60):
        assert ticket.result(0).finish_reason == "cancelled"


@pytest.mark.parametrize("convert", ["half", "double", "bfloat16"])
def test_a_model_that_was_converted_comes_back_in_its_own_form(engine, convert):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        places = [weight.data_ptr() for weight in lent.model.parameters()]
        getattr(lent.model, convert)()
    with engine.lend(lease_s=5) as lent:
        assert {weight.dtype for weight in lent.model.parameters()} == {torch.float32}
        assert [weight.data_ptr() for weight in lent.model.parameters()] == places
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()


def test_a_model_that_was_moved_away_comes_back(engine):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        lent.model.to("meta")
    assert engine.generate([REQUEST])[0].tokens.token_ids == before.tokens.token_ids


def test_a_conversion_needs_no_copy_to_be_undone(monkeypatch):
    monkeypatch.setattr(lending, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        lent.model.half()
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()
    engine.close()


def test_one_value_behind_the_counters_back_is_put_back(engine, monkeypatch):
    monkeypatch.setattr(lending, "N_SAMPLED", 4)
    with engine.lend(lease_s=5) as lent:
        before = lent.model.lm_head.weight.detach().clone()
        lent.model.lm_head.weight.data.view(-1)[1] += 1
    with engine.lend(lease_s=5) as lent:
        assert torch.equal(lent.model.lm_head.weight, before)


def test_a_change_that_misses_the_sample_closes_the_engine(monkeypatch):
    monkeypatch.setattr(lending, "COPY_BYTES", 0)
    monkeypatch.setattr(lending, "N_SAMPLED", 4)
    engine = ResidentEngine(tiny_loaded())

    def borrow():
        with engine.lend(lease_s=5) as lent, torch.no_grad():
            lent.model.lm_head.weight.view(-1)[1] += 1

    with pytest.raises(ConflictError, match="changed weights"):
        borrow()
    for ask in (
        lambda: engine.submit(REQUEST),
        lambda: engine.logprobs([PROMPT], [(5,)]),
        lambda: engine.lens(LensRequest(PROMPT, (1,))),
        lambda: engine.lend(lease_s=1).__enter__(),
    ):
        with pytest.raises(ConflictError, match="closed"):
            ask()
    engine.close()


def test_whatever_is_in_the_way_of_restoring_closes_the_engine(monkeypatch):
    engine = ResidentEngine(tiny_loaded())

    def fail(self):
        raise RuntimeError("tensors are on different devices")

    monkeypatch.setattr(lending.Snapshot, "restore", fail)

    def borrow():
        with engine.lend(lease_s=5):
            pass

    with pytest.raises(RuntimeError, match="different devices"):
        borrow()
    with pytest.raises(ConflictError, match="closed"):
        engine.submit(REQUEST)
    engine.close()
