"""Names of requests, and an end that ends everything whatever fails on the way."""

import asyncio
from dataclasses import replace

import pytest

from glassbox.errors import CapacityError, DeadlineExceeded
from tests.rollout.side_world import open_side


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    with open_side(tmp_path_factory.mktemp("side"), "steady") as side:
        yield side


def fresh(side, *given):
    async def ask():
        return await asyncio.gather(*(side.fresh_id(each) for each in given))

    return asyncio.run(ask())


def test_a_request_without_a_name_gets_one_that_grows_with_time(side):
    one, two = fresh(side, None, None)
    assert one != two
    assert len(one) == 36
    assert one[14] == "7"


def test_of_two_requests_at_once_one_has_the_name(side):
    names = fresh(side, *["twice"] * 5)
    assert len(set(names)) == 5
    assert names.count("twice") == 1
    assert all(each.startswith("twice") for each in names)


def test_a_name_in_the_log_is_taken_also_after_a_restart(tmp_path):
    with open_side(tmp_path, "steady") as before:
        asyncio.run(before.inference.predict({"x": 1.0}, request_id="mine"))
    with open_side(tmp_path, audit__cap=1) as after:
        after.inference.predict_now({"x": 1.0})
        (name,) = fresh(after, "mine")
        assert name.startswith("mine.")


def test_while_the_database_is_away_no_name_is_given_twice(side, monkeypatch):
    def away(_name):
        raise CapacityError("The database does not answer.")

    monkeypatch.setattr(side.store, "find", away)
    (name,) = fresh(side, "unsure")
    assert name.startswith("unsure.")


def test_the_end_ends_everything_whatever_fails(tmp_path):
    ended = []

    def failing():
        raise DeadlineExceeded("The disk is full.")

    with open_side(tmp_path, "steady", starts=False) as side:
        other = replace(side, closing=(failing, lambda: ended.append("last")))
        other.close()
    assert ended == ["last"]
