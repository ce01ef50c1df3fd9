"""One database: connect, read, write, and bring its tables up to date.

SQLite in write-ahead mode by default, so that readers and the one writer do not wait for each
other; PostgreSQL where several servers share the truth. Knows no table but the one that counts
migrations.
"""

import math
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.pool import StaticPool

from glassbox.errors import (
    CapacityError,
    DependencyMissing,
    InvalidValue,
    NoDiskSpace,
    first_line,
)
from glassbox.storage.migrations import READS_ONLY, migrate

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one."""

CONNECT_TIMEOUT_S = 5.0
"""How long to wait for a database on another machine, and for one of its connections."""

FLUSHED = "glassbox_flushed"
"""Execution option of a connection whose commits wait for the disk."""

WRITERS_LOCK = 0x676C6173
"""Number of the lock that writers of a PostgreSQL database take in turn."""

STATEMENT_TIMEOUT_S = 30.0
"""Seconds that PostgreSQL works on one statement, waiting for a lock included."""

SILENT_WRITER_S = 10.0
"""Seconds after which PostgreSQL ends a writer that holds the lock and says nothing: a process that
hangs, or a machine that went away, must not hold all others up."""

VANISHED_S = 10.0
"""Seconds after which a connection is given up whose other end confirms nothing any more, or has
not even ended a statement that took too long."""

_SESSION = {
    "statement_timeout": STATEMENT_TIMEOUT_S,
    # Whoever reads an answer page by page is silent between two of them.
    "idle_in_transaction_session_timeout": 2 * STATEMENT_TIMEOUT_S,
}
"""Limits of a PostgreSQL session in seconds. Source: PostgreSQL 17, section 19.11.1."""

_DAMAGED: Final = ("disk image is malformed", "file is not a database")
"""How SQLite says that a file is no whole database. Source: SQLite, result codes 11 and 26."""

_RESTORE: Final = (
    " The file that storage.url names is damaged, or none of Glassbox: stop what uses it and "
    "restore a copy (docs/how-to/back-up-and-restore.md), or name another file."
)

_LEVEL: Final = "glassbox.synchronous"
"""Where a SQLite connection remembers how its commits end; it begins with ``NORMAL``."""

_TURN = sa.select(
    # Holds until the transaction ends, like the lock.
    sa.func.set_config(
        "idle_in_transaction_session_timeout", str(round(1000 * SILENT_WRITER_S)), True
    ),
    sa.func.pg_advisory_xact_lock(WRITERS_LOCK),
)


class Database:
    """A database whose tables are up to date.

    Args:
        engine: SQLAlchemy's engine.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # Whoever forgets to close leaves no open connections behind.
        weakref.finalize(self, engine.dispose)
        self._writing = {
            flushed: engine.execution_options(**{FLUSHED: flushed}) for flushed in (False, True)
        }
        # In memory all threads share one connection, which holds one transaction at a time.
        self._turn: AbstractContextManager[object] = (
            threading.Lock() if isinstance(engine.pool, StaticPool) else nullcontext()
        )

    @contextmanager
    def transaction(
        self, *, flushed: bool = False, in_turn: bool = True
    ) -> Iterator[sa.Connection]:
        """Give a connection whose changes are kept together if the block ends well, or not at all.

        Only one block at a time runs, whatever the database: what one reads, no other changes.

        Args:
            flushed: Whether the block ends only when the disk has the changes, so that they
                outlive a loss of power; without it they outlive the end of the process alone.
            in_turn: Whether it waits for its turn among all writers. A block that writes rows of
                its own alone need not: PostgreSQL then runs it beside others.

        Raises:
            CapacityError: The database cannot be reached, or stayed locked.
            InvalidValue: PostgreSQL cannot hold a value: a text with NUL, a number that is too
                large.
            NoDiskSpace: The disk is full.
        """
        with self._turn, _translated(), self._writing[flushed].begin() as connection:
            if in_turn and connection.dialect.name == "postgresql":
                # SQLite lets one writer in at a time; two that read the same here would both go on.
                connection.execute(_TURN)
            yield connection

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def empty_log(self) -> None:
        """Move what SQLite's write-ahead log holds into the file, and leave no copy behind.

        Readers that hold an older state keep their part of it; PostgreSQL does this by itself.

        Raises:
            CapacityError: The database cannot be reached.
        """
        if self.dialect == "sqlite":
            with self._turn, _translated(), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the database and changes nothing.

        Raises:
            CapacityError: The database cannot be reached.
            InvalidValue: PostgreSQL cannot compare with a value: a text with NUL, a number that is
                too large.
        """
        with (
            self._turn,
            _translated(),
            self._engine.connect().execution_options(**{READS_ONLY: True}) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Return a database with its tables up to date; an absent SQLite file is made.

    Any number of processes may do this at the same time.

    Args:
        url: As in ``sqlite:///glassbox.db`` or ``postgresql+psycopg://user@host/name``;
            ``sqlite://`` alone lives in memory; a leading ``~`` of a file is the home folder. What
            the address says of PostgreSQL's limits counts, as in
            ``?options=-c statement_timeout=5min``.

    Raises:
        InvalidValue: Not the address of a SQLite or PostgreSQL database.
        DependencyMissing: The driver is not installed.
        CapacityError: The database cannot be reached.
        ConflictError: A newer Glassbox has changed its tables, or they are another program's.
    """
    parsed = _parse(url)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
    database = Database(engine)
    try:
        with _translated():
            migrate(engine)
    except BaseException:
        database.close()
        raise
    return database


