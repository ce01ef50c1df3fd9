"""Who waits, who is let in, and what ends by time, by closing or for a fit."""

import threading
import time
from pathlib import Path

import pytest

from glassbox.engine.batching import row, set_back
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.batching.set_back import SetBack
from glassbox.engine.protocol import AdapterFit, AdapterRecipe
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, DeadlineExceeded, QueueFull, TextTooLong
from glassbox.types import Capture
from tests.engine.batch_world import (
    GREEDY,
    POINTS,
    POOLINGS,
    PROMPT,
    alone,
    assert_same,
    loaded,
    random_readouts,
    slow_steps,
)
from tests.waiting import PATIENCE_S


def test_time_that_runs_out(engine, monkeypatch):
    slow_steps(monkeypatch)
    long = Sampling(max_tokens=200, temperature=0.0, stop_at_end=False)
    late = engine.submit(Request(PROMPT, sampling=long, deadline_s=0.2))
    never = engine.submit(Request(PROMPT, sampling=long, deadline_s=0.0))
    answer = late.result(PATIENCE_S)
    assert answer.finish_reason == "deadline"
    assert 0 < len(answer.tokens.token_ids) < 200
    with pytest.raises(DeadlineExceeded, match="allowed"):
        never.result(PATIENCE_S)
    waiting = engine.submit(Request(PROMPT, sampling=long))
    with pytest.raises(DeadlineExceeded, match="within"):
        waiting.result(0.01)
    waiting.cancel()
    assert waiting.result(PATIENCE_S).finish_reason == "cancelled"


