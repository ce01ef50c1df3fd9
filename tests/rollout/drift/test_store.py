"""References and reports in the database: what was kept comes back, what was changed is refused."""

import base64
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from glassbox.errors import CorruptArtifact, NotEnoughData, UnknownName
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.drift.reference import MOST_ROWS, pack_window, thinned, unpack_window
from glassbox.rollout.drift.report import DriftReport
from glassbox.rollout.drift.watch import compared
from glassbox.rollout.drift.windows import Window
from glassbox.settings import DriftSettings
from glassbox.storage.database import Database, open_database
from tests.rollout.drift.worlds import window


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def report(seed: int, *, shift: float = 0.0) -> DriftReport:
    return compared(
        window(0), window(seed, 800, shift=shift), DriftSettings(), model="default", time_s=seed
    )


def same(one: Window, other: Window) -> bool:
    return pack_window(one) == pack_window(other)


def test_a_reference_comes_back_as_it_was(database: Database) -> None:
    store = DriftStore(database, clock=lambda: 123.0)
    made = store.freeze(window(0), actor="tests")
    found = store.reference()
    assert found is not None
    assert (found.reference_id, found.number, found.created_s) == ("default-r1", 1, 123.0)
    assert found.digest == made.digest
    assert same(found.window, window(0))


def test_the_newest_reference_is_current_and_the_others_stay(database: Database) -> None:
    store = DriftStore(database)
    assert store.reference() is None
    store.freeze(window(0))
    store.freeze(window(1))
    store.freeze(window(2), model="other")
    assert [(each.reference_id, each.is_current) for each in store.references("default")] == [
        ("default-r2", True),
        ("default-r1", False),
    ]
    assert len(store.references()) == 3
    first = store.reference(reference_id="default-r1")
    assert first is not None
    assert same(first.window, window(0))
    with pytest.raises(UnknownName, match="default-r1"):
        store.reference(reference_id="default-r9")


def test_a_reference_changed_in_the_database_is_refused(database: Database) -> None:
    store = DriftStore(database)
    store.freeze(window(0))
    other, _ = pack_window(window(1))
    for body in (other, "!", base64.b64encode(zlib.compress(b"{}")).decode()):
        with database.transaction() as connection:
            connection.execute(sa.text("UPDATE drift_references SET body = :body"), {"body": body})
        with pytest.raises(CorruptArtifact, match="default-r1"):
            store.reference()


def test_reports_come_back_newest_first_with_their_columns(database: Database) -> None:
    store = DriftStore(database)
    assert store.latest() is None
    first, second = store.keep(report(1)), store.keep(report(2, shift=1.0))
    assert store.latest() == second
    assert store.report(first.report_id) == first
    history = store.history(feature="age")
    assert [each.report_id for each in history] == [second.report_id, first.report_id]
    assert [each.drifted for each in history] == [True, False]
    assert history[0].effect == second.features[0].effect
    assert len(store.history(limit=3)) == 3
    with pytest.raises(UnknownName, match="drift report"):
        store.report("default-d99")


def test_old_reports_can_be_forgotten(database: Database) -> None:
    store = DriftStore(database)
    store.keep(report(1))
    kept = store.keep(report(2))
    assert store.forget(before_s=2.0) == 1
    assert store.latest() == kept
    assert {each.report_id for each in store.history()} == {kept.report_id}


def test_a_large_window_is_thinned_evenly_and_a_small_one_refused() -> None:
    large = window(0, MOST_ROWS + 5000)
    thin = thinned(large)
    assert thin.n_rows == MOST_ROWS
    assert thin.times_s[0] == large.times_s[0]
    assert np.diff(thin.times_s).max() <= 2 * 60
    with pytest.raises(NotEnoughData, match="at least 100"):
        thinned(window(0, 99))


def test_a_reference_keeps_what_is_missing_and_who_belongs_where() -> None:
    rows = window(0, 200)
    values = rows.columns[1].values.copy()
    values[3] = np.nan
    columns = (rows.columns[0], rows.columns[1].__class__("age", "numeric", "feature", values))
    whole = rows.__class__(
        **{**vars(rows), "columns": columns, "segments": {"sex": ("f", "m") * 100}}
    )
    text, digest = pack_window(whole)
    back = unpack_window(text, digest, source="test")
    assert np.isnan(back.columns[1].values[3])
    assert back.segments["sex"] == ("f", "m") * 100
