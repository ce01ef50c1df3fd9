"""Keys share the batch: whoever waits holds fewest, a lone one has all, and nothing is redone."""

import time
from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine.batching import set_back
from glassbox.engine.batching.line import Line
from glassbox.engine.batching.prompt_cache import PromptCache
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.running_batch import Limits, RunningBatch
from glassbox.engine.batching.shares import held_by, in_the_way, readers
from glassbox.engine.batching.slots import Slots
from glassbox.engine.batching.stepper import Stepper
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.states.taps import Taps
from glassbox.types import Capture, HookPoint
from tests.engine.batch_world import alone, assert_same, loaded

N_ROWS = 4
STATES = Capture((HookPoint(0), HookPoint(1)), ("mean", "last", "norm", "none"), "all")


@cache
def tokenizer():
    return TokenizerCodec(loaded("llama").tokenizer)


def row_of(request):
    return Row(
        request=request,
        ticket=FutureTicket(),
        listen=None,
        codec=tokenizer(),
        ends=frozenset(),
        room=request.sampling.max_tokens,
        submitted_s=time.perf_counter(),
        d_model=32,
    )


def begun(client, priority, begun_s, n_left=1):
    """Return a row that has so many tokens left to read."""
    row = row_of(Request((3,) * n_left, client=client, priority=priority))
    row.begun_s = begun_s
    return row


batches = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), max_size=12).map(
    lambda pairs: [begun(*pair, float(at)) for at, pair in enumerate(pairs)]
)


@given(batches, st.sampled_from("abcd"), st.integers(0, 1), st.integers(0, 12))
def test_as_many_give_way_as_must_the_youngest_first_and_none_is_asked_back(
    rows, client, priority, most
):
    def fits(stay):
        return len(stay) <= most

    new = row_of(Request((3,), client=client, priority=priority))
    leave = in_the_way(new, rows, fits)
    if leave is None:
        assert not fits(rows)
        return
    assert len(leave) == max(0, len(rows) - most)
    stay = [row for row in rows if row not in leave]
    for gone in leave:
        assert new not in (in_the_way(gone, [*stay, new], fits) or ())
        alike = (gone.request.client, gone.request.priority)
        older = [row for row in stay if (row.request.client, row.request.priority) == alike]
        assert all(row.begun_s < gone.begun_s for row in older)


def test_whoever_has_least_to_read_comes_first_and_each_client_reads_in_order():
    long, longer = begun("a", 0, 1.0, 400), begun("a", 0, 0.0, 900)
    short = begun("b", 0, 2.0, 5)
    assert readers([long, begun("c", 0, 3.0), longer, short]) == [[short], [longer, long]]


class World:
    """A running batch step by step, and how many tokens went through the model."""

    def __init__(self, *, n_rows=N_ROWS, step_tokens=64):
        self.loaded = loaded("llama")
        slots = Slots(
            2, 2, 8, dtype=torch.float32, device=torch.device("cpu"), budget_bytes=1 << 22
        )
        stepper = Stepper(self.loaded.model, slots, Taps(self.loaded.model))
        self.batch = RunningBatch(
            stepper, PromptCache(0), Limits(n_rows, step_tokens, step_tokens, 300)
        )
        self.line, self.told, self.n_run = Line(1000), [], 0
        run = stepper.run

        def counted(parts, points=()):
            self.n_run += sum(len(part.tokens) for part in parts)
            return run(parts, points)

        stepper.run = counted

    def submit(self, request):
        row = row_of(request)
        self.line.add(row, client=request.client, priority=request.priority, retry_after_s=1.0)
        return row

    def step(self):
        with torch.inference_mode():
            self.batch.step(self.line.take, self.told)

    def running(self):
        """Return the rows of each client that have a slot."""
        return held_by(row for row in self.batch.rows if row.slot >= 0)

    def answers(self):
        while len(self.line) or self.batch.rows:
            self.step()
        return dict(self.told)


def writing(client, at, n=12, priority=0, capture=None):
    """Return a request; no two of them share a beginning."""
    return Request(
        (50 * (ord(client) - 96) + at, 6, 7, 8),
        sampling=Sampling(max_tokens=n, temperature=1.0, seed=at, stop_at_end=False),
        client=client,
        priority=priority,
        capture=capture,
    )


