"""A store that cannot write: strict callers wait and are told, losses are counted."""

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from glassbox.audit import AuditLog, InferenceStore, event_rows
from glassbox.audit.group_writer import GroupWriter
from glassbox.errors import CapacityError, ConflictError, DeadlineExceeded
from glassbox.storage.database import Database, open_database
from tests.audit.made_events import primary
from tests.waiting import PATIENCE_S, until


def waits_for_room(store: InferenceStore, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that gets the seconds that each caller is ready to wait for a place."""
    room, waits = store._make_writer()._room, list[float]()
    wait = room.wait
    monkeypatch.setattr(room, "wait", lambda most_s: (waits.append(most_s), wait(most_s)))
    return waits


def test_a_strict_record_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.02)
    monkeypatch.setattr("glassbox.audit.group_writer.STRICT_PATIENCE_S", 0.1)
    url = f"sqlite:///{tmp_path}/glassbox.db"
    database, other = open_database(url), open_database(url)
    store = InferenceStore(database, durability="strict")
    with other.transaction():
        done = store.record(primary("r1"))
        assert done is not None
        with pytest.raises(CapacityError, match="locked"):
            done.result(PATIENCE_S)
    assert store.status().n_failed == 1
    again = store.record(primary("r2"))
    assert again is not None
    assert again.result(PATIENCE_S) == 1
    assert store.find("r1") is None
    store.close()
    database.close()
    other.close()


def test_a_full_queue_loses_what_it_must_and_the_log_says_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.02)
    url = f"sqlite:///{tmp_path}/glassbox.db"
    database, other = open_database(url), open_database(url)
    store = InferenceStore(database, group_ms=2.0, queue=10)
    waits = waits_for_room(store, monkeypatch)
    with other.transaction():
        for number in range(500):
            store.record(primary(f"r{number}"))
        # Not each of them: the database is known not to answer.
        assert len(waits) < 10
    store.flush()
    status = store.status()
    n_kept = store.counts().n_events
    assert status.n_overflowed == 500 - n_kept > 0
    told = until(lambda: AuditLog(database).read(kinds=["inference.overflowed"]))
    assert sum(each.body["n_records"] for each in told) == status.n_overflowed
    assert store.verify().broken is None
    store.close()
    database.close()
    other.close()


def test_callers_do_not_wait_one_after_another_for_a_writer_that_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, gate, write = threading.Event(), threading.Event(), event_rows.write_entries

    def hanging(*given: Any) -> Any:
        hangs.set()
        gate.wait(PATIENCE_S)
        return write(*given)

    monkeypatch.setattr("glassbox.audit.group_writer.write_entries", hanging)
    store = InferenceStore(database, queue=10)
    waits = waits_for_room(store, monkeypatch)
    store.record(primary())
    assert hangs.wait(PATIENCE_S)
    for _ in range(200):
        store.record(primary())
    # Not each of them, though the database has not said yet that it does not answer.
    assert 0 < len(waits) < 10
    gate.set()
    store.close()
    assert store.status().n_overflowed > 0


def test_a_full_queue_holds_strict_callers_back_until_there_is_room(database: Database) -> None:
    store = InferenceStore(database, durability="strict", queue=3)
    done: list[Future[int] | None] = []

    def record(number: int) -> None:
        for at in range(50):
            done.append(store.record(primary(f"{number}-{at}")))

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.result(PATIENCE_S) for each in done if each) == list(range(1, 201))
    assert store.status().n_overflowed == 0
    store.close()


def test_closing_lets_strict_callers_go_that_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.02)
    url = f"sqlite:///{tmp_path}/glassbox.db"
    database, other = open_database(url), open_database(url)
    store = InferenceStore(database, durability="strict", queue=1)
    told: list[Exception | None] = []

    def record() -> None:
        try:
            store.record(primary("waits"))
        except ConflictError as error:
            told.append(error)

    with other.transaction():
        taken = store.record(primary("taken"))
        until(lambda: not store.status().n_waiting)
        queued = store.record(primary("queued"))
        waits = threading.Thread(target=record, daemon=True)
        waits.start()
        with pytest.raises(DeadlineExceeded, match="2 records"):
            store.close(0.2)
        waits.join(PATIENCE_S)
        assert not waits.is_alive()
        assert "was closed" in str(told)
        for each in (taken, queued):
            assert each is not None
            with pytest.raises(CapacityError, match="locked"):
                each.result(PATIENCE_S)
    database.close()
    other.close()


@pytest.mark.parametrize("strict", [True, False])
def test_a_record_that_comes_while_the_writer_is_closed_is_refused(
    tmp_path: Path, strict: bool
) -> None:
    class ClosedMeanwhile(GroupWriter):
        def _require_open(self) -> None:
            super()._require_open()
            self.close(PATIENCE_S)

    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    writer = ClosedMeanwhile(database, strict=strict, group_s=0.01, most_waiting=10)
    with pytest.raises(ConflictError, match="was closed"):
        writer.put(primary("r1"))
    assert writer.status().n_waiting == 0
    database.close()


def test_a_closed_store_has_nothing_left_to_wait_for(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    store = InferenceStore(database)
    store.record(primary("r1"))
    store.close()
    # Waiting for a writer that has ended would end in DeadlineExceeded.
    store.flush(0.2)
    assert store.erase("r1", actor="a", reason="asked") == 1
    database.close()
