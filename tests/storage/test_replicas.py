"""Servers of one database: each says its own word, and nothing they counted is lost or doubled."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from glassbox.errors import InvalidValue
from glassbox.storage.database import SILENT_WRITER_S, STATEMENT_TIMEOUT_S, Database, open_database
from glassbox.storage.replicas import Replica, ReplicaBody, ReplicaStore


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def replica(id: str, n: int = 0, **changes: object) -> Replica:
    plain = Replica(
        id=id,
        host="host",
        pid=7,
        address="http://127.0.0.1:1",
        version="0.1.0",
        bundle="",
        model="tiny",
        started_s=time.time(),
        status="ready",
        body={"n": n},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def together(bodies: Sequence[ReplicaBody]) -> ReplicaBody:
    return {"n": sum(each.get("n", 0) for each in bodies)}


def total(store: ReplicaStore) -> int:
    fleet = store.fleet()
    return int(together([fleet.departed, *(each.body for each in fleet.replicas)])["n"])


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_server_has_one_row_however_often_it_speaks(database: Database) -> None:
    store = ReplicaStore(database)
    assert store.beat(replica("a", 1), is_new=True)
    assert store.beat(replica("a", 2, status="draining"), is_new=False)
    (found,) = store.fleet().replicas
    assert (found.id, found.status, found.body) == ("a", "draining", {"n": 2})


def test_moments_are_those_of_the_databases_clock(database: Database) -> None:
    store = ReplicaStore(database, clock=lambda: 5.0)
    before_s = time.time()
    store.beat(replica("a"), is_new=True)
    fleet = store.fleet()
    (found,) = fleet.replicas
    assert found.clock_s == 5.0
    # SQLite's is read in milliseconds.
    assert before_s - 0.01 <= found.beat_s <= fleet.now_s <= time.time() + 0.01


def test_whoever_is_silent_goes_and_what_it_counted_stays(database: Database) -> None:
    clock = Clock()
    store = ReplicaStore(database, now=clock)
    store.beat(replica("a", 3), is_new=True)
    clock.now += 100
    store.beat(replica("b", 4), is_new=True)
    assert store.remove_silent(50, together) == ["a"]
    assert store.remove_silent(50, together) == []
    assert [each.id for each in store.fleet().replicas] == ["b"]
    assert total(store) == 7
    clock.now += 100
    assert store.remove_silent(50, together) == ["b"]
    assert total(store) == 7


def test_a_moment_that_a_clock_set_back_has_yet_to_reach_is_silence(database: Database) -> None:
    clock = Clock()
    store = ReplicaStore(database, now=clock)
    store.beat(replica("a", 3), is_new=True)
    clock.now -= 40
    assert store.remove_silent(50, together) == []
    clock.now -= 40
    assert store.remove_silent(50, together) == ["a"]


def test_one_that_was_removed_is_told_so(database: Database) -> None:
    clock = Clock()
    store = ReplicaStore(database, now=clock)
    store.beat(replica("a", 3), is_new=True)
    clock.now += 100
    store.remove_silent(50, together)
    assert not store.beat(replica("a", 5), is_new=False)
    assert store.fleet().replicas == ()


def test_many_that_tidy_at_once_count_nobody_twice(database: Database) -> None:
    clock = Clock()
    store = ReplicaStore(database, now=clock)
    for at in range(20):
        store.beat(replica(f"r{at}", at), is_new=True)
    clock.now += 100
    run_together([lambda: store.remove_silent(50, together)] * 4)
    assert store.fleet().replicas == ()
    assert total(store) == sum(range(20))


def test_what_json_cannot_say_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue, match="JSON can say"):
        ReplicaStore(database).beat(replica("a", body={"x": object()}), is_new=True)


def test_a_word_does_not_wait_for_other_writers_where_postgres_has_them(
    database: Database,
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    store = ReplicaStore(database)
    with database.transaction():
        # Waiting for the transaction, which waits for it, would end in CapacityError.
        store.beat(replica("a"), is_new=True)


def test_no_statement_and_no_silent_writer_holds_postgres_up_for_long(database: Database) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite has a busy timeout instead")
    with database.transaction() as connection:
        shown = {
            name: connection.execute(sa.text(f"SHOW {name}")).scalar()
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        }
    assert shown == {
        "statement_timeout": f"{STATEMENT_TIMEOUT_S:g}s",
        "idle_in_transaction_session_timeout": f"{SILENT_WRITER_S:g}s",
    }
    with database.reading() as connection:
        silent = connection.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert silent == "1min"


def test_what_the_address_says_of_limits_counts(postgres_url: str) -> None:
    joint = "&" if "?" in postgres_url else "?"
    opened = open_database(f"{postgres_url}{joint}options=-c%20statement_timeout%3D5min")
    with opened.reading() as connection:
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == "5min"
    opened.close()


def run_together(calls: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
