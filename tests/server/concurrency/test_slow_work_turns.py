"""Callers take turns at the calls that keep the model for a while."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from glassbox.errors import DeadlineExceeded, QueueFull
from glassbox.server.concurrency.slow_work import AT_A_TIME, MAX_WAITING, SlowCalls
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def never():
    await asyncio.Event().wait()


class Server(SlowCalls):
    """Such calls of clients that never go away."""

    async def answer(self, client, deadline_s, work):
        return await self.run(never, client, deadline_s, work)


@pytest.fixture
def server():
    return Server()


async def until(is_so):
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Calls:
    """Calls of several clients that begin when they may and end when they are told to."""

    def __init__(self, server):
        self.server = server
        self.begun = []
        self._may_end = threading.Semaphore(0)

    def send(self, name, client, deadline_s=PATIENCE_S):
        def work(_):
            self.begun.append(name)
            assert self._may_end.acquire(timeout=PATIENCE_S)

        return asyncio.create_task(self.server.answer(client, deadline_s, work))

    def end(self, n=1):
        self._may_end.release(n)


async def test_a_callers_many_calls_do_not_keep_another_waiting(server):
    calls = Calls(server)
    many = [calls.send(f"many {n}", "many") for n in range(4 * AT_A_TIME)]
    await until(lambda: len(calls.begun) == AT_A_TIME)
    ones = [calls.send("one", "one") for _ in range(2)]
    await until(lambda: len(calls.begun) == AT_A_TIME + 1)

    # Nobody's call has ended: whoever has none under way need not wait for that.
    assert calls.begun[-1] == "one"
    calls.end(2)
    await until(lambda: len(calls.begun) == AT_A_TIME + 2)
    assert calls.begun[-1] == "one"
    calls.end(len(many))
    await asyncio.gather(*ones, *many)


async def test_beyond_the_few_there_are_as_many_again_and_no_more(server):
    calls = Calls(server)
    tasks = [calls.send("a", "a") for _ in range(AT_A_TIME)]
    await until(lambda: len(calls.begun) == AT_A_TIME)
    tasks += [calls.send(name, name) for name in "bcdefgh"]
    await until(lambda: len(calls.begun) == 2 * AT_A_TIME)
    await asyncio.sleep(0.05)
    assert calls.begun == ["a"] * AT_A_TIME + list("bcde")
    calls.end(len(tasks))
    await asyncio.gather(*tasks)
    assert sorted(calls.begun[2 * AT_A_TIME :]) == list("fgh")


async def test_each_callers_calls_keep_their_order(server):
    calls = Calls(server)
    tasks = [calls.send(n, "a") for n in range(3 * AT_A_TIME)]
    for done in range(AT_A_TIME, 3 * AT_A_TIME):
        await until(lambda done=done: len(calls.begun) == done)
        calls.end()
    calls.end(AT_A_TIME)
    await asyncio.gather(*tasks)

    assert calls.begun[AT_A_TIME:] == list(range(AT_A_TIME, 3 * AT_A_TIME))


async def test_a_full_line_turns_away_who_fills_it_and_nobody_else(server):
    calls = Calls(server)
    many = [calls.send("many", "many") for _ in range(AT_A_TIME + MAX_WAITING)]
    await until(lambda: len(calls.begun) == AT_A_TIME)
    with pytest.raises(QueueFull, match=str(MAX_WAITING)):
        await calls.send("too many", "many")
    one = calls.send("one", "one")
    await asyncio.sleep(0)
    calls.end(len(many) + 1)
    await asyncio.gather(one, *many)

    assert "one" in calls.begun


async def test_places_are_not_lost_where_waiting_is_given_up(server):
    calls = Calls(server)
    first = [calls.send("first", "a") for _ in range(AT_A_TIME)]
    await until(lambda: len(calls.begun) == AT_A_TIME)
    hurried = [calls.send("hurried", "a", 0.01) for _ in range(20)]
    left = [calls.send("left", "a") for _ in range(20)]
    patient = calls.send("patient", "a")
    for each in hurried:
        with pytest.raises(DeadlineExceeded, match="no answer within"):
            await each
    for each in left:
        each.cancel()
    # A place comes free in the very moment in which those before it in line go away.
    calls.end(1)
    await asyncio.gather(*left, return_exceptions=True)
    await until(lambda: "patient" in calls.begun)
    calls.end(AT_A_TIME)
    await asyncio.gather(patient, *first)
    again = [calls.send("again", "c") for _ in range(AT_A_TIME)]
    await until(lambda: calls.begun.count("again") == AT_A_TIME)
    calls.end(AT_A_TIME)
    await asyncio.gather(*again)

    assert {"hurried", "left"}.isdisjoint(calls.begun)


async def test_a_caller_with_many_calls_going_pauses_all_but_one_for_another(server):
    steps, is_over = Counter(), threading.Event()

    def steps_of(client):
        def work(allowance):
            while not is_over.is_set():
                allowance.check()
                time.sleep(0.002)
                steps[client] += 1

        return work

    def send(client):
        return asyncio.create_task(server.answer(client, PATIENCE_S, steps_of(client)))

    calls = [send("many") for _ in range(AT_A_TIME)]
    await until(lambda: steps["many"] > 10 * AT_A_TIME)
    calls.append(send("one"))
    await until(lambda: steps["one"] > 10)
    before = steps.copy()
    await until(lambda: steps["one"] > 200)
    alone = (steps - before)["many"] / (steps - before)["one"]
    # Whoever paused goes on when the other one has ended.
    is_over.set()
    await asyncio.gather(*calls)

    assert alone < 0.5 * AT_A_TIME, "four calls of one caller had about as much as one of another"


async def test_a_call_that_pauses_ends_with_its_time(server):
    may_end = threading.Event()

    def work(_):
        assert may_end.wait(PATIENCE_S)

    def checked(allowance):
        while True:
            allowance.check()
            time.sleep(0.001)

    calls = [asyncio.create_task(server.answer(name, PATIENCE_S, work)) for name in "ab"]
    with pytest.raises(DeadlineExceeded):
        await server.answer("a", 0.3, checked)
    going = server._going
    await until(lambda: [len(going._calls[name]) for name in "ab"] == [1, 1])
    may_end.set()
    await asyncio.gather(*calls)
    assert not going._calls
    assert not going._going


async def test_short_calls_and_a_long_one_of_their_caller_take_turns_beside_another(server):
    n_steps, n_short, is_over = Counter(), 0, threading.Event()

    def steps_of(client):
        def work(allowance):
            while not is_over.is_set():
                allowance.check()
                time.sleep(0.002)
                n_steps[client] += 1

        return work

    def short(allowance):
        allowance.check()
        time.sleep(0.002)

    async def short_ones():
        nonlocal n_short
        while not is_over.is_set():
            await server.answer("a", PATIENCE_S, short)
            n_short += 1

    calls = [asyncio.create_task(server.answer(name, PATIENCE_S, steps_of(name))) for name in "ab"]
    await until(lambda: n_steps["a"] and n_steps["b"])
    calls += [asyncio.create_task(short_ones()) for _ in range(3 * AT_A_TIME)]
    before = n_steps["a"]
    await until(lambda: n_steps["a"] - before >= 150)
    n_beside = n_short
    is_over.set()
    await asyncio.gather(*calls)

    # Places and their line are in between, so that they do not get quite as many.
    assert n_beside > 30


async def test_a_place_comes_back_where_there_is_no_thread(server, monkeypatch):
    def none_left(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        for _ in range(3 * AT_A_TIME):
            with pytest.raises(RuntimeError, match="new thread"):
                await server.answer("a", PATIENCE_S, lambda _: None)

    assert await server.answer("a", PATIENCE_S, lambda _: "done") == "done"
