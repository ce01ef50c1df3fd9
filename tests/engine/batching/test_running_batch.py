"""The running batch step by step, and the thread that owns it, over a tiny model."""

import time

import numpy as np
import pytest
import torch

from glassbox.engine.batching.prompt_cache import PromptCache
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.running_batch import Limits, RunningBatch
from glassbox.engine.batching.slots import Slots
from glassbox.engine.batching.stepper import Stepper
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.batching.worker import Worker
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.turns import Turns
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.engine.states.taps import Taps
from glassbox.errors import CorruptArtifact, IntegrityError, NonFiniteOutput, OutOfMemory
from glassbox.testing import tiny_loaded
from glassbox.types import Capture, HookPoint
from tests.engine.batch_world import alone, assert_same, loaded

NAN = 77
GREEDY = Sampling(max_tokens=6, temperature=0.0, stop_at_end=False)


class Leases:
    """Adapters that cannot be had."""

    def acquire(self, row):
        raise AssertionError("never asked")

    def acquire_now(self, row):
        raise CorruptArtifact("adapter", "it is damaged")

    def release(self, row):
        return None


def batch_of(world, *, step_tokens=8, cache_bytes=0, budget_bytes=1 << 22):
    slots = Slots(
        2, 2, 8, dtype=torch.float32, device=torch.device("cpu"), budget_bytes=budget_bytes
    )
    limits = Limits(8, step_tokens, step_tokens, 300)
    stepper = Stepper(world.model, slots, Taps(world.model))
    return RunningBatch(stepper, PromptCache(cache_bytes), limits)


def row_of(world, request):
    return Row(
        request=request,
        ticket=FutureTicket(),
        listen=None,
        codec=TokenizerCodec(world.tokenizer),
        ends=frozenset(),
        room=request.sampling.max_tokens,
        submitted_s=time.perf_counter(),
        d_model=32,
    )


def run(batch, rows, n_steps=1000):
    """Return what the rows were told in so many steps."""
    waiting, told = list(rows), []

    def next_row(judge, _held):
        return waiting.pop(0) if waiting and judge(waiting[0]) == "now" else None

    with torch.inference_mode():
        for _ in range(n_steps):
            batch.step(next_row, told)
            if not waiting and not batch.rows:
                break
    return {row: outcome for row, outcome in told}


@pytest.fixture(scope="module")
def damaged():
    world = tiny_loaded()
    with torch.no_grad():
        world.model.get_input_embeddings().weight[NAN] = torch.nan
    return world


def test_what_a_cancelled_row_left_unread_reaches_nobody(damaged):
    batch = batch_of(damaged)
    bad = row_of(damaged, Request((5,) * 4 + (NAN,) * 40, sampling=GREEDY))
    run(batch, [bad], n_steps=3)
    assert 8 < bad.n_done < 44
    bad.ticket.cancel()
    requests = [Request((5, 6 + n, 7), sampling=GREEDY) for n in range(2)]
    rows = [row_of(damaged, request) for request in requests]
    told = run(batch, rows)
    assert told[bad].finish_reason == "cancelled"
    for row, request in zip(rows, requests, strict=True):
        assert_same(told[row], alone("llama", request))


@pytest.mark.parametrize("pooling", ["norm", "none", "mean", "last"])
def test_states_that_are_no_numbers_are_never_an_answer(damaged, pooling):
    capture = Capture((HookPoint(0),), (pooling,), "prompt")
    row = row_of(damaged, Request((3, NAN, 4), response=(), capture=capture))
    assert isinstance(run(batch_of(damaged), [row])[row], NonFiniteOutput)


def test_readouts_that_are_no_numbers_are_never_an_answer():
    world = loaded("llama")
    endless = Readout("endless", HookPoint(0), np.full(32, np.inf, dtype=np.float32))
    row = row_of(world, Request((3, 4), response=(), readouts=(endless,)))
    assert isinstance(run(batch_of(world), [row])[row], NonFiniteOutput)


