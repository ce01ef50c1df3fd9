import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.batching.line import Line, Pace
from glassbox.errors import QueueFull


def put(line, item, client="", priority=0, **options):
    line.add(item, client=client, priority=priority, retry_after_s=3.0, **options)


def drained(line):
    """Return everybody, in the order in which they are served."""
    return list(iter(lambda: line.take(lambda _: "now"), None))


waiting = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=30)


@given(waiting)
def test_everybody_is_served_once_by_priority_in_turn_and_in_order(rows):
    line = Line(100)
    for number, (client, priority) in enumerate(rows):
        put(line, (number, client, priority), client, priority)
    assert len(line) == len(rows)
    served = []
    while (item := line.take(lambda _: "now")) is not None:
        served.append(item)
    assert len(line) == 0
    assert sorted(served) == [(n, client, level) for n, (client, level) in enumerate(rows)]
    assert [level for _, _, level in served] == sorted(level for _, _, level in served)
    for level in {level for _, _, level in served}:
        same = [(number, client) for number, client, each in served if each == level]
        for client in "abc":
            mine = [number for number, whose in same if whose == client]
            assert mine == sorted(mine)
        # While a client waits, nobody is served twice before it is served once.
        left = Counter(client for _, client in same)
        for at, (_, client) in enumerate(same):
            left[client] -= 1
            others = [other for other, n in left.items() if n and other != client]
            following = [whose for _, whose in same[at + 1 : at + 1 + len(others)]]
            assert set(following) == set(others)


@given(waiting, st.integers(0, 29))
def test_those_taken_out_are_gone_and_the_rest_stays(rows, which):
    line = Line(100)
    for number, (client, priority) in enumerate(rows):
        put(line, number, client, priority)
    gone = line.remove(lambda number: number % 3 == which % 3)
    assert len(line) == len(rows) - len(gone)
    left = drained(line)
    assert sorted([*gone, *left]) == list(range(len(rows)))
    assert all(number % 3 == which % 3 for number in gone)
    assert len(line) == 0


def test_one_that_waits_lets_others_pass_and_full_stops_all():
    line = Line(10)
    put(line, "slow", "a")
    put(line, "behind", "a")
    put(line, "quick", "b")
    passing = [line.take(lambda item: "later" if item == "slow" else "now") for _ in range(3)]
    assert passing == ["behind", "quick", None]
    assert line.take(lambda _: "full") is None
    assert line.take(lambda _: "now") == "slow"


def test_a_full_line_refuses_unless_told_otherwise():
    line = Line(1)
    put(line, 1)
    with pytest.raises(QueueFull, match="about 3 s") as caught:
        put(line, 2)
    assert caught.value.n_waiting == 1
    put(line, 3, bounded=False)
    assert drained(line) == [1, 3]


def test_the_pace_follows_the_finished_requests():
    pace = Pace()
    for at in range(100):
        pace.finished(at * 0.5)
    assert pace.retry_after_s(39) == 10
    assert pace.retry_after_s(0) == 1
    assert pace.retry_after_s(100_000) == 60
    pace.idle()
    pace.finished(1e6)
    assert pace.retry_after_s(39) == 10


def test_a_client_that_fills_the_line_does_not_shut_the_others_out():
    line = Line(8)
    for number in range(8):
        line.add(("a", number), client="a", priority=0, retry_after_s=1)
    with pytest.raises(QueueFull):
        line.add(("a", 8), client="a", priority=0, retry_after_s=1)

    for number in range(4):
        line.add(("b", number), client="b", priority=0, retry_after_s=1)
    with pytest.raises(QueueFull):
        line.add(("b", 4), client="b", priority=0, retry_after_s=1)
    for client in "cdefghijkl":
        with contextlib.suppress(QueueFull):
            line.add((client, 0), client=client, priority=0, retry_after_s=1)

    assert len(line) <= 16
