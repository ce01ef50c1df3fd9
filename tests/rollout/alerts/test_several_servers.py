"""Alerts of several servers on one database: each sees its own queue, and all are told of."""

from collections.abc import Sequence

import pytest

from glassbox.rollout.alerts.engine import AlertEngine
from glassbox.rollout.alerts.judging import ELSEWHERE_S
from glassbox.rollout.alerts.rules import AlertRule
from glassbox.storage.database import Database
from tests.rollout.alerts.worlds import Clock

QUEUE = "health.components.audit.details.queue"
FULL, EMPTY = {QUEUE: 900.0}, {QUEUE: 0.0}


def looked(
    clock: Clock,
    seconds: float,
    *pairs: tuple[AlertEngine, dict[str, float]],
    every_s: float = 5.0,
) -> Sequence[str]:
    """Let servers look one after the other, each as often as it is to, and return what was told."""
    told: list[str] = []
    for _ in range(round(seconds / every_s)):
        for engine, signals in pairs:
            told += [each.state for each in engine.look(signals)]
            clock.now += every_s / len(pairs)
    return told


@pytest.mark.parametrize(("for_s", "keep_s"), [(0.0, 0.0), (60.0, 0.0), (60.0, 60.0), (300.0, 5.0)])
def test_what_one_of_several_servers_sees_alone_is_told(
    memory: Database, clock: Clock, for_s: float, keep_s: float
) -> None:
    rule = AlertRule(name="behind", signal=QUEUE, above=500, for_s=for_s, keep_firing_for_s=keep_s)
    sick, well, third = (AlertEngine(memory, [rule], {}, clock) for _ in range(3))
    looked(clock, 5, (well, EMPTY), (third, EMPTY))
    told = looked(clock, for_s + 600, (well, EMPTY), (sick, FULL), (third, EMPTY))
    assert told == ["firing"]
    (firing,) = well.firing()
    assert firing.value == 900.0, "not the value of a server that is well"
    over = looked(clock, keep_s + 10, (well, EMPTY), (sick, EMPTY), (third, EMPTY))
    assert over == ["resolved"]
    assert looked(clock, 600, (well, EMPTY), (sick, EMPTY)) == []


def test_servers_that_look_seldom_wait_for_each_other_too(memory: Database, clock: Clock) -> None:
    rule = AlertRule(name="behind", signal=QUEUE, above=500)
    sick, well, third = (AlertEngine(memory, [rule], {}, clock, interval_s=300) for _ in range(3))
    looked(clock, 300, (well, EMPTY), (third, EMPTY), every_s=300)
    servers = (well, EMPTY), (sick, FULL), (third, EMPTY)
    assert looked(clock, 7200, *servers, every_s=300) == ["firing"]
    # The one that saw it is gone: the others end it once it would have looked thrice.
    assert looked(clock, 600, (well, EMPTY), (third, EMPTY), every_s=300) == []
    assert looked(clock, 600, (well, EMPTY), (third, EMPTY), every_s=300) == ["resolved"]


def test_an_alert_of_several_servers_ends_with_the_last(memory: Database, clock: Clock) -> None:
    rule = AlertRule(name="behind", signal=QUEUE, above=500)
    one, two = (AlertEngine(memory, [rule], {}, clock) for _ in range(2))
    assert looked(clock, 300, (one, FULL), (two, FULL)) == ["firing"]
    assert looked(clock, 300, (one, EMPTY), (two, FULL)) == []
    assert looked(clock, 70, (one, EMPTY), (two, EMPTY)) == ["resolved"]


def test_a_server_that_is_gone_takes_its_alert_with_it(memory: Database, clock: Clock) -> None:
    rules = [
        AlertRule(name="behind", signal=QUEUE, above=500, keep_firing_for_s=0),
        AlertRule(name="long behind", signal=QUEUE, above=500, for_s=3600),
    ]
    gone, well = (AlertEngine(memory, rules, {}, clock) for _ in range(2))
    assert looked(clock, 60, (well, EMPTY), (gone, FULL)) == ["firing"]
    assert looked(clock, ELSEWHERE_S, (well, EMPTY)) == []
    assert looked(clock, 5, (well, EMPTY)) == ["resolved"]
    clock.now += 3600
    assert looked(clock, 5, (AlertEngine(memory, rules, {}, clock), FULL)) == ["firing"]