def test_memory_that_runs_out_over_the_states_splits_the_step(monkeypatch):
    world = loaded("llama")
    batch, original = batch_of(world, step_tokens=64), None

    def reduce(hidden, rows):
        if len(rows) > 1 or sum(len(row.captured) for row in rows) > 8:
            raise RuntimeError("out of memory")
        return original(hidden, rows)

    original = batch._pools.reduce
    monkeypatch.setattr(batch._pools, "reduce", reduce)
    capture = Capture((HookPoint(0), HookPoint(1)), ("mean", "norm", "last"), "all")
    requests = [
        Request(tuple(range(3, 20 + n)), sampling=GREEDY, capture=capture) for n in range(3)
    ]
    rows = [row_of(world, request) for request in requests]
    told = run(batch, rows)
    for row, request in zip(rows, requests, strict=True):
        assert_same(told[row], alone("llama", request))


def test_a_row_that_finds_no_memory_beside_others_waits_for_them(monkeypatch):
    world = loaded("llama")
    batch = batch_of(world)
    reserve = batch._slots.reserve

    def scarce(n_slots, n_places):
        if n_slots > 1:
            raise RuntimeError("CUDA out of memory")
        reserve(n_slots, n_places)

    monkeypatch.setattr(batch._slots, "reserve", scarce)
    requests = [Request((3, 4, 5 + n), sampling=GREEDY) for n in range(3)]
    rows = [row_of(world, request) for request in requests]
    told = run(batch, rows)
    for row, request in zip(rows, requests, strict=True):
        assert_same(told[row], alone("llama", request))


def test_a_prompt_that_cannot_be_kept_is_answered(monkeypatch):
    world = loaded("llama")
    batch = batch_of(world, cache_bytes=1 << 20)

    def read(slot, start, stop):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(batch._slots, "read", read)
    request = Request(tuple(range(3, 40)), sampling=GREEDY)
    row = row_of(world, request)
    assert_same(run(batch, [row])[row], alone("llama", request))


def test_a_prompt_read_without_a_response_is_kept():
    world = loaded("llama")
    batch = batch_of(world, cache_bytes=1 << 20)
    rows = [row_of(world, Request(tuple(range(3, 40)), response=())) for _ in range(2)]
    assert run(batch, rows[:1])[rows[0]].n_cached == 0
    assert run(batch, rows[1:])[rows[1]].n_cached == 32


def test_an_adapter_that_cannot_be_had_ends_its_own_row():
    world = loaded("llama")
    worker = Worker(batch_of(world), Turns(), Leases(), capacity=9)
    rows = [row_of(world, Request((3, 4), sampling=GREEDY, adapter=name)) for name in (None, "x")]
    for row in rows:
        worker.submit(row)
    with pytest.raises(CorruptArtifact, match="damaged"):
        rows[1].ticket.result(60)
    assert rows[0].ticket.result(60).finish_reason == "length"
    assert worker.failure == ""
    worker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_says_so_and_leaves_nobody_waiting(monkeypatch):
    world = loaded("llama")
    batch = batch_of(world)
    worker = Worker(batch, Turns(), Leases(), capacity=9)

    def step(next_row, told):
        raise OutOfMemory("no room")

    def abandon(reason, told):
        raise ZeroDivisionError("beyond repair")

    monkeypatch.setattr(batch, "step", step)
    monkeypatch.setattr(batch, "abandon", abandon)
    row = row_of(world, Request((3, 4), sampling=GREEDY))
    worker.submit(row)
    with pytest.raises(IntegrityError, match="beyond repair"):
        row.ticket.result(60)
    assert "beyond repair" in worker.failure
    worker.close()


def test_memory_is_given_back_when_nobody_has_asked_for_a_while():
    world = loaded("llama")
    batch = batch_of(world)
    request = Request((3, 4, 5), sampling=GREEDY)
    worker = Worker(batch, Turns(), Leases(), capacity=9, idle_s=0.05)
    for _ in range(2):
        row = row_of(world, request)
        worker.submit(row)
        assert_same(row.ticket.result(60), alone("llama", request))
        wait_until(lambda: batch._slots.n_slots == 0)
    assert worker.failure == ""
    worker.close()


def test_memory_is_kept_between_requests_that_follow_each_other():
    world = loaded("llama")
    batch = batch_of(world)
    worker = Worker(batch, Turns(), Leases(), capacity=9, idle_s=60.0)
    row = row_of(world, Request((3, 4, 5), sampling=GREEDY))
    worker.submit(row)
    row.ticket.result(60)
    wait_until(lambda: worker.n_running == 0)
    assert batch._slots.n_slots > 0
    worker.close()


def wait_until(holds, most_s=30.0):
    end = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
