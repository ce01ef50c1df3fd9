"""Killed, locked out, out of disk, cut off: what was promised is there, and nothing is broken."""

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from glassbox.audit import AuditLog, InferenceStore, event_rows
from glassbox.errors import CapacityError, DeadlineExceeded
from glassbox.storage.database import Database, open_database
from tests import postgres as pg
from tests.audit.made_events import primary
from tests.waiting import PATIENCE_S, until

PER_TURN = 20

# Says on its output what was acknowledged: in strict after the commit, in group as it was recorded.
WRITER = (
    f"""
PER_TURN = {PER_TURN}
"""
    + """
import itertools, sys, time
from glassbox.audit import InferenceStore
from glassbox.storage.database import open_database
from tests.audit.made_events import primary
url, durability, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = InferenceStore(open_database(url), durability=durability)
out = sys.stdout
number = first
for turn in itertools.count():
    batch = [(name, store.record(primary(name))) for name in
             (f"r{each}" for each in range(number, number + PER_TURN))]
    number += PER_TURN
    for name, done in batch:
        if done is not None:
            done.result(120)
        out.write(f"{name} {turn}\\n")
    out.flush()
    time.sleep(0.01)
"""
)


def acknowledged_until_killed(
    url: str, durability: str, first: int, n_turns: int
) -> list[tuple[str, int]]:
    """Return what a process that writes acknowledged, and in which of its turns, until killed.

    Its turns are its clock: it has none while others keep it from running. Each is 10 ms or more.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, durability, str(first)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    until(lambda: len(lines) >= PER_TURN * n_turns)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    reader.join(PATIENCE_S)
    process.stdout.close()
    words = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(name, int(turn)) for name, turn in words]


@pytest.mark.parametrize("durability", ["strict", "group"])
def test_killed_again_and_again_it_keeps_what_it_promised(
    database_url: str, durability: str
) -> None:
    database = open_database(database_url)
    store = InferenceStore(database)
    # 50 ms are promised, which is five turns; whatever else runs may hold the disk up.
    behind = 0 if durability == "strict" else 100
    n_events = 0
    for at, n_turns in enumerate((4, 11, 18)):
        told = acknowledged_until_killed(database_url, durability, at * 1_000_000, behind + n_turns)
        due = [name for name, turn in told if turn <= told[-1][1] - behind]
        assert len(due) >= PER_TURN
        if database.dialect == "postgresql":
            # The server may still be finishing the transaction of a client that is gone.
            time.sleep(0.2)
        assert store.known(due) == set(due)
        found = store.verify()
        assert found.broken is None
        assert found.n_events > n_events
        n_events = found.n_events
    database.close()


def test_a_database_that_is_locked_only_delays_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "glassbox.server")
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.05)
    url = f"sqlite:///{tmp_path}/glassbox.db"
    database, other = open_database(url), open_database(url)
    store = InferenceStore(database, group_ms=2.0)
    with other.transaction():
        for number in range(100):
            store.record(primary(f"r{number}"))
        with pytest.raises(DeadlineExceeded, match=r"101 records.*locked|records were not"):
            store.flush(0.4)
        assert "locked" in store.status().problem
        assert store.counts().n_events == 0
    store.flush()
    assert store.counts().n_events == 100
    assert store.status().problem == ""
    assert store.verify().broken is None
    store.close()
    # However often it was tried, the log has two lines: when it began, and when it was over.
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "wait in memory: The database did not answer: database is locked." in caplog.text
    database.close()
    other.close()


FILLER = """
import resource, signal, sys
from glassbox.audit import InferenceStore
from glassbox.errors import CapacityError
from glassbox.storage.database import open_database
from tests.audit.made_events import primary
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = InferenceStore(open_database(sys.argv[1]), durability="strict")
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
import glassbox.audit.group_writer as writer
writer.STRICT_PATIENCE_S = 0.05
kept = 0
try:
    for number in range(100_000):
        store.record(primary(f"r{number}", features={"text": "x" * 2000})).result(30)
        kept += 1
except CapacityError as error:
    print(kept, type(error).__name__, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.record(primary("after")).result(30), store.verify().broken)
