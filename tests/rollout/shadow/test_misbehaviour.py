"""Challengers that do everything they should not, several at once."""

import struct
import time
from collections import Counter

import pytest

from glassbox.rollout.answering.primary import Champions
from tests.rollout.shadow.challengers import BEHAVIOURS, Challenger, honest, version
from tests.rollout.shadow.lanes import CHAMPION, ROWS, routing, unstalled_s
from tests.waiting import PATIENCE_S, clock_of_this_process, until

NEVER_LOADED = ("corrupt", "exit_at_import", "hang_at_import", "leave_at_import", "raise_at_import")
MISBEHAVIOURS = [
    *sorted(BEHAVIOURS.keys() - {"honest", "near", "classes", "as_told"}),
    *NEVER_LOADED,
]

ASKED = ("ok", "error", "timeout")
"""How a copy ends that its challenger was asked about."""

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize("first", range(4))
def test_answers_are_the_same_bit_for_bit_whatever_challengers_do(make, seen, first):
    named = routing(*map(version, MISBEHAVIOURS[first::4], range(2, 20)))
    champions = Champions(lambda _: Challenger(honest))
    champions.load(CHAMPION)
    shadows = make(shadow_timeout_s=0.3, shadow_queue=4, shadow_memory_bytes=400 * 2**20)
    expected = [struct.pack("d", honest(dict(row)).prediction) for row in ROWS]
    shadows.reconfigure(named)
    until(lambda: all(is_begun(each) for each in shadows.status()))
    answers, took_s = [], []
    with clock_of_this_process() as clock:
        for place, row in enumerate(ROWS):
            kept = dict(row)
            began = clock()
            answer = champions.submit(CHAMPION, row).result(PATIENCE_S).prediction
            shadows.offer(named, f"r{place}", row, answer)
            took_s.append(clock() - began)
            answers.append(struct.pack("d", answer.prediction))
            assert row == kept
            time.sleep(0.02)
    assert answers == expected
    assert unstalled_s(took_s) < 0.25, "no answer ever waits for a challenger"
    names = {each.name for each in named.shadows}
    asked = {each for each in names if not each.endswith(NEVER_LOADED)}
    until(lambda: asked <= {e.shadow_version for e in seen.events if e.status in ASKED})
    shadows.close()
    champions.close()
    assert Counter((each.shadow_version, each.request_id) for each in seen.events) == {
        (name, f"r{i}"): 1 for name in names for i in range(len(ROWS))
    }, "every copy ends exactly once"
    assert {each.status for each in seen.events} <= {*ASKED, "dropped", "breaker_open", "disabled"}


def is_begun(status):
    return status.state != "loading" or (status.pid is not None and "hang_at" in status.version)


HOW_THEY_END = {
    "refuse": ("error", 0),
    "not_a_number": ("error", 0),
    "mutate": ("ok", 0),
    "shout": ("ok", 0),
    "kill_itself": ("error", 3),
    "leave": ("error", 3),
    "hang": ("timeout", 3),
}
"""For each misbehaviour the status of its copies, and the processes lost over three of them."""


def test_endings_are_counted_and_lost_processes_replaced(make, seen):
    shadows = make(shadow_timeout_s=0.4)
    named = routing(*map(version, HOW_THEY_END, range(2, 20)))
    pids = {each.name: set() for each in named.shadows}
    for place in range(3):
        shadows.offer(named, f"r{place}", ROWS[0], honest(dict(ROWS[0])))
        seen.wait_for((place + 1) * len(HOW_THEY_END))
        until(lambda: all(each.state == "ready" for each in shadows.status()))
        for status in shadows.status():
            pids[status.version].add(status.pid)
    for status, (expected, n_lost) in zip(shadows.status(), HOW_THEY_END.values(), strict=True):
        assert status.counts[expected] == 3, status
        assert status.counts["pending"] == status.n_waiting == 0
        assert status.n_lost == n_lost
        assert len(pids[status.version]) == max(1, n_lost)
        assert bool(status.last_error) == (expected != "ok")