def test_a_full_line_says_when_to_come_back(monkeypatch):
    slow_steps(monkeypatch)
    engine = ResidentEngine(loaded("llama"), capacity=Capacity(n_rows=1, n_waiting=2))
    request = Request(PROMPT, sampling=GREEDY)
    running = threading.Event()
    tickets = [engine.submit(request, lambda _: running.set())]
    assert running.wait(PATIENCE_S)
    tickets += [engine.submit(request) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests wait") as caught:
        engine.submit(request)
    assert 1 <= caught.value.retry_after_s <= 60
    assert len(engine.generate([request] * 5)) == 5
    assert all(ticket.result(PATIENCE_S).finish_reason == "length" for ticket in tickets)
    engine.close()


def test_clients_take_turns(monkeypatch):
    engine = ResidentEngine(loaded("llama"), capacity=Capacity(n_rows=1))
    slow_steps(monkeypatch, 0.005)
    order, requests = [], []
    for client, n in (("greedy", 6), ("modest", 2)):
        requests += [
            Request((3, n, at), sampling=Sampling(max_tokens=2, temperature=0.0), client=client)
            for at in range(n)
        ]
    tickets = [engine.submit(request) for request in requests]
    for request, ticket in zip(requests, tickets, strict=True):
        ticket.when_done(lambda client=request.client: order.append(client))
    for ticket in tickets:
        ticket.result(PATIENCE_S)
    engine.close()
    assert max(at for at, client in enumerate(order) if client == "modest") <= 4


@pytest.mark.parametrize("kept_bytes", [0, 2**20])
def test_rows_that_outgrow_their_room_take_turns(monkeypatch, kept_bytes):
    place_bytes = 2 * 2 * 2 * 8 * 4
    # Room for three rows of 64 places, or for two of 128: the youngest has to give way.
    engine = ResidentEngine(loaded("llama"), capacity=Capacity(keys_bytes=256 * place_bytes))
    monkeypatch.setattr(row, "AHEAD_TOKENS", 16)
    wait, gave_way = SetBack.wait, []

    def noted(self, row, n_crowd=None):
        gave_way.append(row)
        wait(self, row, n_crowd)

    monkeypatch.setattr(SetBack, "wait", noted)
    monkeypatch.setattr(set_back, "KEPT_BYTES", kept_bytes)
    capture = Capture(POINTS, POOLINGS, "all")
    readouts = random_readouts()
    long = Sampling(max_tokens=90, temperature=1.0, seed=4, stop_at_end=False)
    requests = [
        Request((0, 9, 8 + n), sampling=long, capture=capture, readouts=readouts) for n in range(3)
    ]
    pieces = [[] for _ in requests]
    tickets = [
        engine.submit(request, told.append) for request, told in zip(requests, pieces, strict=True)
    ]
    answers = [ticket.result(PATIENCE_S) for ticket in tickets]
    engine.close()
    for request, answer, told in zip(requests, answers, pieces, strict=True):
        assert_same(answer, alone("llama", request))
        assert "".join(piece.text for piece in told) == answer.text
        assert sum(len(piece.readouts["ramp"]) for piece in told) == len(answer.readouts["ramp"])
    assert gave_way


def fitting(engine, monkeypatch, fit):
    """Return a thread that fits, and what became of it."""
    monkeypatch.setattr("glassbox.engine.fitting.fit.fit", fit)
    ended = []

    def run():
        try:
            ended.append(
                engine.fit_adapter(
                    [], [], [(5,)], lambda logprobs, _: logprobs.mean(), Path(), AdapterRecipe()
                )
            )
        except ConflictError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


def test_fitting_lets_waiting_requests_end(engine, monkeypatch):
    free = threading.Event()
    nothing = AdapterFit(Path(), "", (), 0, 0, 1)
    thread, _ = fitting(engine, monkeypatch, lambda *_, **__: free.wait(PATIENCE_S) and nothing)
    time.sleep(0.1)
    late = engine.submit(Request(PROMPT, sampling=GREEDY, deadline_s=0.1))
    cancelled = engine.submit(Request(PROMPT, sampling=GREEDY))
    cancelled.cancel()
    assert cancelled.result(PATIENCE_S).finish_reason == "cancelled"
    with pytest.raises(DeadlineExceeded, match="allowed"):
        late.result(PATIENCE_S)
    free.set()
    thread.join()
    assert engine.generate([Request(PROMPT, sampling=GREEDY)])[0].finish_reason == "length"


def test_closing_ends_a_fit_after_its_step(monkeypatch):
    engine, begun = ResidentEngine(loaded("llama")), threading.Event()

    def fit(*_, progress, **__):
        for step in range(10_000):
            begun.set()
            time.sleep(0.01)
            progress(None, step, 10_000)

    thread, ended = fitting(engine, monkeypatch, fit)
    assert begun.wait(PATIENCE_S)
    waiting = engine.submit(Request(PROMPT, sampling=GREEDY))
    assert engine.is_alive
    engine.close()
    assert waiting.result(PATIENCE_S).finish_reason == "cancelled"
    thread.join(PATIENCE_S)
    assert isinstance(ended[0], ConflictError)
    assert not engine.is_alive
    assert "closed" in engine.failure


def test_scoring_gets_in_between_the_steps(engine, monkeypatch):
    slow_steps(monkeypatch, 0.1)
    ended, long = threading.Event(), Sampling(max_tokens=100, temperature=0.0, stop_at_end=False)
    ticket = engine.submit(Request(PROMPT, sampling=long))
    ticket.when_done(ended.set)
    engine.logprobs([PROMPT], [(5,), (6,)])
    assert not ended.is_set(), "its hundred steps take ten seconds"
    ticket.cancel()


def test_closing_ends_what_runs_and_waits_as_cancelled(monkeypatch):
    slow_steps(monkeypatch)
    engine = ResidentEngine(loaded("llama"), capacity=Capacity(n_rows=1))
    tickets = [engine.submit(Request(PROMPT, sampling=GREEDY)) for _ in range(3)]
    engine.close()
    engine.close()
    assert [ticket.result(PATIENCE_S).finish_reason for ticket in tickets] == ["cancelled"] * 3
    with pytest.raises(ConflictError, match="closed"):
        engine.submit(Request(PROMPT))


def test_rows_that_do_not_fit_together_wait_for_one_another():
    world = loaded("llama")
    place_bytes = 2 * 2 * 2 * 8 * 4
    capacity = Capacity(keys_bytes=128 * place_bytes)
    engine = ResidentEngine(world, capacity=capacity)
    requests = [Request(PROMPT * n, sampling=GREEDY) for n in (9, 1, 8, 2)]
    for request, answer in zip(requests, engine.generate(requests), strict=True):
        assert_same(answer, alone("llama", request))
    with pytest.raises(TextTooLong, match="leaves room for 127"):
        engine.submit(Request((3,) * 128))
    engine.close()