def _parse(url: str) -> sa.URL:
    allowed = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        # The address may hold a password, so it is not repeated.
        raise InvalidValue("storage.url", "no address of a database", allowed) from error
    if backend == "postgresql" and "+" not in parsed.drivername:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise InvalidValue("storage.url", parsed.drivername, allowed)
    return parsed


def _postgres(url: sa.URL) -> sa.Engine:
    own = url.query.get("options", "")
    said = own if isinstance(own, str) else " ".join(own)
    # Source: PostgreSQL 17, section 32.1.2. What the address itself says counts.
    waits = {
        "connect_timeout": round(CONNECT_TIMEOUT_S),
        "keepalives_idle": round(VANISHED_S),
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": round(1000 * VANISHED_S),
    }
    try:
        engine = sa.create_engine(
            url,
            # Whatever the database's own default: each statement sees what was kept before it, also
            # by the writer whose turn ended while this one waited.
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_timeout=CONNECT_TIMEOUT_S,
            connect_args={name: value for name, value in waits.items() if name not in url.query},
        )
    except ModuleNotFoundError as error:
        raise DependencyMissing(error.name or "psycopg", "postgres") from error
    limits = {name: value for name, value in _SESSION.items() if name not in said}
    # The driver comes with an extra; it is there if the engine could be made.
    from glassbox.storage.patient_connection import PatientConnection

    def connect(_dialect: object, _record: object, given: Any, named: Any) -> PatientConnection:
        return PatientConnection.connect(*given, **named)

    def prepare(connection: PatientConnection, _record: object) -> None:
        # Not as an option of the connection: poolers between here and there refuse those.
        with connection.cursor() as cursor:
            for name, seconds in limits.items():
                cursor.execute(
                    "SELECT set_config(%s, %s, false)", (name, str(round(1000 * seconds)))
                )
            cursor.execute("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
            ((limit_ms,),) = cursor.fetchall()
        connection.commit()
        # The server ends its statements by itself, unless it hangs; 0 is no limit.
        connection.silence_s = float(limit_ms) / 1000 + VANISHED_S if float(limit_ms) else math.inf

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "connect", prepare)
    return engine


def _sqlite(url: sa.URL) -> sa.Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if url.database in (None, "", ":memory:"):
        # One connection for all threads: each new one would be an empty database.
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    else:
        path = Path(str(url.database)).expanduser()
        url = url.set(database=str(path))
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CapacityError(
                f"The folder of the database, {path.parent}, cannot be made: {error.strerror}. "
                "Set storage.url to a file elsewhere."
            ) from error
        # It holds what keys sign with: for its owner alone, as are the files that SQLite puts
        # beside it. One that is there stays as it is, and what fails here the library will tell.
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    engine = sa.create_engine(url, **options)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions would leave out changes of tables; ours begin below.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer that begins as a reader can meet another writer on the way and fail at once,
    # without waiting: it asks for the lock first.
    options = connection.get_execution_options()
    if options.get(READS_ONLY, False):
        connection.exec_driver_sql("BEGIN")
        return
    # Connections are lent again, so each writer sees to it how its commits end.
    level = "FULL" if options.get(FLUSHED, False) else "NORMAL"
    if connection.info.get(_LEVEL, "NORMAL") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
        connection.info[_LEVEL] = level
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # Further lines are the database's details, which may quote what was written.
    except DataError as error:
        reason = first_line(error.orig or error)
        allowed = "a text without NUL, or a number of up to 64 bits"
        raise InvalidValue("a value for the database", reason, allowed) from error
    except DBAPIError as error:
        reason = first_line(error.orig or error)
        if "disk is full" in reason:
            raise NoDiskSpace(f"The database could not be written: {reason}.") from error
        remedy = _RESTORE if any(each in reason for each in _DAMAGED) else ""
        raise CapacityError(f"The database did not answer: {reason}.{remedy}") from error
    except SQLAlchemyError as error:
        raise CapacityError(f"The database did not answer: {type(error).__name__}.") from error
