"""The durable log of predictions: what was recorded is read, found, filtered and followed."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassbox.audit import AuditLog, AuditRing, InferenceStore
from glassbox.audit.records import ErasureEvent, InferenceRecord, PrimaryEvent
from glassbox.audit.request_ids import request_key
from glassbox.audit.stored_events import entry_of, event_of
from glassbox.errors import ConflictError, InvalidValue
from glassbox.storage.database import Database, open_database
from tests.audit.made_events import label, primary, shadow
from tests.waiting import PATIENCE_S, until

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# PostgreSQL's texts cannot hold NUL, and half a character is no text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def ids(records: list[InferenceRecord]) -> list[str]:
    return [each.primary.request_id for each in records]


def test_events_are_read_as_they_were_recorded_in_their_order(store: InferenceStore) -> None:
    first = primary("r1", segments={"country": "de"}, features={"age": 41, "tags": ["a", None]})
    events = [
        first,
        shadow("r1", role="noise_floor"),
        primary("r2", status="error", prediction=None, confidence=None, error_code="capacity"),
        label("r1", label=1.5),
        primary("r3", arm="challenger", rollout_id="x", revision=7, summaries={"n_tokens": 3.0}),
    ]
    for event in events:
        assert store.record(event) is None
    store.flush()
    assert store.read() == list(enumerate(events, start=1))
    assert store.read(after=3, limit=1) == [(4, events[3])]
    assert store.verify().broken is None


def test_a_record_is_the_view_over_its_events(store: InferenceStore) -> None:
    for event in (
        primary("r1"),
        primary("other"),
        shadow("r1"),
        shadow("r1", shadow_version="v3", status="timeout", prediction=None, diff=None),
        label("r1", label="wrong"),
        label("r1", label="positive"),
        shadow("other"),
    ):
        store.record(event)
    store.flush()
    record = store.find("r1")
    assert record is not None
    assert record.sequence == 1
    assert [each.shadow_version for each in record.shadows] == ["default_model_v2", "v3"]
    assert record.label == label("r1", label="positive")
    assert store.find("nobody") is None
    assert [(each.sequence, each.kind) for each in store.places("r1")] == [
        (1, "primary"), (3, "shadow"), (4, "shadow"), (5, "label"), (6, "label"),
    ]  # fmt: skip
    assert store.known(["r1", "nobody", "other"]) == {"r1", "other"}
    assert store.recent(10) == [store.find("other"), record]


def test_two_names_with_one_number_in_the_index_stay_apart(store: InferenceStore) -> None:
    pair = ("name-c6ac-3564a8ec", "name-dafa-bfcd90da")
    assert request_key(pair[0]) == request_key(pair[1])
    for name, version in zip(pair, ("v1", "v2"), strict=True):
        store.record(primary(name, model_version=version))
        store.record(shadow(name))
    store.flush()
    found = [store.find(name) for name in pair]
    assert [each and (each.primary.model_version, len(each.shadows)) for each in found] == [
        ("v1", 1), ("v2", 1),
    ]  # fmt: skip
    assert [len(each.shadows) for each in store.recent(2)] == [1, 1]


def test_recent_predictions_can_be_narrowed_down(store: InferenceStore) -> None:
    for number in range(40):
        name = f"r{number}"
        failed = number % 8 == 0
        store.record(
            primary(
                name,
                model_version=f"v{number % 2}",
                status="error" if failed else "success",
                label=None if failed else ("yes" if number % 4 else "no"),
                segments={"country": "de" if number % 3 else 'f"r', "other": "de"},
            )
        )
        store.record(shadow(name, diff=number / 100))
    store.flush()
    everything = ids(store.recent(100))
    assert everything == [f"r{number}" for number in reversed(range(40))]
    assert ids(store.recent(3)) == ["r39", "r38", "r37"]
    before = store.recent(3)[-1].sequence
    assert ids(store.recent(2, before=before)) == ["r36", "r35"]
    assert ids(store.recent(status="error")) == ["r32", "r24", "r16", "r8", "r0"]
    assert ids(store.recent(2, model_version="v1", status="success")) == ["r39", "r37"]
    assert ids(store.recent(2, label="no", before=before)) == ["r36", "r28"]
    assert ids(store.recent(min_diff=0.38)) == ["r39", "r38"]
    assert ids(store.recent(2, min_diff=0.005)) == ["r39", "r38"]
    assert len(store.recent(100, min_diff=0.005)) == 39
    assert ids(store.recent(2, min_diff=0.2, status="error")) == ["r32", "r24"]
    assert ids(store.recent(2, segment=("country", 'f"r'))) == ["r39", "r36"]
    assert store.recent(segment=("country", "d")) == []


def test_recent_predictions_of_one_model_are_those_of_its_versions(
    store: InferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many versions of one model, so that several statements are needed, and one that has only
    # answered long ago.
    monkeypatch.setattr("glassbox.audit.record_queries._VERSIONS_AT_ONCE", 2)
    for number in range(60):
        rare = number in (1, 3)
        model = "rare" if rare else ("even" if number % 2 == 0 else "odd")
        store.record(
            primary(
                f"r{number}",
                model=model,
                model_version=f"{model}_v{number % 5}",
                status="error" if number % 3 == 0 else "success",
            )
        )
        store.record(shadow(f"r{number}", diff=number / 100))
    store.flush()
    even = [f"r{number}" for number in reversed(range(0, 60, 2))]
    assert ids(store.recent(100, model="even")) == even
    assert ids(store.recent(4, model="even")) == even[:4]
    before = store.recent(4, model="even")[-1].sequence
    assert ids(store.recent(3, model="even", before=before)) == even[4:7]
    assert ids(store.recent(model="rare")) == ["r3", "r1"]
    assert ids(store.recent(2, model="even", status="error")) == ["r54", "r48"]
    assert ids(store.recent(2, model="even", model_version="even_v2")) == ["r52", "r42"]
    assert store.recent(model="even", model_version="odd_v3") == []
    assert ids(store.recent(model="odd", min_diff=0.55)) == ["r59", "r57", "r55"]
    assert store.recent(model="nobody") == []
    # Also where the newest answer of a version was erased.
    store.erase("r3", actor="me", reason="asked")
    assert ids(store.recent(model="rare")) == ["r1"]
    store.erase("r1", actor="me", reason="asked")
    assert store.recent(model="rare") == []


def test_differences_are_found_whether_they_are_rare_or_frequent(
    store: InferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        store.record(primary(f"r{number}"))
        store.record(shadow(f"r{number}", diff=(number % 30) / 30))
    store.flush()
    wanted = [f"r{number}" for number in reversed(range(60)) if (number % 30) / 30 >= 0.5]
    assert ids(store.recent(100, min_diff=0.5)) == wanted
    monkeypatch.setattr("glassbox.audit.record_queries._RARE", 5)
    monkeypatch.setattr("glassbox.audit.record_queries._KEYS_AT_ONCE", 4)
    assert ids(store.recent(100, min_diff=0.5)) == wanted
    assert ids(store.recent(3, min_diff=0.5)) == wanted[:3]


@pytest.mark.parametrize("rare", [5, 10_000])
def test_pages_of_differences_leave_none_out_however_late_challengers_ended(
    store: InferenceStore, monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    monkeypatch.setattr("glassbox.audit.record_queries._RARE", rare)
    for number in range(30):
        store.record(primary(f"r{number}", label="even" if number % 2 == 0 else "odd"))
    for number in range(30):
        store.record(shadow(f"r{number}", diff=0.5))
        store.record(shadow(f"r{number}", shadow_version="v3", diff=0.01))
    store.flush()
    for wanted in (
        {},
        {"label": "odd"},
        {"model": "default"},
        {"model": "default", "label": "odd"},
    ):
        found: list[str] = []
        before = None
        while page := store.recent(4, min_diff=0.3, before=before, **wanted):
            found += ids(page)
            before = page[-1].sequence
        numbers = [each for each in reversed(range(30)) if "label" not in wanted or each % 2]
        assert found == [f"r{number}" for number in numbers]
    assert store.recent(min_diff=0.3, label="none") == []


def test_a_stretch_of_time_comes_page_by_page_whatever_the_clock_did(
    store: InferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.audit.record_queries.MOST_READ", 7)
    # The clock was set back in the middle, and many answers share one moment.
    times = [100.0 + number // 5 for number in range(30)]
    times += [50.0 + number // 5 for number in range(30)]
    for number, time_s in enumerate(times):
        store.record(primary(f"r{number}", time_s=time_s, model_version=f"v{number % 2}"))
        store.record(label(f"r{number}"))
    store.flush()
    found = list(store.range(52.0, 103.0))
    wanted = sorted(
        (time_s, number) for number, time_s in enumerate(times) if 52.0 <= time_s < 103.0
    )
    assert [each.primary.request_id for each in found] == [f"r{number}" for _, number in wanted]
    assert all(each.label is not None for each in found)
    assert {each.primary.model_version for each in store.range(0, 1e9, model_version="v1")} == {
        "v1"
    }


def test_what_is_kept_is_counted_by_kind(store: InferenceStore) -> None:
    assert store.counts().n_events == 0
    for event in (primary("r1"), primary("r2"), shadow("r1"), label("r2")):
        store.record(event)
    store.flush()
    found = store.counts()
    assert (found.n_primaries, found.n_shadows, found.n_labels, found.n_erasures) == (2, 1, 1, 0)
    bodies = sum(len(entry_of(event).body) for _, event in store.read())
    assert found.n_body_bytes == bodies


def test_strict_tells_the_sequence_once_it_is_on_the_disk(database: Database) -> None:
    store = InferenceStore(database, durability="strict")
    futures = [store.record(primary()) for _ in range(20)]
    assert [each and each.result(PATIENCE_S) for each in futures] == list(range(1, 21))
    store.close()


def test_a_group_waits_for_company_no_longer_than_its_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = InferenceStore(database, group_ms=50.0)
    urgent, waited_s = store._make_writer()._urgent, list[float]()
    wait = urgent.wait
    monkeypatch.setattr(urgent, "wait", lambda most_s: (waited_s.append(most_s), wait(most_s)))
    started = time.monotonic()
    store.record(primary("r1"))
    # Nobody asks for it to be flushed.
    until(lambda: store.status().n_written == 1)
    assert store.find("r1") is not None
    assert 0.0 < store.status().longest_wait_s <= time.monotonic() - started
    assert waited_s
    assert all(0.0 < each <= 0.05 for each in waited_s)
    store.close()


def test_stores_of_several_processes_make_one_chain_and_follow_each_other(
    database_url: str,
) -> None:
    databases = [open_database(database_url) for _ in range(3)]
    rings = [AuditRing(1000) for _ in databases]
    stores = [
        InferenceStore(each, group_ms=2.0, on_events=ring.take)
        for each, ring in zip(databases, rings, strict=True)
    ]

    def write(number: int) -> None:
        for at in range(50):
            event = primary(f"{number}-{at}")
            rings[number].add(event)
            stores[number].record(event)
            stores[number].record(shadow(event.request_id))
            rings[number].complete(shadow(event.request_id))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in stores:
        each.flush()
    found = stores[0].verify()
    assert (found.n_events, found.broken) == (300, None)
    wanted = {f"{number}-{at}" for number in range(3) for at in range(50)}
    for ring in rings:
        until(lambda ring=ring: set(ids(ring.records())) == wanted)
        until(lambda ring=ring: all(each.shadows for each in ring.records()))
        counted = ring.lifetime()
        assert (counted["inferences"], counted["shadow_ok"]) == (150, 150)
    stores[0].erase("1-7", actor="a", reason="asked")
    for ring in rings:
        until(lambda ring=ring: ring.find("1-7") is None)
    for each, database in zip(stores, databases, strict=True):
        each.close()
        database.close()


def test_what_a_store_recorded_itself_is_not_told_to_it(database_url: str) -> None:
    database, other = open_database(database_url), open_database(database_url)
    told: list[int] = []
    store = InferenceStore(
        database, group_ms=2.0, on_events=lambda page: told.extend(s for s, _ in page)
    )
    theirs = InferenceStore(other, group_ms=2.0)
    for number in range(30):
        (theirs if number % 10 == 4 else store).record(primary(f"r{number}"))
        if number % 10 in (3, 4):
            store.flush()
            theirs.flush()
    store.flush()
    until(lambda: len(told) >= 3)
    time.sleep(0.4)
    assert told == [5, 15, 25]
    store.close()
    theirs.close()
    database.close()
    other.close()


def test_what_cannot_be_kept_is_refused_at_once(store: InferenceStore) -> None:
    for bad in (primary("r", time_s=float("nan")), primary("r", latency_ms=float("inf"))):
        with pytest.raises(InvalidValue, match="a finite number"):
            store.record(bad)
    for name in ("", "x" * 201, "a\0b", "half \ud800"):
        with pytest.raises(InvalidValue, match="request_id"):
            store.record(primary(name) if name else PrimaryEvent("", 1, "m", "v", "h", 1, "error"))
    store.record(primary("r", prediction=float("nan"), confidence=float("nan")))
    store.flush()
    record = store.find("r")
    assert record is not None
    assert (record.primary.prediction, record.primary.confidence) == (None, None)
    assert store.verify().n_events == 1


def test_one_event_that_json_cannot_say_harms_no_other(database: Database) -> None:
    strict = InferenceStore(database, durability="strict")
    bad = strict.record(primary("bad", features={"value": object()}))
    good = strict.record(primary("good"))
    assert bad is not None
    assert good is not None
    with pytest.raises(InvalidValue, match="plain JSON"):
        bad.result(PATIENCE_S)
    assert good.result(PATIENCE_S) == 1
    strict.close()
    group = InferenceStore(database, group_ms=2.0)
    group.record(primary("bad", features={"value": object()}))
    group.record(primary("worse", label="a\0b"))
    group.record(primary("better"))
    group.close()
    assert group.status().n_failed == 2
    assert group.find("better") is not None
    told = AuditLog(database).read(kinds=["inference.refused"])
    assert sum(each.body["n_records"] for each in told) == 2


def test_a_closed_store_takes_nothing(database: Database) -> None:
    store = InferenceStore(database)
    store.record(primary("r1"))
    store.close()
    store.close()
    assert store.find("r1") is not None
    with pytest.raises(ConflictError, match="was closed"):
        store.record(primary("r2"))


def test_an_erasure_event_is_read_as_such(store: InferenceStore) -> None:
    store.record(primary("r1"))
    store.erase("r1", actor="key1", reason="asked")
    ((sequence, event),) = store.read(after=1)
    assert sequence == 2
    assert isinstance(event, ErasureEvent)
    assert (event.request_id, event.actor, event.reason) == ("r1", "key1", "asked")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    time_s=NUMBERS,
    latency_ms=NUMBERS,
    prediction=st.none() | NUMBERS,
    name=TEXTS,
    probs=st.none() | st.dictionaries(TEXTS, NUMBERS, max_size=3),
    features=st.dictionaries(TEXTS, NUMBERS | TEXTS | st.booleans() | st.none(), max_size=3),
)
def test_an_event_comes_back_from_its_row_as_it_was(
    time_s: float,
    latency_ms: float,
    prediction: float | None,
    name: str,
    probs: dict[str, float] | None,
    features: dict[str, object],
) -> None:
    event = primary(
        "r" + name,
        time_s=time_s,
        latency_ms=latency_ms,
        prediction=prediction,
        model_version=name,
        label=name or None,
        label_probs=probs,
        features=features,
        segments={"name": name},
    )
    entry = entry_of(event)
    assert event_of(entry.kind, entry.time_s, entry.request_id, entry.body) == event
