"""The watch over records: references, reports, hours of the week, and a process of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glassbox.audit.records import InferenceRecord
from glassbox.audit.store import InferenceStore
from glassbox.errors import (
    CapacityError,
    ConflictError,
    DeadlineExceeded,
    InvalidValue,
    NotEnoughData,
)
from glassbox.rollout.drift.apart import DriftApart, answer
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.drift.recorded import window_of
from glassbox.rollout.drift.watch import DriftWatch, compared
from glassbox.rollout.drift.windows import Column, Window
from glassbox.settings import DriftSettings
from glassbox.stats.drift.seasonality import hours_of
from glassbox.storage.database import Database, open_database
from tests.rollout.drift.worlds import record, records, window

SETTINGS = DriftSettings(window=600, min_rows=200)


def kept(store: InferenceStore, found: list[InferenceRecord]) -> None:
    for each in found:
        store.record(each.primary)
        if each.label is not None:
            store.record(each.label)
    store.flush()


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/glassbox.db"


@pytest.fixture
def database(url: str) -> Database:
    return open_database(url)


def watch_on(database: Database) -> tuple[DriftWatch, InferenceStore, DriftStore]:
    store, drifts = InferenceStore(database), DriftStore(database)
    return DriftWatch(store, drifts, SETTINGS, clock=lambda: 1.9e9), store, drifts


def test_records_become_columns() -> None:
    found = window_of(records(0, 300))
    assert {each.name: (each.kind, each.group) for each in found.columns} == {
        "prediction": ("numeric", "answer"),
        "confidence": ("numeric", "answer"),
        "label": ("categorical", "answer"),
        "age": ("numeric", "feature"),
        "member": ("categorical", "feature"),
        "n_tokens": ("numeric", "text"),
        "state_0": ("numeric", "state"),
    }
    assert found.model_version == "default_model_v1"
    assert found.is_right is not None
    assert np.isnan(found.is_right).sum() == 150
    assert found.segments["sex"][:2] == ("m", "f")


def test_a_truth_may_come_as_a_number() -> None:
    plain = record(0, prob=0.9, truth=None)
    assert window_of([plain]).is_right is None
    told = record(1, prob=0.9, truth="yes")
    assert window_of([told]).is_right is not None


def test_a_shift_is_found_in_the_records_and_the_report_is_kept(database: Database) -> None:
    watch, store, drifts = watch_on(database)
    kept(store, records(0, 1200))
    made = watch.freeze(actor="tests")
    assert made.n_rows == 1200
    quiet = watch.run()
    assert quiet.verdict == "no_drift"
    kept(store, records(1, 600, shift=1.0, start=1200))
    loud = watch.run()
    assert loud.verdict == "drift"
    assert [each.name for each in loud.drifted] == ["age"]
    assert loud.n_current == 600
    assert loud.realised is not None
    assert loud.realised.n == 300
    assert not loud.realised.fell
    assert {each.segment for each in loud.gaps} == {"sex"}
    assert drifts.latest() == loud
    assert [each.drifted for each in drifts.history(feature="age")] == [True, False]
    store.close()


def test_a_reference_can_be_made_of_a_span_of_time(database: Database) -> None:
    watch, store, _ = watch_on(database)
    kept(store, records(0, 400))
    made = watch.freeze(since_s=1.7e9 + 60 * 100, until_s=1.7e9 + 60 * 250)
    assert made.n_rows == 150
    with pytest.raises(InvalidValue, match="last_n"):
        watch.freeze(since_s=0.0, last_n=100)
    with pytest.raises(InvalidValue, match="until_s"):
        watch.freeze(until_s=0.0)
    with pytest.raises(NotEnoughData, match="drift reference"):
        watch.freeze(since_s=0.0, until_s=1.0)
    store.close()


def test_of_a_long_span_a_reference_holds_rows_spread_evenly_over_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.rollout.drift.watch.MOST_ROWS", 100)
    watch, store, _ = watch_on(database)
    # A canary's answer that comes last belongs to no reference of theirs.
    kept(store, records(0, 1000))
    canary = replace(record(1001), primary=replace(record(1001).primary, arm="challenger"))
    kept(store, [replace(canary, primary=replace(canary.primary, model_version="v2"))])
    made = watch.freeze(since_s=0.0)
    assert made.model_version == "default_model_v1"
    assert set(np.diff(made.window.times_s)) == {8 * 60.0}, "every eighth of 1,000, below 2 * 100"
    assert (made.n_rows, made.since_s) == (125, 1.7e9)
    store.close()


def test_the_version_is_that_of_the_models_champion_whoever_else_answers(
    database: Database,
) -> None:
    watch, store, _ = watch_on(database)
    kept(store, records(0, 800))
    watch.freeze(actor="tests")
    # Texts that were labelled outside the registry come far more often than the model's requests.
    others = [
        replace(each.primary, request_id=f"other-{n}", model="classify/x", model_version="x@1")
        for n, each in enumerate(records(1, 150))
    ]
    # And the model's latest answers are those of a challenger on its canary step.
    canary = [
        replace(each.primary, request_id=f"canary-{n}", model_version="v2", arm="challenger")
        for n, each in enumerate(records(2, 20))
    ]
    kept(store, [InferenceRecord(each) for each in (*canary, *others)])
    found = watch.run()
    assert (found.model_version, found.n_current) == ("default_model_v1", 600)
    assert found.verdict == "no_drift"


def test_without_reference_or_rows_nothing_is_judged(database: Database) -> None:
    watch, store, _ = watch_on(database)
    with pytest.raises(ConflictError, match="glassbox drift reference create"):
        watch.run()
    with pytest.raises(NotEnoughData, match="drift reference"):
        watch.freeze()
    few = compared(window(0), window(1, 199), SETTINGS)
    assert few.verdict == "not_enough_data"
    assert few.features == ()
    assert "200 are needed" in few.notes[0]
    store.close()


def test_a_mondays_traffic_is_compared_with_mondays() -> None:
    generator = np.random.default_rng(0)

    def rows(n_days: float, first_day: float) -> Window:
        monday = 1_704_067_200.0
        when = np.sort(generator.uniform(first_day, first_day + n_days, 600 * int(n_days)))
        times = monday + 86_400 * when
        load = 3 * (hours_of(times, "week") >= 120) + generator.normal(size=times.size)
        return Window(times, (Column("load", "numeric", "feature", load),))

    reference, weekend = rows(28, 0), rows(2, 33)
    report = compared(reference, weekend, SETTINGS)
    assert report.seasonality is not None
    assert (report.seasonality.period, report.seasonality.applied) == ("week", True)
    assert report.verdict == "no_drift"
    timeless = Window(np.arange(reference.n_rows) * 1.0, reference.columns)
    blind = compared(timeless, weekend, SETTINGS)
    assert blind.verdict == "drift"


def test_a_season_that_the_reference_cannot_match_is_said() -> None:
    generator = np.random.default_rng(0)
    monday = 1_704_067_200.0
    # Nights are almost absent from the reference, and all of the window.
    hours = generator.choice(24, 6000, p=[0.0005] * 6 + [0.997 / 18] * 18)
    times = np.sort(monday + 86_400 * generator.integers(0, 20, 6000) + 3600 * hours)
    load = np.sin(hours_of(times, "day")) + 0.1 * generator.normal(size=6000)
    nights = monday + 86_400 * 21 + np.sort(generator.uniform(0, 6 * 3600, 500))
    report = compared(
        Window(times, (Column("load", "numeric", "feature", load),)),
        Window(nights, (Column("load", "numeric", "feature", np.zeros(500)),)),
        SETTINGS,
    )
    assert report.seasonality is not None
    assert not report.seasonality.applied
    assert any("compared with all of it" in note for note in report.notes)


def test_a_process_of_its_own_gives_the_same_report(url: str, database: Database) -> None:
    watch, store, drifts = watch_on(database)
    kept(store, records(0, 1000))
    apart = DriftApart(url, SETTINGS, drifts)
    made = apart.freeze(last_n=400, actor="tests")
    assert (made.n_rows, made.actor) == (400, "tests")
    found = apart.run()
    assert found.features == watch.run().features
    with pytest.raises(ConflictError, match="no drift reference"):
        apart.run("nobody")
    store.close()


def test_a_process_of_its_own_takes_no_module_from_the_folder_that_it_is_in(
    url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orjson.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    _, store, drifts = watch_on(database)
    with pytest.raises(ConflictError, match="no drift reference"):
        DriftApart(url, SETTINGS, drifts).run()
    store.close()


def test_a_process_that_is_too_slow_or_dies_is_an_error_with_a_reason(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store, drifts = watch_on(database)
    with pytest.raises(DeadlineExceeded, match=r"drift\.window"):
        DriftApart(url, SETTINGS, drifts, timeout_s=0.01).run()
    with pytest.raises(DeadlineExceeded, match=r"more than 0\.02 s and was ended"):
        DriftApart(url, SETTINGS, drifts).run(within_s=0.02)
    with pytest.raises(DeadlineExceeded, match=r"more than 0\.02 s and was ended"):
        DriftApart(url, SETTINGS, drifts).freeze(within_s=0.02)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(CapacityError, match="ended with status 1"):
        DriftApart(url, SETTINGS, drifts).run()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(CapacityError, match="No process could be started"):
        DriftApart(url, SETTINGS, drifts).run()
    assert b"conflict" in answer(
        b'{"url": "%s", "settings": {}, "verb": "run", "arguments": {"model": "x"}}' % url.encode()
    )
    store.close()


def test_a_database_in_memory_is_looked_at_in_place() -> None:
    database = open_database("sqlite://")
    watch, store, drifts = watch_on(database)
    kept(store, records(0, 300))
    apart = DriftApart("sqlite://", SETTINGS, drifts, here=watch)
    assert apart.freeze().n_rows == 300
    assert apart.run().verdict == "no_drift"
    store.close()
