"""Who may use the model, and that nobody's going away keeps the others from it."""

import signal
import threading
import time
from types import SimpleNamespace

import pytest

from glassbox.engine.model import turns as module
from glassbox.engine.model.turns import Turns
from tests.waiting import PATIENCE_S, until


def take(turns, order, name):
    """Start a thread that takes a turn and notes it."""

    def run():
        with turns:
            order.append(name)

    thread = threading.Thread(target=run)
    n = len(turns._waiting)
    thread.start()
    while len(turns._waiting) == n:
        time.sleep(0.001)
    return thread


def test_turns_come_in_the_order_of_asking():
    turns, order = Turns(), []
    with turns:
        threads = [take(turns, order, name) for name in range(5)]
        with turns:
            assert order == [], "its holder may take it again"
    for thread in threads:
        thread.join()
    assert order == list(range(5))
    assert turns.acquire(0)


@pytest.mark.parametrize(
    ("n_others", "turn_s", "step_s"), [(1, 0.03, 0.002), (6, 0.03, 0.002), (4, 0.003, 0.04)]
)
def test_the_batch_gets_as_much_time_as_all_others_together(n_others, turn_s, step_s):
    turns, spent, is_over = Turns(), {"steps": 0.0, "others": 0.0}, threading.Event()

    def work(kind, seconds, turn):
        while not is_over.is_set():
            with turn():
                began_s = time.perf_counter()
                time.sleep(seconds)
                spent[kind] += time.perf_counter() - began_s

    threads = [
        threading.Thread(target=work, args=("others", turn_s, lambda: turns))
        for _ in range(n_others)
    ]
    threads.append(threading.Thread(target=work, args=("steps", step_s, turns.step)))
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    is_over.set()
    threads[-1].join(PATIENCE_S)
    turns.rest()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert 0.4 < spent["steps"] / (spent["steps"] + spent["others"]) < 0.6


def test_a_batch_that_rests_keeps_nobody_waiting():
    turns, order = Turns(), []

    def other():
        with turns:
            time.sleep(0.01)
            order.append("other")

    with turns.step():
        pass
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(PATIENCE_S)
    # Of the other's turn it is owed as much now, so that the next one waits although nobody has it.
    late = take(turns, order, "late")
    with turns:
        order.append("what the batch's own thread asks for")
    assert turns.acquire(0), "it may ask for it as often as it wants"
    turns.release()
    assert order == ["other", "what the batch's own thread asks for"]
    turns.rest()
    late.join(PATIENCE_S)
    assert order[-1] == "late"
    with turns:
        assert take(turns, order, "last").is_alive()
    until(lambda: order[-1] == "last")


def test_waiting_has_an_end():
    turns, caught = Turns(), []
    with turns:
        thread = threading.Thread(target=lambda: caught.append(turns.acquire(0.01)))
        thread.start()
        thread.join()
    assert caught == [False]
    assert turns.acquire(0)


def test_whoever_is_interrupted_while_waiting_leaves_the_line():
    turns, held, go = Turns(), threading.Event(), threading.Event()

    def hold():
        with turns:
            held.set()
            go.wait(PATIENCE_S)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(PATIENCE_S)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            turns.acquire(PATIENCE_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    go.set()
    thread.join()
    assert turns.acquire(PATIENCE_S), "nobody has it, so it is free"


def test_whoever_is_interrupted_when_the_turn_comes_hands_it_on(monkeypatch):
    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            super().wait(timeout)
            raise KeyboardInterrupt

    turns, order, caught = Turns(), [], []

    def interrupted():
        try:
            turns.acquire(PATIENCE_S)
        except KeyboardInterrupt as error:
            caught.append(error)

    with turns:
        thread = threading.Thread(target=interrupted)
        # Only the module's name is changed: threads need events of their own.
        patched = SimpleNamespace(Event=Interrupted, get_ident=threading.get_ident)
        with monkeypatch.context() as patch:
            patch.setattr(module, "threading", patched)
            thread.start()
            while not turns._waiting:
                time.sleep(0.001)
        other = take(turns, order, "other")
    thread.join(PATIENCE_S)
    other.join(PATIENCE_S)
    assert caught
    assert order == ["other"]
    assert turns.acquire(PATIENCE_S)
