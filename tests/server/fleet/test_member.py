"""A server among others: says its word in time, survives an absent database, is counted once."""

import logging
import threading
from dataclasses import replace

import pytest

from glassbox.errors import CapacityError
from glassbox.server.fleet.counters import Counters, added
from glassbox.server.fleet.member import (
    BEAT_S,
    KEEP_S,
    LAST_WORD_S,
    TIDY_S,
    FleetMember,
    Said,
)
from glassbox.storage.database import open_database
from glassbox.storage.replicas import Replica, ReplicaStore


class World:
    """A member, its clock, and what it counts."""

    def __init__(self, url, id="a"):
        self.now = 1_000.0
        self.n = 0
        self.mark = 0
        self.stage = "ready"
        self.n_beats = 0
        self.is_away = False
        self.store = ReplicaStore(open_database(url), clock=lambda: self.now, now=lambda: self.now)
        heard = self.store.beat

        def beat(replica, *, is_new):
            if self.is_away:
                raise CapacityError("The database did not answer: gone.")
            self.n_beats += 1
            return heard(replica, is_new=is_new)

        self.store.beat = beat
        row = Replica(id, "host", 1, "", "0.1.0", "", "", self.now, "loading", {})
        self.member = FleetMember(
            self.store, row, self.say, lambda: self.mark, clock=lambda: self.now
        )

    def say(self):
        return Said(self.stage, "tiny", "", Counters({"labels": self.n}), {})

    def rows(self):
        return {each.id: each for each in self.store.fleet().replicas}

    def total(self):
        fleet = self.store.fleet()
        bodies = [fleet.departed, *(each.body for each in fleet.replicas)]
        counted = added(Counters.from_json(each.get("counters", {})) for each in bodies)
        return counted.numbers.get("labels", 0)


@pytest.fixture
def world(tmp_path):
    made = World(f"sqlite:///{tmp_path}/glassbox.db")
    yield made
    made.member.close()


def test_a_word_is_said_every_two_seconds_and_at_once_when_there_is_news(world):
    for _ in range(11):
        world.member.turn()
        world.now += 0.2
    assert world.n_beats == 2
    world.mark += 1
    world.member.turn()
    assert world.n_beats == 3


def test_the_last_word_is_that_it_left(world):
    world.member.start()
    world.n = 5
    world.member.close()
    world.member.close()
    store = ReplicaStore(open_database(str(world.store.database._engine.url)))
    (row,) = store.fleet().replicas
    assert row.status == "left"
    assert Counters.from_json(row.body["counters"]).numbers == {"labels": 5}
    store.database.close()


def test_a_database_that_hangs_delays_the_end_by_a_second_at_most(world):
    world.member.start()
    hangs, heard, has_ended = threading.Event(), world.store.beat, []

    def hanging(replica, *, is_new):
        hangs.wait(20 * LAST_WORD_S)
        has_ended.append(True)
        return heard(replica, is_new=is_new)

    world.store.beat = hanging
    world.member.close()
    assert not has_ended
    hangs.set()


def test_an_absent_database_is_told_once_and_tried_again(world, caplog):
    world.member.turn()
    world.is_away = True
    with caplog.at_level(logging.WARNING, logger="glassbox.server"):
        logging.getLogger("glassbox.server").addHandler(caplog.handler)
        for _ in range(5):
            world.now += BEAT_S
            world.member.turn()
        logging.getLogger("glassbox.server").removeHandler(caplog.handler)
    assert len({each.getMessage() for each in caplog.records}) == 1
    assert "gone" in world.member.problem
    world.is_away, world.n = False, 7
    world.now += BEAT_S
    world.member.turn()
    assert world.member.problem == ""
    assert world.total() == 7


def test_a_server_that_was_taken_off_the_list_comes_back_and_is_counted_once(world):
    world.n = 3
    world.member.turn()
    world.now += KEEP_S + 1
    world.store.remove_silent(KEEP_S, lambda bodies: bodies[-1])
    assert world.rows() == {}
    assert world.total() == 3
    world.n = 10
    world.member.turn()
    assert list(world.rows()) == ["a"]
    assert world.total() == 10
    world.now += BEAT_S
    world.n = 11
    world.member.turn()
    assert world.total() == 11


def test_silent_servers_are_taken_off_but_not_right_after_the_database_was_away(tmp_path):
    url = f"sqlite:///{tmp_path}/glassbox.db"
    world = World(url)
    gone = replace(world.member._replica, id="gone", body={"counters": {"numbers": {"labels": 2}}})
    world.store.beat(gone, is_new=True)
    world.now += KEEP_S + 10
    world.member.turn()
    assert "gone" in world.rows()
    for _ in range(int(TIDY_S / BEAT_S) + 1):
        world.now += BEAT_S
        world.member.turn()
    assert list(world.rows()) == ["a"]
    assert world.total() == 2
    world.member.close()
