"""Erasure takes content away for good, retention takes the oldest away; both leave a whole log."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from glassbox.audit import InferenceStore
from glassbox.audit.removal import ROW_BYTES, retain
from glassbox.errors import InvalidValue, UnknownName
from glassbox.storage.database import Database, open_database
from tests.audit.made_events import label, primary, shadow


def test_an_erased_request_leaves_its_places_and_nothing_else(store: InferenceStore) -> None:
    store.record(primary("r1", features={"name": "Ada"}))
    store.record(primary("r2"))
    store.record(shadow("r1"))
    store.record(label("r1"))
    assert store.erase("r1", actor="key1", reason="asked") == 3
    assert store.find("r1") is None
    assert [each.is_erased for each in store.places("r1")] == [True, True, True, False]
    assert [each.primary.request_id for each in store.recent(10)] == ["r2"]
    assert [sequence for sequence, _ in store.read()] == [2, 5]
    assert store.known(["r1", "r2"]) == {"r2"}
    assert next(iter(store.range(0, 1e12))).primary.request_id == "r2"
    assert store.recent(min_diff=0.01) == []
    found = store.verify()
    assert (found.n_events, found.n_erased, found.broken) == (5, 3, None)
    # A second wish finds nothing more, and is told as well.
    assert store.erase("r1", actor="key2", reason="once more") == 0
    assert store.verify().broken is None


def test_what_comes_after_an_erasure_is_not_kept_either(store: InferenceStore) -> None:
    store.record(primary("r1"))
    store.erase("r1", actor="key1", reason="asked")
    store.record(shadow("r1", label="secret"))
    store.record(label("r1", label="secret"))
    store.record(primary("r2"))
    store.flush()
    kinds = [each.kind for each in store.places("r1")]
    assert kinds == ["primary", "erasure", "erasure", "erasure"]
    assert "secret" not in repr(store.read())
    assert store.find("r2") is not None
    assert store.verify().broken is None
    # The first tombstone may go; those that are left need none.
    store.retain(max_bytes=3 * (ROW_BYTES + 100))
    assert store.verify().broken is None


def test_an_unknown_request_or_a_wish_without_reason_is_refused(store: InferenceStore) -> None:
    store.record(primary("r1"))
    with pytest.raises(UnknownName, match="No prediction 'r2'"):
        store.erase("r2", actor="key1", reason="asked")
    with pytest.raises(InvalidValue, match="actor and reason"):
        store.erase("r1", actor="key1", reason="")
    assert store.find("r1") is not None


def test_no_byte_of_what_was_erased_is_left_in_the_files(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    store = InferenceStore(database, group_ms=2.0)
    secret = "Charles-Babbage-1791"
    for number in range(50):
        store.record(primary(f"r{number}", features={"name": secret if number == 20 else "x"}))
    store.flush()
    files = sorted(tmp_path.glob("glassbox.db*"))
    assert any(secret.encode() in each.read_bytes() for each in files)
    store.erase("r20", actor="key1", reason="asked")
    assert not any(secret.encode() in each.read_bytes() for each in files if each.exists())
    store.close()
    database.close()


def test_events_that_are_too_old_go_and_leave_an_anchor(
    store: InferenceStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.audit.removal.REMOVED_AT_ONCE", 7)
    for number in range(40):
        store.record(primary(f"r{number}", time_s=float(number)))
    store.flush()
    pauses: list[float] = []
    done = retain(database, max_age_s=10.0, clock=lambda: 40.0, pause=pauses.append)
    assert (done.n_removed, done.last_sequence) == (30, 30)
    assert len(pauses) == 5
    (anchor,) = store.anchors()
    assert (anchor.first_sequence, anchor.last_sequence, anchor.reason) == (1, 30, "age")
    assert anchor.n_events == 30
    assert [each.primary.request_id for each in store.recent(100)][-1] == "r30"
    found = store.verify()
    assert (found.n_events, found.n_removed, found.broken) == (10, 30, None)
    again = retain(database, max_age_s=10.0, clock=lambda: 40.0, pause=pauses.append)
    assert again.n_removed == 0
    assert len(store.anchors()) == 1


def test_a_clock_that_was_set_back_only_delays_retention(
    store: InferenceStore, database: Database
) -> None:
    for number, time_s in enumerate([100.0, 150.0, 10.0, 11.0, 300.0]):
        store.record(primary(f"r{number}", time_s=time_s))
    store.flush()
    assert retain(database, max_age_s=50.0, clock=lambda: 160.0).n_removed == 1
    assert retain(database, max_age_s=50.0, clock=lambda: 210.0).n_removed == 3
    assert store.verify().broken is None


@pytest.mark.parametrize("at_once", [2, 100])
def test_a_clock_that_was_far_ahead_does_not_keep_what_comes_after_for_ever(
    store: InferenceStore, database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("glassbox.audit.removal.REMOVED_AT_ONCE", at_once)
    ahead = [9e9, 9e9 + 1.0, 9e9 + 2.0]
    for number, time_s in enumerate([*ahead, 100.0, 101.0, *ahead, 190.0, *ahead]):
        store.record(primary(f"r{number}", time_s=time_s))
    store.flush()
    # What stands before the young one and after the old ones may be young.
    assert retain(database, max_age_s=50.0, clock=lambda: 200.0).n_removed == 5
    assert retain(database, max_age_s=50.0, clock=lambda: 250.0).n_removed == 4
    # Of the last ones nobody knows how old they are.
    assert retain(database, max_age_s=50.0, clock=lambda: 8e9).n_removed == 0
    assert retain(database, max_age_s=50.0, clock=lambda: 10e9).n_removed == 3
    assert store.verify().broken is None


def test_the_oldest_go_until_the_rest_fits(store: InferenceStore, database: Database) -> None:
    for number in range(30):
        store.record(primary(f"r{number}", features={"text": "x" * 500}))
    store.flush()
    kept = store.counts()
    each = ROW_BYTES + kept.n_body_bytes // 30
    store.retain(max_bytes=10 * each)
    assert 9 <= store.counts().n_events <= 10
    assert store.verify().broken is None
    store.retain(max_bytes=0)
    assert store.counts().n_events == store.counts().n_body_bytes == 0
    store.record(primary("next"))
    store.flush()
    assert store.read()[0][0] == 31
    found = store.verify()
    assert (found.n_events, found.n_removed, found.broken) == (1, 30, None)
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM inference_anchors")).scalar() == 2


def test_age_and_size_in_one_run_leave_two_anchors_that_fit(
    store: InferenceStore, database: Database
) -> None:
    for number in range(20):
        store.record(primary(f"r{number}", time_s=float(number)))
    store.flush()
    done = retain(
        database, max_age_s=15.0, max_bytes=5 * 600, clock=lambda: 20.0, pause=lambda _: None
    )
    assert done.n_removed > 5
    assert [each.reason for each in store.anchors()] == ["age", "size"]
    assert store.verify().broken is None
