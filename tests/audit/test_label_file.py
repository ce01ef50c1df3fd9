"""Truths that became known later, as a file: all of it is taken, however long it is."""

import pytest

from glassbox.audit import InferenceStore, group_writer, label_file
from glassbox.storage.database import Database
from tests.audit.made_events import primary


def test_a_file_longer_than_the_queue_of_the_store_is_taken_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_file, "AT_ONCE", 40)
    # A disk that is slower than whoever reads the file: what finds no room is lost at once.
    monkeypatch.setattr(group_writer, "ROOM_WAIT_S", 0.0)
    store = InferenceStore(database, queue=40)
    try:
        store.record(primary("r1"))
        store.flush()
        told: list[label_file.Told] = [("r1", f"class {number}") for number in range(2000)]
        told.insert(7, ("r2", "yes"))
        assert label_file.record_labels(store, told, actor="tests") == ["r2"]
        assert store.counts().n_labels == 2000
        assert store.status().n_overflowed == 0
        record = store.find("r1")
        assert record is not None
        assert record.label is not None
        assert record.label.label == "class 1999"
    finally:
        store.close()
