"""Names of requests, and an end that ends everything whatever fails on the way."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, DeadlineExceeded
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.rollout.versions.registering import Offer
from glassbox.storage.database import open_database
from tests.rollout.side_world import SCHEMA, open_side
from tests.waiting import PATIENCE_S, until


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
        asyncio.run(after.inference.predict({"x": 1.0}))
        (name,) = fresh(after, "mine")
        assert name.startswith("mine.")


def test_while_the_database_is_away_no_name_is_given_twice(side, monkeypatch):
    def away(_name):
        raise CapacityError("The database does not answer.")

    monkeypatch.setattr(side.store, "find", away)
    (name,) = fresh(side, "unsure")
    assert name.startswith("unsure.")


def test_labels_that_find_no_room_are_not_said_to_be_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.02)
    with open_side(tmp_path, "steady") as side:
        asyncio.run(side.inference.predict({"x": 1.0}, request_id="mine"))
        side.store.flush()
        monkeypatch.setattr(side.store._writer, "_most_waiting", 10)
        other = open_database(f"sqlite:///{tmp_path}/glassbox.db")
        with other.transaction(), pytest.raises(CapacityError, match="again"):
            asyncio.run(side.tell_labels([("mine", 1.0)] * 50, "tests"))
        other.close()
        side.store.flush()
        assert asyncio.run(side.tell_labels([("mine", 0.0)], "tests")) == []


def test_the_end_ends_everything_whatever_fails(tmp_path):
    ended = []

    def failing():
        raise DeadlineExceeded("The disk is full.")

    with open_side(tmp_path, "steady", starts=False) as side:
        other = replace(side, closing=(failing, lambda: ended.append("last")))
        other.close()
    assert ended == ["last"]


def test_a_database_that_hangs_does_not_hold_up_a_request_with_a_name(side, monkeypatch):
    gate = threading.Event()
    # Who waits for it is told that nobody has the name.
    monkeypatch.setattr(side.store, "find", lambda _name: gate.wait(PATIENCE_S) and None)
    monkeypatch.setattr("glassbox.rollout.assembly.side.LOOK_UP_S", 0.05)

    async def ask():
        name = await side.fresh_id("slow")
        gate.set()
        return name

    assert asyncio.run(ask()).startswith("slow.")


def test_the_oldest_records_go_by_themselves_where_the_settings_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("glassbox.rollout.assembly.assembling.RETENTION_S", 0.05)
    with open_side(tmp_path, "steady", audit__retention_bytes=2000) as side:
        for x in range(20):
            asyncio.run(side.inference.predict({"x": float(x)}))
        side.store.flush()
        until(lambda: side.store.counts().n_primaries < 20)
        assert side.store.verify().broken is None
        assert side.looks.health().components["retention"].status == "ok"


def test_the_log_is_walked_over_by_one_at_a_time(side, monkeypatch):
    begun, gate, verify = threading.Event(), threading.Event(), side.store.verify

    def slow():
        begun.set()
        gate.wait(PATIENCE_S)
        return verify()

    monkeypatch.setattr(side.store, "verify", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(side.looks.verification)
        begun.wait(PATIENCE_S)
        with pytest.raises(ConflictError, match="being verified"):
            side.looks.verification()
        gate.set()
        assert first.result(PATIENCE_S).broken is None
    assert side.looks.verification().broken is None


def test_a_rollout_that_cannot_be_read_is_its_models_trouble_alone(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        for name, code in (("cheap", "steady"), ("dear", "other")):
            offer = Offer(f"{tmp_path}/models.py:{code}", "prices", name, input_schema=SCHEMA)
            side.registrar.register(offer, actor="test")
        if side.registry.snapshot(is_fresh=True).aliased("champion", "prices") is None:
            side.registry.move_alias(
                "prices", "champion", 1, expected=None, actor="test", reason="set up"
            )
        broken = side.controller.start("dear", RolloutPlan(), model="prices", actor="test")
        spoil(tmp_path, "rollouts", progress="{}")
    # What a restart meets: it starts, answers for both, and follows what becomes of the other.
    with open_side(tmp_path, "steady", "other") as side:
        assert set(side.view.routings) == {"default", "prices"}
        until(lambda: f"rollout {broken.id} of 'prices'" in side.view.failures.get("prices", ""))
        assert "prices: rollout" in str(side.looks.health().components["primary"].reason)
        started = side.controller.start("other", RolloutPlan(), actor="test")
        side.view.refresh()
        assert side.view.routings["default"].rollout_id == started.id
        listed = side.looks.rollouts()
        assert listed.current is not None
        assert listed.current.id == started.id
        assert {(each.id, each.phase) for each in listed.rollouts} == {
            (started.id, "Initialized"),
            (broken.id, "Unreadable"),
        }
        signals = side.looks.signals()
        assert signals["rollout"]["id"] == started.id
        assert signals["models"]["prices"]["rollout"] == {}


def test_a_drift_report_that_cannot_be_read_blinds_no_other_rule(tmp_path):
    with open_side(tmp_path, "steady") as side:
        database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
        row = {"sequence": 1, "report_id": "default-d1", "time_s": 1.0, "model": "default"}
        row |= {"verdict": "no_drift", "body": '{"later": 1}'}
        with database.transaction() as connection:
            connection.execute(sa.table("drift_reports", *map(sa.column, row)).insert().values(row))
        database.close()
        with pytest.raises(CorruptArtifact, match="default-d1"):
            side.looks.drift()
        signals = side.looks.signals()
        assert signals["drift"] == signals["models"]["default"]["drift"] == {}
        assert signals["summary"]["rolling_count"] == 0


def spoil(folder, table, **values):
    """Change what is kept in every row of a table, as a newer version would."""
    database = open_database(f"sqlite:///{folder}/glassbox.db")
    with database.transaction() as connection:
        places = sa.table(table, *map(sa.column, values))
        connection.execute(places.update().values(**values))
    database.close()
