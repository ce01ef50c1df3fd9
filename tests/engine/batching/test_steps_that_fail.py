"""A step, a row or a listener fails: who is at fault ends, everybody else is answered."""

import queue
import random
import threading
import time

import pytest
import torch

from glassbox.engine.batching import running_batch
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.batching.text_out import TextOut
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, IntegrityError, NonFiniteOutput, OutOfMemory
from glassbox.testing import tiny_loaded
from glassbox.types import Capture, HookPoint
from tests.engine.batch_world import (
    GREEDY,
    PROMPT,
    alone,
    assert_same,
    loaded,
    random_readouts,
    random_request,
    slow_steps,
)
from tests.waiting import PATIENCE_S


def test_nan_of_one_request_reaches_no_other(monkeypatch):
    world = tiny_loaded()
    with torch.no_grad():
        world.model.get_input_embeddings().weight[77] = torch.nan
    monkeypatch.setattr("glassbox.engine.scoring.choose_path._trial", lambda *_: _tame_trial())
    engine = ResidentEngine(world, capacity=Capacity(n_rows=4))
    capture = Capture((HookPoint(0),), ("mean", "last"), "all")
    good = [Request((0, 5 + n, 9), sampling=GREEDY, capture=capture) for n in range(6)]
    bad = [
        Request((0, 77, 3), sampling=GREEDY, capture=capture),
        Request((0, 77), response=(), capture=capture),
        Request((0, 77), response=(), capture=Capture((HookPoint(0),), ("norm",), "all")),
        Request((0, 77), response=(), readouts=random_readouts()),
    ]
    tickets = [engine.submit(each) for each in [*good[:3], *bad, *good[3:]]]
    for ticket in tickets[3:7]:
        with pytest.raises(NonFiniteOutput, match="NaN"):
            ticket.result(PATIENCE_S)
    clean = [ticket.result(PATIENCE_S) for ticket in [*tickets[:3], *tickets[7:]]]
    again = engine.generate(good)
    engine.close()
    for request, one, two in zip(good, clean, again, strict=True):
        expected = alone("llama", request)
        assert_same(one, expected)
        assert_same(two, expected)


def _tame_trial():
    from glassbox.engine.layout.trie import build_trie

    return [(1, 2, 3, 4, 5), (1, 2, 3, 9)], build_trie([(4,), (5, 6)])


def test_a_step_that_does_not_fit_is_split_and_everybody_answered(monkeypatch):
    original = running_batch.Stepper.run

    def run(self, parts, points=()):
        if sum(len(part.tokens) for part in parts) > 9:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return original(self, parts, points)

    draw = random.Random(5)
    requests = [random_request(draw) for _ in range(12)]
    engine = ResidentEngine(loaded("llama"))
    monkeypatch.setattr(running_batch.Stepper, "run", run)
    for request, answer in zip(requests, engine.generate(requests), strict=True):
        assert_same(answer, alone("llama", request))
    engine.close()


def test_a_request_that_cannot_be_run_alone_ends_and_the_engine_lives(monkeypatch):
    original = running_batch.Stepper.run

    def run(self, parts, points=()):
        if any(200 in part.tokens for part in parts):
            raise RuntimeError("out of memory")
        if any(201 in part.tokens for part in parts):
            raise RuntimeError("device-side assert")
        return original(self, parts, points)

    engine = ResidentEngine(loaded("llama"))
    monkeypatch.setattr(running_batch.Stepper, "run", run)
    prompts = [(3, 4), (3, 200), (3, 201), (3, 5)]
    tickets = [engine.submit(Request(prompt, sampling=GREEDY)) for prompt in prompts]
    with pytest.raises(OutOfMemory, match="even alone"):
        tickets[1].result(PATIENCE_S)
    with pytest.raises(IntegrityError, match=r"step failed \(RuntimeError\)") as caught:
        tickets[2].result(PATIENCE_S)
    assert "device-side" in str(caught.value.__cause__)
    for at in (0, 3):
        request = Request(prompts[at], sampling=GREEDY)
        if not {200, 201} & set(alone("llama", request).tokens.token_ids):
            assert_same(tickets[at].result(PATIENCE_S), alone("llama", request))
    engine.close()


def test_a_listener_that_fails_ends_its_own_request_only(engine):
    def broken(piece):
        raise RuntimeError("the reader has gone")

    failed = engine.submit(Request(PROMPT, sampling=GREEDY), broken)
    fine = engine.submit(Request(PROMPT, sampling=GREEDY))
    with pytest.raises(RuntimeError, match="has gone"):
        failed.result(PATIENCE_S)
    assert fine.result(PATIENCE_S).finish_reason == "length"


@pytest.mark.parametrize("error", [queue.Full("full"), AssertionError("gone"), KeyError("reader")])
def test_a_listener_may_raise_anything(engine, error):
    def broken(piece):
        raise error

    failed = engine.submit(Request(PROMPT, sampling=GREEDY), broken)
    with pytest.raises(type(error), match=str(error.args[0])):
        failed.result(PATIENCE_S)
    assert engine.generate([Request(PROMPT, sampling=GREEDY)])[0].finish_reason == "length"


def test_an_error_of_ours_inside_a_step_ends_one_request(monkeypatch):
    original = running_batch.Stepper.run

    def run(self, parts, points=()):
        if any(200 in part.tokens for part in parts):
            raise ConflictError("the adapter is gone")
        return original(self, parts, points)

    engine = ResidentEngine(loaded("llama"))
    monkeypatch.setattr(running_batch.Stepper, "run", run)
    greedy = Sampling(max_tokens=1, temperature=0.0)
    tickets = [engine.submit(Request((3, n), sampling=greedy)) for n in (4, 200, 5)]
    with pytest.raises(ConflictError, match="adapter is gone"):
        tickets[1].result(PATIENCE_S)
    assert [tickets[at].result(PATIENCE_S).n_prompt for at in (0, 2)] == [2, 2]
    engine.close()


def test_a_step_that_fails_as_a_whole_loses_nobody(engine, monkeypatch):
    broken = threading.Event()

    def plan(self, next_row, told):
        if broken.is_set():
            broken.clear()
            raise AssertionError("the plan is broken")
        return original(self, next_row, told)

    original = running_batch.RunningBatch._plan
    monkeypatch.setattr(running_batch.RunningBatch, "_plan", plan)
    slow_steps(monkeypatch)
    long = Sampling(max_tokens=100, temperature=0.0, stop_at_end=False)
    tickets = [engine.submit(Request(PROMPT, sampling=long)) for _ in range(3)]
    time.sleep(0.1)
    tickets[0].cancel()
    broken.set()
    assert tickets[0].result(PATIENCE_S).finish_reason == "cancelled"
    for ticket in tickets[1:]:
        with pytest.raises(IntegrityError, match="AssertionError") as caught:
            ticket.result(PATIENCE_S)
        assert str(caught.value.__cause__) == "the plan is broken"
    assert engine.generate([Request(PROMPT, sampling=GREEDY)])[0].finish_reason == "length"


def test_what_only_one_row_can_do_wrong_ends_that_row(engine, monkeypatch):
    original = TextOut.add

    def add(self, token):
        if len(self._context) == 1:
            raise TypeError("no such id")
        return original(self, token)

    monkeypatch.setattr(TextOut, "add", add)
    requests = [Request(prompt, sampling=GREEDY) for prompt in ((3,), (3, 4))]
    tickets = [engine.submit(request, lambda _: None) for request in requests]
    with pytest.raises(IntegrityError, match="TypeError"):
        tickets[0].result(PATIENCE_S)
    assert tickets[1].result(PATIENCE_S).finish_reason == "length"
