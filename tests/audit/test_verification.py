"""Any one changed byte is found: in every column of every row, also after erasure and retention."""

import struct
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassbox.audit import Head, InferenceStore
from glassbox.audit.removal import retain
from glassbox.audit.stored_events import body_digest
from glassbox.audit.verification import verify
from glassbox.errors import CapacityError
from glassbox.storage.database import Database, open_database
from tests.audit.made_events import label, primary, shadow

TABLES = ("inference_events", "inference_anchors", "inference_totals")


def change(database: Database, statement: str, **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text(statement), values)


def fill(store: InferenceStore) -> None:
    """Write all kinds of events, erase some, and remove the first ones twice."""
    for number in range(12):
        store.record(
            primary(
                f"r{number}",
                status="error" if number == 5 else "success",
                label=None if number == 5 else "yes",
                features={"age": number},
            )
        )
        store.record(shadow(f"r{number}", diff=number / 100))
        if number % 3 == 0:
            store.record(label(f"r{number}"))
    store.flush()
    store.erase("r4", actor="key1", reason="asked")
    store.erase("r9", actor="key1", reason="asked again")
    store.record(shadow("r9", shadow_version="late"))
    store.flush()
    for n_bytes in (8_000, 6_000):
        assert store.retain(max_bytes=n_bytes).n_removed > 0
    store.record(primary("last"))
    store.flush()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database file with everything in it."""
    path = tmp_path_factory.mktemp("whole") / "glassbox.db"
    database = open_database(f"sqlite:///{path}")
    store = InferenceStore(database, group_ms=2.0)
    fill(store)
    found = store.verify()
    assert found.broken is None
    assert min(found.n_events, found.n_erased, found.n_removed) > 0
    assert len(store.anchors()) == 2
    store.close()
    database.close()
    return path.read_bytes()


def flipped(value: Any, data: st.DataObject) -> Any:
    """Return a value with one byte of it changed, of the same type."""
    if isinstance(value, float):
        raw = bytearray(struct.pack(">d", value))
    elif isinstance(value, int):
        raw = bytearray(value.to_bytes(8, "big", signed=True))
    else:
        raw = bytearray(value if isinstance(value, bytes) else value.encode())
    at = data.draw(st.integers(0, len(raw) - 1), label="byte")
    raw[at] ^= data.draw(st.integers(1, 255), label="change")
    if isinstance(value, float):
        return struct.unpack(">d", raw)[0]
    return int.from_bytes(raw, "big", signed=True) if isinstance(value, int) else bytes(raw)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_changed_byte_of_any_column_of_any_row_is_found(
    whole: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "changed.db"
    for each in tmp_path.glob("changed.db*"):
        each.unlink()
    path.write_bytes(whole)
    database = open_database(f"sqlite:///{path}")
    try:
        table = data.draw(st.sampled_from(TABLES), label="table")
        with database.reading() as connection:
            rows = (
                connection.execute(sa.text(f"SELECT rowid AS place, * FROM {table}"))
                .mappings()
                .all()
            )
        row = data.draw(st.sampled_from(rows), label="row")
        columns = [
            name for name, value in row.items() if name != "place" and value not in ("", None)
        ]
        column = data.draw(st.sampled_from(columns), label="column")
        value = flipped(row[column], data)
        # A text of changed bytes is bound as one, whether it is Unicode or not.
        bound = "CAST(:value AS TEXT)" if isinstance(row[column], str) else ":value"
        try:
            change(
                database,
                f"UPDATE {table} SET {column} = {bound} WHERE rowid = :place",
                value=value,
                place=row["place"],
            )
        except CapacityError:
            # Another row has that key already: nothing was changed.
            return
        assert verify(database).broken is not None
    finally:
        database.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM inference_events WHERE sequence = {n}", "missing; the next one is"),
        ("UPDATE inference_events SET body = NULL, salt = NULL WHERE sequence = {n}", "in part"),
        (
            "UPDATE inference_events SET body = NULL, salt = NULL, body_digest = hash "
            "WHERE sequence = {n}",
            "not what its hash was made of",
        ),
        ("UPDATE inference_events SET model_version = NULL WHERE sequence = {n}", "a column"),
        ("UPDATE inference_events SET diff = 1.0 WHERE sequence = {n}", "a column"),
        ("UPDATE inference_events SET body_digest = hash WHERE sequence = {n}", "put beside it"),
        ("UPDATE inference_events SET kind = 'other' WHERE sequence = {n}", "its kind, time"),
        ("UPDATE inference_totals SET n_events = n_events + 1", "the totals of"),
        ("DELETE FROM inference_totals", "a line of the totals is missing"),
        ("INSERT INTO inference_totals VALUES ('other', 0, 0)", "know a kind 'other'"),
        ("DELETE FROM inference_anchors", "missing"),
        ("DELETE FROM inference_anchors WHERE number = 1", "anchor 2"),
        ("UPDATE inference_anchors SET reason = 'none'", "anchor 1"),
    ],
)
def test_what_was_changed_is_named(
    store: InferenceStore, database: Database, statement: str, reason: str
) -> None:
    fill(store)
    sequence = store.find("r11").sequence  # type: ignore[union-attr]
    change(database, statement.format(n=sequence))
    broken = store.verify().broken
    assert broken is not None
    assert reason in broken.reason
    if "{n}" in statement:
        assert broken.sequence == sequence


def test_a_body_that_is_blanked_as_an_erasure_does_but_without_one_is_a_break(
    store: InferenceStore, database: Database
) -> None:
    store.record(primary("r1"))
    store.record(primary("r2"))
    store.flush()
    with database.reading() as connection:
        row = connection.execute(sa.text("SELECT salt, body FROM inference_events")).first()
    assert row is not None
    change(
        database,
        "UPDATE inference_events SET body = NULL, salt = NULL, body_digest = :digest, "
        "model_version = NULL, status = NULL, label = NULL WHERE sequence = 1",
        digest=body_digest(bytes(row.salt), bytes(row.body)),
    )
    broken = store.verify().broken
    assert broken is not None
    assert (broken.sequence, "without an erasure of 'r1'" in broken.reason) == (1, True)


def test_a_cut_end_is_seen_by_a_head_kept_elsewhere(
    store: InferenceStore, database: Database
) -> None:
    for number in range(4):
        store.record(primary(f"r{number}"))
    store.flush()
    known = store.head()
    change(database, "DELETE FROM inference_events WHERE sequence > 2")
    change(database, "UPDATE inference_totals SET n_events = 2, n_bytes = n_bytes / 2")
    assert store.verify().broken is None
    cut = store.verify(known).broken
    assert cut is not None
    assert (cut.sequence, cut.reason) == (3, "the log ends before it; 4 events were known")
    store.record(primary("other"))
    store.record(primary("another"))
    store.flush()
    rewritten = store.verify(known).broken
    assert rewritten is not None
    assert (rewritten.sequence, "known before" in rewritten.reason) == (4, True)


def test_a_known_head_holds_across_retention_up_to_it(
    store: InferenceStore, database: Database
) -> None:
    for number in range(10):
        store.record(primary(f"r{number}", time_s=float(number)))
    store.flush()
    heads = [Head(0, "0" * 64), store.head()]
    retain(database, max_age_s=1.0, clock=lambda: 11.0)
    assert store.counts().n_events == 0
    assert [store.verify(known).broken for known in heads] == [None, None]
    wrong = store.verify(Head(10, "ab" * 32)).broken
    assert wrong is not None
    assert wrong.sequence == 10
    store.record(primary("next"))
    store.flush()
    assert store.verify(heads[1]).broken is None
    assert store.head().sequence == 11


def test_verifying_and_writing_do_not_disturb_each_other(store: InferenceStore) -> None:
    for number in range(300):
        store.record(primary(f"r{number}"))
        if number % 60 == 0:
            assert store.verify().broken is None
            store.flush()
            store.retain(max_bytes=20_000)
    store.flush()
    assert store.verify().broken is None
