"""The batch and the others share the model's time, nobody is forgotten, lines keep their order."""

import queue
import random
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine.model import turns as module
from glassbox.engine.model.turns import Turns
from tests.waiting import PATIENCE_S, until

BATCH = 0
"""Number of the one who makes steps; all others are numbered from 1."""

EPSILON_S = 1e-9


class Stage:
    """Threads that ask and give back when they are told to, under a clock that stands still."""

    def __init__(self, n_others):
        self.now_s = 0.0
        self.turns = Turns()
        self.holder = None
        self.asked = []
        """Who waits or holds, in the order of asking."""
        self.has_had = [0.0] * (n_others + 1)
        self._told = [queue.Queue() for _ in self.has_had]
        self._taken = queue.Queue()
        self._threads = [
            threading.Thread(target=self._play, args=(who,)) for who in range(len(self.has_had))
        ]
        for thread in self._threads:
            thread.start()

    def _play(self, who):
        turn = self.turns.step if who == BATCH else lambda: self.turns
        while self._told[who].get(timeout=PATIENCE_S) == "ask":
            with turn():
                self._taken.put(who)
                self._told[who].get(timeout=PATIENCE_S)
            self._taken.put(None)

    def ask(self, who):
        self.asked.append(who)
        self._told[who].put("ask")
        self._settle()

    def give_back(self, after_s):
        """Let the holder give its turn back after a while; return who it was."""
        self.now_s += after_s
        who, self.holder = self.holder, None
        self.has_had[who] += after_s
        self.asked.remove(who)
        self._told[who].put("give back")
        assert self._taken.get(timeout=PATIENCE_S) is None
        self._settle()
        return who

    def rest(self):
        self.turns.rest()
        self._settle()

    def _settle(self):
        """Wait until everybody who has asked holds the turn or stands in line."""

        def is_settled():
            if self.holder is None and not self._taken.empty():
                self.holder = self._taken.get()
            return self.turns.n_waiting + (self.holder is not None) == len(self.asked)

        until(is_settled, every_s=1e-4)
        assert self._taken.empty(), "two hold the turn"

    def end(self):
        """Have everybody go home: nobody who waits is forgotten."""
        for told in self._told:
            # Once for whoever holds or waits for the turn, and once for whoever has nothing to do.
            told.put("end")
            told.put("end")

        def is_over():
            self.turns.rest()
            return not any(thread.is_alive() for thread in self._threads)

        until(is_over, every_s=1e-3)
        assert self.turns.acquire(0)


@contextmanager
def stage(n_others):
    with pytest.MonkeyPatch.context() as patch:
        played = Stage(n_others)
        patch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: played.now_s))
        try:
            yield played
        finally:
            played.end()


SECONDS = st.floats(0.001, 40)


@given(
    n_others=st.integers(2, 4),
    turns=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_neither_gets_ahead_by_more_than_a_step_and_a_turn(n_others, turns):
    with stage(n_others) as played:
        for who in range(n_others + 1):
            played.ask(who)
        longest_s = 0.0
        for step_s, turn_s in turns:
            played.ask(played.give_back(step_s if played.holder == BATCH else turn_s))
            longest_s = max(longest_s, step_s + turn_s)
            others_s = sum(played.has_had[1:])
            assert abs(played.has_had[BATCH] - others_s) <= longest_s + EPSILON_S


@given(n_others=st.integers(1, 4), draw=st.data())
@settings(max_examples=40, deadline=None)
def test_nobody_waits_but_for_a_holder_or_for_the_batch_between_steps(n_others, draw):
    with stage(n_others) as played:
        goes_on, line = False, []
        for _ in range(draw.draw(st.integers(1, 25))):
            idle = [who for who in range(n_others + 1) if who not in played.asked]
            chosen = draw.draw(st.sampled_from([*idle, "give back", "rest"]))
            if chosen == "rest":
                if BATCH not in played.asked:
                    played.rest()
                    goes_on = False
            elif chosen == "give back":
                if played.holder is not None:
                    played.give_back(draw.draw(SECONDS))
            else:
                played.ask(chosen)
                goes_on = goes_on or chosen == BATCH
                line += [chosen] if chosen != BATCH else []
            if played.holder is None and played.asked:
                assert goes_on
                assert BATCH not in played.asked
            # The others are served in the order of asking, whatever the batch does in between.
            waiting = [who for who in played.asked if who not in (BATCH, played.holder)]
            assert waiting == line[len(line) - len(waiting) :]


class Hurry:
    """Threads that give up soon, beside a batch that often rests, all at once."""

    def __init__(self, n_others):
        self.turns, self.is_over = Turns(), threading.Event()
        self.n_had, self.overlaps = [0] * (n_others + 1), []
        self._inside = []
        self.threads = [
            threading.Thread(target=self._hurry if who else self._step, args=(who,))
            for who in range(n_others + 1)
        ]

    @contextmanager
    def _alone(self, who, seconds):
        self._inside.append(who)
        if len(self._inside) > 1:
            self.overlaps.append(tuple(self._inside))
        time.sleep(seconds)
        yield
        self._inside.remove(who)
        self.n_had[who] += 1

    def _hurry(self, who):
        chance = random.Random(who)
        while not self.is_over.is_set():
            if self.turns.acquire(chance.random() * 2e-3):
                with self._alone(who, chance.random() * 1e-3):
                    pass
                self.turns.release()

    def _step(self, who):
        chance = random.Random(who)
        while not self.is_over.is_set():
            for _ in range(chance.randrange(5)):
                with self.turns.step(), self._alone(who, chance.random() * 2e-3):
                    pass
            self.turns.rest()


def test_nobody_is_lost_where_others_give_up_in_the_moment_of_their_turn():
    hurry = Hurry(n_others=6)
    for thread in hurry.threads:
        thread.start()
    time.sleep(1.0)
    until(lambda: min(hurry.n_had) > 3)
    hurry.is_over.set()
    for thread in hurry.threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert not hurry.overlaps
    assert hurry.turns.n_waiting == 0
    assert hurry.turns.acquire(0)
