"""The steps that bring a database's tables up to date, numbered, each done once.

A step that has been released is never changed: a change is a new step. The SQL is what SQLite and
PostgreSQL both understand.
"""

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from glassbox.errors import ConflictError, first_line
from glassbox.storage.tables import alerts, drift, fleet, inference, registry, rollouts

READS_ONLY: Final = "glassbox_reads_only"
"""Execution option of a connection that takes no write lock."""

POSTGRES_LOCK = 7_264_551_009
"""Number of the advisory lock that migrating servers take turns by; any number, always this one."""

NOT_ALLOWED: Final = "42501"
"""PostgreSQL's state of who lacks a right. Source: PostgreSQL 17, appendix A."""


@dataclass(frozen=True)
class Migration:
    """One step."""

    number: int
    """From 1, without gaps."""
    name: str
    """What it does."""
    statements: tuple[str, ...]
    """SQL, one statement each."""
    for_postgres: tuple[str, ...] = ()
    """What PostgreSQL alone needs behind them."""


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        1,
        "API keys",
        (
            """
            CREATE TABLE api_keys (
                id TEXT PRIMARY KEY,
                digest TEXT NOT NULL UNIQUE,
                prefix TEXT NOT NULL,
                name TEXT NOT NULL,
                scopes TEXT NOT NULL,
                created_s DOUBLE PRECISION NOT NULL,
                last_used_s DOUBLE PRECISION,
                revoked_s DOUBLE PRECISION
            )
            """,
        ),
    ),
    Migration(
        2,
        "audit log",
        (
            """
            CREATE TABLE audit_events (
                sequence BIGINT PRIMARY KEY,
                time_s DOUBLE PRECISION NOT NULL,
                kind TEXT NOT NULL,
                actor TEXT NOT NULL,
                subject TEXT NOT NULL,
                body TEXT NOT NULL,
                previous_hash TEXT NOT NULL,
                hash TEXT NOT NULL
            )
            """,
            "CREATE INDEX audit_events_by_kind ON audit_events (kind, sequence)",
            "CREATE INDEX audit_events_by_subject ON audit_events (subject, sequence)",
        ),
    ),
    Migration(
        3,
        "keys that sign",
        (
            "ALTER TABLE api_keys ADD COLUMN signing_id TEXT",
            "ALTER TABLE api_keys ADD COLUMN signing_key TEXT",
            "CREATE UNIQUE INDEX api_keys_by_signing_id ON api_keys (signing_id)",
        ),
    ),
    Migration(4, "predictions", inference.STATEMENTS, inference.FOR_POSTGRES),
    Migration(5, "versions", registry.STATEMENTS),
    Migration(6, "rollouts", rollouts.STATEMENTS),
    Migration(7, "drift", drift.STATEMENTS),
    Migration(8, "alerts", alerts.STATEMENTS),
    Migration(9, "servers of one database", fleet.STATEMENTS),
)
"""All steps, in order."""

_VERSIONS = """
    CREATE TABLE IF NOT EXISTS schema_version (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        applied_s DOUBLE PRECISION NOT NULL
    )
"""


def migrate(engine: sa.Engine, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Do the steps that a database has not seen and return the number of the last one.

    All or none of them are done; processes that start together take turns. A database that has
    seen all of them is only read.

    Raises:
        ConflictError: A newer Glassbox has changed the tables, or a step cannot be done with what
            is there.
    """
    with engine.connect().execution_options(**{READS_ONLY: True}) as connection:
        if sa.inspect(connection).has_table("schema_version") and _done(connection) == len(
            migrations
        ):
            return len(migrations)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # A step over large tables takes as long as it takes, and so does waiting for another
            # server that does it. Nobody else gets a connection of such patience.
            driver: Any = connection.connection.driver_connection
            driver.silence_s = math.inf
            connection.detach()
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": POSTGRES_LOCK}
            )
        with _explained("To note which steps are done"):
            connection.exec_driver_sql(_VERSIONS)
        done = _done(connection)
        if done > len(migrations):
            raise ConflictError(
                f"The database has tables of version {done}; this Glassbox knows version "
                f"{len(migrations)}. Upgrade Glassbox, or set storage.url to another database."
            )
        for migration in migrations[done:]:
            only = migration.for_postgres if connection.dialect.name == "postgresql" else ()
            with _explained(f"Step {migration.number} ({migration.name})"):
                for statement in (*migration.statements, *only):
                    connection.exec_driver_sql(statement)
            connection.execute(
                sa.text("INSERT INTO schema_version VALUES (:number, :name, :applied_s)"),
                {
                    "number": migration.number,
                    "name": migration.name,
                    "applied_s": time.time(),
                },
            )
    return len(migrations)


def _done(connection: sa.Connection) -> int:
    with _explained("To read which steps were done"):
        return connection.execute(sa.text("SELECT max(number) FROM schema_version")).scalar() or 0


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say of a statement that the tables, their rows or the user's rights stand in the way of."""
    try:
        yield
    except DBAPIError as error:
        is_sqlites = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        if not (is_sqlites or isinstance(error, ProgrammingError | IntegrityError)):
            raise
        # Further lines may quote rows.
        reason = first_line(error.orig or error)
        remedy = (
            "If the tables are another program's, set storage.url to a database of Glassbox's own. "
            "If they are Glassbox's, something in them is in the way; the version that made them "
            "goes on with them as they are."
        )
        if getattr(error.orig, "sqlstate", None) == NOT_ALLOWED:
            remedy = (
                "As the database's owner, allow its user to make tables (GRANT CREATE ON SCHEMA "
                "public TO …), or set storage.url to a database that belongs to that user."
            )
        raise ConflictError(
            f"The database's tables cannot be brought up to date. {what} failed: {reason}. Nothing "
            f"was changed. {remedy}"
        ) from error