@pytest.mark.parametrize("capture", [None, STATES])
def test_a_full_batch_makes_room_at_once_and_what_pauses_is_not_done_again(capture):
    world = World()
    rows = {world.submit(r): r for r in [writing("a", at, capture=capture) for at in range(7)]}
    for _ in range(5):
        world.step()
    assert world.running() == {"a": N_ROWS}
    rows |= {world.submit(r): r for r in [writing("b", at, capture=capture) for at in range(3)]}
    world.step()
    assert world.running() == {"a": 2, "b": 2}
    told = world.answers()
    for row, request in rows.items():
        assert_same(told[row], alone("llama", request))
        assert told[row].n_cached == 0
    # Prompt and response of each, but for the token that is drawn last.
    assert world.n_run == sum(4 + request.sampling.max_tokens - 1 for request in rows.values())


def test_without_memory_for_what_pauses_it_is_read_again(monkeypatch):
    monkeypatch.setattr(set_back, "KEPT_BYTES", 0)
    world = World()
    requests = [writing("a", at, capture=STATES) for at in range(5)] + [writing("b", 0)]
    rows = [world.submit(request) for request in requests[:5]]
    for _ in range(3):
        world.step()
    rows.append(world.submit(requests[5]))
    told = world.answers()
    for row, request in zip(rows, requests, strict=True):
        assert_same(told[row], alone("llama", request))


def test_a_row_that_ends_while_it_pauses_tells_what_it_has():
    world = World()
    rows = [world.submit(writing("a", at, capture=STATES)) for at in range(N_ROWS)]
    for _ in range(4):
        world.step()
    world.submit(writing("b", 0))
    world.step()
    (paused,) = [row for row in rows if row.slot < 0]
    paused.ticket.cancel()
    world.step()
    answer = dict(world.told)[paused]
    assert answer.finish_reason == "cancelled"
    assert len(answer.tokens.token_ids) == 4
    assert answer.states[0].n_positions == 4 + 3
    world.answers()
    assert world.batch.rows == []


@settings(max_examples=10)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("aaab"), st.integers(1, 12)), max_size=12)
)
def test_at_every_step_whoever_waits_holds_at_most_one_row_less_than_anybody(arrivals):
    world, at_step = World(), 0
    rows = []
    while len(rows) < len(arrivals) or len(world.line) or world.batch.rows:
        for at, (moment, client, n) in enumerate(arrivals):
            if moment == at_step:
                rows.append(world.submit(writing(client, at, n)))
        # Those that end in this step leave their places to the next one.
        before = len(world.told)
        world.step()
        held = world.running()
        held.update(row.request.client for row, _ in world.told[before:])
        waiting = Counter(row.request.client for row in world.batch.rows if row.slot < 0)
        waiting.update(row.request.client for row in rows if row.begun_s is None)
        for client in waiting:
            assert max(held.values()) <= held[client] + 1
            assert sum(held.values()) == N_ROWS
        at_step += 1
    assert len(world.told) == len(arrivals)


def test_a_long_prompt_leaves_half_of_each_step_to_another_client():
    world = World(step_tokens=16)
    long = Request(tuple(range(3, 203)), response=(), client="a")
    other = Request((9,) * 20, response=(), client="b")
    world.submit(long)
    world.step()
    row = world.submit(other)
    world.step()
    world.step()
    world.step()
    assert row in dict(world.told), "20 tokens at 8 a step"
    assert len(world.answers()) == 2
    assert world.n_run == 220


def test_a_request_of_a_lower_priority_number_takes_the_place_of_others():
    world = World()
    late = [world.submit(writing("a", at, priority=9)) for at in range(N_ROWS)]
    world.step()
    urgent = [world.submit(writing("a", at)) for at in range(10, 10 + N_ROWS)]
    world.step()
    assert all(row.slot >= 0 for row in urgent)
    assert all(row.slot < 0 for row in late)
    assert len(world.answers()) == 2 * N_ROWS
