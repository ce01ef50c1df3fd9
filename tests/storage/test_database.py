"""The database: one state at a time, whole or not at all, and no two migrations at once."""

import gc
import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from glassbox.errors import CapacityError, ConflictError, InvalidValue
from glassbox.storage.database import open_database
from glassbox.storage.migrations import MIGRATIONS, Migration, migrate
from tests import postgres as pg
from tests.waiting import PATIENCE_S


def test_a_new_file_gets_its_folder_and_its_tables(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/below/glassbox.db")
    with database.reading() as connection:
        numbers = connection.execute(sa.text("SELECT number FROM schema_version")).scalars().all()
    assert numbers == [migration.number for migration in MIGRATIONS]
    database.close()


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
        with database.transaction() as connection:
            connection.execute(sa.text("CREATE TABLE more (number INTEGER)"))
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    names = ("glassbox.db", "glassbox.db-shm", "glassbox.db-wal")
    assert modes == dict.fromkeys(names, 0o600)


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "glassbox.db"
    open_database(f"sqlite:///{path}").close()
    path.chmod(0o640)
    open_database(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_file_is_in_write_ahead_mode(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_one_that_is_forgotten_leaves_no_connection_open(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    with database.reading() as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    assert driver.execute("SELECT 1").fetchone() == (1,)
    del database
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


def _open_and_count(url: str, found: "multiprocessing.Queue[int]") -> None:
    database = open_database(url)
    with database.reading() as connection:
        found.put(connection.exec_driver_sql("SELECT count(*) FROM schema_version").scalar() or 0)
    database.close()


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[int] = context.Queue()
    processes = [
        context.Process(target=_open_and_count, args=(database_url, found), daemon=True)
        for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0] * 6
    assert [found.get(timeout=PATIENCE_S) for _ in processes] == [len(MIGRATIONS)] * 6


def test_a_step_that_fails_leaves_nothing_behind(database_url: str) -> None:
    database = open_database(database_url)
    keys = sa.table(
        "api_keys", *map(sa.column, ("id", "digest", "prefix", "name", "scopes", "created_s"))
    )
    row = {"prefix": "gb", "name": "same", "scopes": "predict", "created_s": 1.0}
    with database.transaction() as connection:
        connection.execute(keys.insert(), [{**row, "id": each, "digest": each} for each in "ab"])
    last = len(MIGRATIONS)
    more = (
        Migration(last + 1, "good", ("CREATE TABLE one (a TEXT)",)),
        Migration(last + 2, "bad", ("CREATE UNIQUE INDEX by_name ON api_keys (name)",)),
    )
    said = rf"Step {last + 2} \(bad\) failed: .*(unique|UNIQUE).*Nothing was changed"
    with pytest.raises(ConflictError, match=said):
        migrate(database._engine, (*MIGRATIONS, *more))
    with database.reading() as connection:
        assert not sa.inspect(connection).has_table("one")
        assert connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar() == 2
        done = connection.exec_driver_sql("SELECT max(number) FROM schema_version").scalar()
    assert done == last
    database.close()


@pytest.mark.parametrize("table", ["api_keys (id INTEGER)", "schema_version (version INTEGER)"])
def test_a_database_of_another_program_is_left_alone(database_url: str, table: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {table}")
    with pytest.raises(
        ConflictError, match=r"another program's, set storage\.url to a database of"
    ):
        open_database(database_url)
    assert sa.inspect(engine).get_table_names() == [table.split()[0]]
    engine.dispose()


def test_whoever_may_make_no_tables_is_told_what_to_allow(postgres_url: str) -> None:
    url = sa.make_url(pg.new_database(postgres_url))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE weak_{url.database} LOGIN")
        connection.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    engine.dispose()
    weak = url.set(username=f"weak_{url.database}")
    with pytest.raises(ConflictError, match=r"permission denied.*GRANT CREATE ON SCHEMA"):
        open_database(weak.render_as_string(hide_password=False))


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    with database.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (999, 'later', 0)")
    database.close()
    with pytest.raises(ConflictError, match="version 999; this Glassbox knows"):
        open_database(database_url)


def test_a_block_that_fails_changes_nothing(database_url: str) -> None:
    database = open_database(database_url)

    def fail_half_way() -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO schema_version VALUES (700, 'later', 0)")
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail_half_way()
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT max(number) FROM schema_version").scalar() == len(
            MIGRATIONS
        )
    database.close()


def test_writers_wait_for_each_other(database_url: str) -> None:
    database = open_database(database_url)
    with database.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE counted (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO counted VALUES (0)")

    def add() -> None:
        for _ in range(25):
            with database.transaction() as connection:
                n = connection.exec_driver_sql("SELECT n FROM counted").scalar() or 0
                connection.exec_driver_sql(f"UPDATE counted SET n = {n + 1}")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT n FROM counted").scalar() == 100
    database.close()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_writers_wait_for_each_other_whatever_the_database_isolates(
    postgres_url: str, level: str
) -> None:
    url = pg.new_database(postgres_url)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = sa.make_url(url).database
        connection.exec_driver_sql(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'"
        )
    engine.dispose()
    test_writers_wait_for_each_other(url)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("nonsense", "storage.url is 'no address of a database'"),
        ("mysql://user:secret@host/name", "allowed: sqlite:///FILE or postgresql"),
        ("warehouse://user:secret@host/name", "allowed: sqlite:///FILE or postgresql"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    url: str, match: str
) -> None:
    with pytest.raises(InvalidValue, match=match) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "glassbox.db").write_text("Dear diary, " * 500)
    with pytest.raises(CapacityError, match="file is not a database"):
        open_database(f"sqlite:///{tmp_path}/glassbox.db")


@pytest.mark.parametrize("n_bytes", [50, 9000])
def test_a_database_that_was_cut_short_says_what_to_do(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "glassbox.db"
    open_database(f"sqlite:///{path}").close()
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CapacityError, match=r"malformed.*restore a copy .*, or name another file"):
        open_database(f"sqlite:///{path}").close()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CapacityError, match="cannot be made"):
        open_database(f"sqlite:///{tmp_path}/taken/below/glassbox.db")


def test_a_database_that_is_up_to_date_is_opened_while_somebody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.storage.database.BUSY_TIMEOUT_S", 0.05)
    url = f"sqlite:///{tmp_path}/glassbox.db"
    first = open_database(url)
    with first.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER)")
        second = open_database(url)
        with second.reading() as reading:
            assert reading.exec_driver_sql("SELECT count(*) FROM schema_version").scalar()
    second.close()
    first.close()


def test_a_database_in_memory_serves_several_threads() -> None:
    database = open_database("sqlite://")
    with database.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER)")
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(50):
                with database.transaction() as connection:
                    connection.exec_driver_sql(f"INSERT INTO numbers VALUES ({number})")
                with database.reading() as connection:
                    connection.exec_driver_sql("SELECT count(*) FROM numbers").scalar()
        except CapacityError as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM numbers").scalar() == 200
    database.close()


def test_a_text_that_postgresql_cannot_hold_is_the_callers_mistake(postgres_url: str) -> None:
    database = open_database(postgres_url)
    query = sa.text("SELECT count(*) FROM rollouts WHERE id = :id")
    try:
        for block in (database.reading, database.transaction):
            with pytest.raises(InvalidValue, match="without NUL"), block() as connection:
                connection.execute(query, {"id": "a\0b"})
    finally:
        database.close()