"""


def test_a_full_disk_fails_the_request_and_the_next_one_goes_well(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of files is limited for this account already")
    url = f"sqlite:///{tmp_path}/glassbox.db"
    done = subprocess.run(
        [sys.executable, "-c", FILLER, url],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    first, second = done.stdout.splitlines()
    n_kept, error = first.split()
    assert int(n_kept) > 3
    assert error in ("NoDiskSpace", "CapacityError")
    assert second == f"{int(n_kept) + 1} None"


def test_a_clock_that_jumps_breaks_nothing(database: Database) -> None:
    times = iter([1e9, 2e9, 5e8, 1.5e9])
    store = InferenceStore(database, group_ms=2.0, clock=lambda: next(times, 1.6e9))
    for number, time_s in enumerate([1e9, 2e9, 5e8, 1.5e9]):
        store.record(primary(f"r{number}", time_s=time_s))
    store.flush()
    assert [each.primary.request_id for each in store.recent(9)] == ["r3", "r2", "r1", "r0"]
    assert [each.primary.request_id for each in store.range(4e8, 1.2e9)] == ["r2", "r0"]
    assert store.verify().broken is None
    store.close()


def test_a_postgres_that_restarts_under_load_loses_nothing() -> None:
    programs = pg.programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    with pg.postgres(programs) as url:
        database = open_database(url)
        group, strict = InferenceStore(database), InferenceStore(database, durability="strict")
        is_over = threading.Event()
        n_group = 0
        answered: list[str] = []

        def record_group() -> None:
            nonlocal n_group
            while not is_over.wait(0.002):
                group.record(primary(f"g{n_group}"))
                n_group += 1

        def record_strict() -> None:
            number = 0
            while not is_over.is_set():
                done = strict.record(primary(f"s{number}"))
                assert done is not None
                try:
                    done.result(PATIENCE_S)
                except CapacityError:
                    number += 1
                    continue
                answered.append(f"s{number}")
                number += 1

        threads = [threading.Thread(target=each) for each in (record_group, record_strict)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        pg.restart(programs, url)
        time.sleep(0.5)
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        group.flush()
        names = [f"g{number}" for number in range(n_group)]
        assert group.known(names) == set(names)
        assert strict.known(answered) == set(answered)
        # Nothing was written twice, although answers to commits were lost on the way.
        with database.reading() as connection:
            query = "SELECT count(*), count(DISTINCT request_id) FROM inference_events"
            n_rows, n_names = connection.execute(sa.text(query)).one()
        assert n_rows == n_names
        assert group.verify().broken is None
        group.close()
        strict.close()
        database.close()


def test_a_commit_whose_answer_was_lost_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    real = Database.transaction
    lost = iter([True, True])

    @contextmanager
    def losing(self: Database, *, flushed: bool = False) -> Iterator[Any]:
        with real(self, flushed=flushed) as connection:
            yield connection
        if flushed and next(lost, False):
            raise CapacityError("The database did not answer: gone after the commit.")

    monkeypatch.setattr(Database, "transaction", losing)
    store = InferenceStore(database, durability="strict")
    done = [store.record(primary(f"r{number}")) for number in range(5)]
    assert [each and each.result(PATIENCE_S) for each in done] == [1, 2, 3, 4, 5]
    store.close()
    assert store.counts().n_events == 5
    assert store.verify().broken is None
    database.close()


def test_ten_thousand_requests_a_second_are_kept(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    store = InferenceStore(database)
    events = [primary() for _ in range(10_000)]
    started, worked = time.perf_counter(), time.thread_time()
    for number, event in enumerate(events):
        store.record(event)
        ahead = number / 10_000 - (time.perf_counter() - started)
        if ahead > 0.002:
            time.sleep(ahead)
    worked_s = time.thread_time() - worked
    store.flush()
    # Generous, because every call's types are checked here: only the caller's own work is counted.
    assert worked_s < 10.0
    assert store.status().n_overflowed == 0
    found = store.verify()
    assert (found.n_events, found.broken) == (10_000, None)
    store.close()
    database.close()


def test_a_column_of_a_wrong_type_holds_nobody_up(database: Database) -> None:
    store = InferenceStore(database)
    odd = primary("odd")
    # As a function without types may make it; the database would refuse it again and again.
    object.__setattr__(odd, "label", ["yes"])
    store.record(odd)
    store.record(primary("next"))
    store.flush()
    assert store.known(["odd", "next"]) == {"next"}
    assert store.status().n_failed == 1
    refused = AuditLog(database).read(kinds=("inference.refused",))
    assert "yes" not in str([dict(each.body) for each in refused])
    assert store.verify().broken is None
    store.close()


def test_an_error_of_postgres_in_the_midst_of_a_group_only_delays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = pg.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with pg.postgres(programs) as url:
        database = open_database(url)
        store = InferenceStore(database)
        copy, n_cut = event_rows._copy_rows, 0

        def cut_off(cursor: Any, rows: Any) -> None:
            nonlocal n_cut
            if n_cut < 2:
                n_cut += 1
                cursor.connection.pgconn.finish()
            copy(cursor, rows)

        monkeypatch.setattr(event_rows, "_copy_rows", cut_off)
        for number in range(10):
            store.record(primary(f"r{number}"))
        store.flush(20)
        assert n_cut == 2
        found = store.verify()
        assert (found.n_events, found.broken) == (10, None)
        store.close()
        database.close()
