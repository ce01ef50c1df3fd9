"""One server at a time, whatever the clocks say."""

import pytest

from glassbox.rollout.assembly.lease import Lease
from glassbox.storage.database import open_database
from tests.rollout.traffic import Clock


@pytest.fixture
def two(database_url):
    database, clock = open_database(database_url), Clock()
    yield tuple(Lease(database, "job", name, 10.0, clock) for name in ("a", "b")), clock
    database.close()


def test_one_holds_it_until_it_ends_or_is_given_back(two):
    (a, b), clock = two
    assert a.take()
    assert not b.take()
    clock.now_s += 9.0
    assert a.take()
    clock.now_s += 9.0
    assert not b.take()
    clock.now_s += 1.5
    assert b.take()
    assert not a.take()
    a.give_back()
    assert not a.take()
    b.give_back()
    assert a.take()


def test_a_clock_that_was_ahead_locks_nobody_out(two):
    (a, b), clock = two
    clock.now_s += 1e6
    assert a.take()
    clock.now_s -= 1e6
    assert b.take()
