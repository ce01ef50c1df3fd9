"""Comparisons again and again: every model's turn comes, and reports do not pile up."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from glassbox.audit.store import InferenceStore
from glassbox.errors import CorruptArtifact
from glassbox.rollout.drift import drift_store
from glassbox.rollout.drift.apart import DriftApart
from glassbox.rollout.drift.desk import KEEP_S, DriftDesk
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.drift.watch import DriftWatch
from glassbox.settings import DriftSettings
from glassbox.storage.database import Database, open_database
from tests.rollout.drift.worlds import records

SETTINGS = DriftSettings(window=300, min_rows=200)


class World:
    """A desk over a database in memory, with answers of two models, and its clock."""

    def __init__(self, database: Database) -> None:
        self.now_s = 1.9e9
        self.database = database
        self.records = InferenceStore(database)
        self.store = DriftStore(database)
        watch = DriftWatch(self.records, self.store, SETTINGS, clock=lambda: self.now_s)
        apart = DriftApart("sqlite://", SETTINGS, self.store, here=watch)
        self.desk = DriftDesk(apart, self.store, self.records, clock=lambda: self.now_s)
        for model in ("first", "second"):
            for each in records(0, 400):
                answer = replace(
                    each.primary,
                    request_id=f"{model}-{each.primary.request_id}",
                    model=model,
                    model_version=f"{model}_v1",
                )
                self.records.record(answer)
            self.records.flush()
            watch.freeze(model=model, actor="tests")


@pytest.fixture
def world() -> Iterator[World]:
    database = open_database("sqlite://")
    made = World(database)
    yield made
    made.records.close()
    database.close()


def test_a_model_that_cannot_be_compared_keeps_no_other_from_it(world: World) -> None:
    with world.database.transaction() as connection:
        broken = sa.text("UPDATE drift_references SET body = '' WHERE model = 'first'")
        connection.execute(broken)
    with pytest.raises(CorruptArtifact, match="first-r1"):
        world.desk.look()
    assert world.store.latest("first") is None
    found = world.store.latest("second")
    assert found is not None
    assert (found.verdict, found.n_current) == ("no_drift", 300)


def test_reports_go_after_a_while_and_the_latest_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_store, "FORGOTTEN_AT_ONCE", 3)
    for _ in range(3):
        world.desk.look()
    assert len(world.store.history("first", feature="age")) == 3
    world.now_s += KEEP_S + 1.0
    for n_left in (5, 4, 6):
        # Two come each time and three go, as long as there are old ones.
        world.desk.look()
        n_kept = [len(world.store.history(each, feature="age")) for each in ("first", "second")]
        assert sum(n_kept) == n_left
        assert world.store.latest("first") is not None
