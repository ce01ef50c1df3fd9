"""The audit log: nothing is lost, nothing is changed in secret, and every reader sees one order."""

import hashlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from glassbox.audit import AuditLog, Event, Head, event_hash
from glassbox.audit.events import GENESIS
from glassbox.errors import InvalidValue
from glassbox.storage.database import Database, open_database

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database, clock=lambda: 1_000_000.25)


def change(database: Database, statement: str, **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text(statement), values)


def test_an_event_is_read_as_it_was_written(log: AuditLog) -> None:
    body = {"b": [1, None, 2.5], "a": "ä\n", "deep": {"x": True}}
    written = log.append("run.started", actor="key1", subject="run-1", body=body)
    assert log.read() == [written]
    assert (written.sequence, written.previous_hash, written.body) == (1, GENESIS, body)
    assert written.time_s == 1_000_000.25


def test_a_hash_is_that_of_the_documented_text(log: AuditLog) -> None:
    event = log.append("k", actor="a", subject="s", body={"z": 1, "a": {"y": 2, "b": 0.1}})
    text = '{"a":{"b":0.1,"y":2},"z":1}'
    whole = orjson.dumps([1, 1_000_000.25, "k", "a", "s", text, "0" * 64])
    assert event.hash == hashlib.sha256(whole).hexdigest() == event_hash(event)


def test_events_hang_on_one_another(log: AuditLog) -> None:
    first, second = log.append("a", actor="x"), log.append("b", actor="x")
    assert second.previous_hash == first.hash
    found = log.verify()
    assert (found.n_events, found.broken) == (2, None)
    assert found.head == log.head() == Head(2, second.hash)


def test_an_empty_log_holds(log: AuditLog) -> None:
    assert log.verify().broken is None
    assert log.head() == Head(0, GENESIS)
    assert log.read() == []


@pytest.mark.parametrize(
    ("statement", "sequence", "reason"),
    [
        ("UPDATE audit_events SET body = '{}' WHERE sequence = 3", 3, "content"),
        ("UPDATE audit_events SET body = 'no json' WHERE sequence = 3", 3, "content"),
        ("UPDATE audit_events SET actor = 'mallory' WHERE sequence = 1", 1, "content"),
        ("UPDATE audit_events SET time_s = time_s + 0.001 WHERE sequence = 2", 2, "content"),
        ("UPDATE audit_events SET hash = previous_hash WHERE sequence = 4", 4, "content"),
        ("DELETE FROM audit_events WHERE sequence = 2", 2, "missing; the next one is 3"),
        ("DELETE FROM audit_events WHERE sequence = 1", 1, "missing"),
        ("UPDATE audit_events SET sequence = 9 WHERE sequence = 5", 5, "missing"),
        (
            "INSERT INTO audit_events VALUES (0, 1, 'k', 'a', '', '{}', '0', '0')",
            1,
            "missing; the next one is 0",
        ),
    ],
)
def test_the_first_broken_link_is_named(
    log: AuditLog, database: Database, statement: str, sequence: int, reason: str
) -> None:
    for number in range(5):
        log.append("step", actor="a", body={"number": number})
    change(database, statement)
    broken = log.verify().broken
    assert broken is not None
    assert broken.sequence == sequence
    assert reason in broken.reason


def test_an_event_that_was_made_anew_with_its_hash_breaks_the_next_one(
    log: AuditLog, database: Database
) -> None:
    events = [log.append("step", actor="a", body={"number": number}) for number in range(3)]
    forged = replace(events[1], actor="mallory")
    change(
        database,
        "UPDATE audit_events SET actor = 'mallory', hash = :hash WHERE sequence = 2",
        hash=event_hash(forged),
    )
    broken = log.verify().broken
    assert broken is not None
    assert (broken.sequence, broken.reason) == (3, "it does not hang on the event before it")


def test_a_cut_end_and_a_rewritten_log_are_seen_by_a_head_kept_elsewhere(
    log: AuditLog, database: Database
) -> None:
    for number in range(4):
        log.append("step", actor="a", body={"number": number})
    known = log.head()
    change(database, "DELETE FROM audit_events WHERE sequence > 2")
    assert log.verify().broken is None
    cut = log.verify(known).broken
    assert cut is not None
    assert (cut.sequence, cut.reason) == (3, "the log ends before it; 4 events were known")
    log.append("step", actor="a")
    log.append("step", actor="b")
    rewritten = log.verify(known).broken
    assert rewritten is not None
    assert (rewritten.sequence, "known before" in rewritten.reason) == (4, True)


def test_pages_are_read_one_after_another_by_kind_and_subject(log: AuditLog) -> None:
    for number in range(7):
        kind = "run.started" if number % 2 else "run_ended"
        log.append(kind, actor="a", subject=f"s{number % 3}")
    assert [each.sequence for each in log.read(limit=3)] == [1, 2, 3]
    assert [each.sequence for each in log.read(after=3, limit=3)] == [4, 5, 6]
    assert [each.sequence for each in log.read(kinds=["run.started"])] == [2, 4, 6]
    # The character after "run" is a dot, not any one.
    assert [each.sequence for each in log.read(kinds=["run."])] == [2, 4, 6]
    assert [each.sequence for each in log.read(subject="s1", after=2)] == [5]
    assert log.read(kinds=["nothing"]) == []


def test_a_body_that_json_cannot_say_is_refused_and_nothing_is_written(log: AuditLog) -> None:
    for value in (math.nan, [1.0, math.inf]):
        with pytest.raises(InvalidValue, match="finite numbers"):
            log.append("k", actor="a", body={"deep": {"value": value}})
    with pytest.raises(InvalidValue, match="plain JSON"):
        log.append("k", actor="a", body={"value": object()})
    with pytest.raises(InvalidValue, match="at most 1048576 bytes"):
        log.append("k", actor="a", body={"value": "x" * 2**20})
    with pytest.raises(InvalidValue, match="not empty"):
        log.append("k", actor="")
    assert log.read() == []


def test_writers_at_once_make_one_chain(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(4)]
    logs = [AuditLog(each) for each in databases]

    def write(number: int) -> None:
        for _ in range(10):
            logs[number].append("step", actor=str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = logs[0].verify()
    assert (found.n_events, found.broken) == (40, None)
    assert {each.actor for each in logs[1].read()} == {"0", "1", "2", "3"}
    for each in databases:
        each.close()


@given(body=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_body_has_one_text_whatever_the_order_of_its_keys(body: dict[str, object]) -> None:
    event = Event(1, 2.0, "k", "a", "s", GENESIS, "", body)
    turned = replace(event, body=dict(reversed(body.items())))
    assert event_hash(event) == event_hash(turned)
    again = replace(event, body=orjson.loads(orjson.dumps(body)))
    assert event_hash(event) == event_hash(again)
