"""Rows of the events of predictions: where the chain ends, and how a group is put behind it.

Everything here happens inside a transaction that someone else began; whoever writes is alone in
the database until it ends. Knows no thread and no queue.
"""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from glassbox.audit.records import ErasureEvent
from glassbox.audit.stored_events import FIRST, SALT_BYTES, Entry, body_digest, entry_of, link
from glassbox.errors import CapacityError

_INTEGERS: Final = frozenset(
    {"sequence", "request_key", "n_events", "n_bytes", "number", "first_sequence", "last_sequence"}
)
"""Columns that PostgreSQL must be told to be wide."""


def _table(name: str, columns: str) -> sa.TableClause:
    kinds = [(each, sa.BigInteger() if each in _INTEGERS else None) for each in columns.split()]
    return sa.table(name, *(sa.column(each, kind) for each, kind in kinds))


EVENTS: Final = _table(
    "inference_events",
    "sequence time_s kind request_id request_key model_version status label diff "
    "salt body body_digest hash",
)
"""The table of events; its columns in the order of its rows."""

TOTALS: Final = _table("inference_totals", "kind n_events n_bytes")
"""Events and bytes of bodies by kind, kept along with every change."""

ANCHORS: Final = _table(
    "inference_anchors",
    "number time_s reason first_sequence last_sequence last_hash hash",
)
"""What retention has removed: where the chain was cut, and its hash there."""

_STEPS: Final = (250, 25, 1)
"""Rows of one statement. SQLite lets other threads of Python in after every statement, and a busy
one keeps the interpreter for milliseconds: few long statements, of few lengths to prepare."""

_COLUMNS: Final = tuple(EVENTS.c.keys())
_MARKS: Final = f"({','.join('?' * len(_COLUMNS))})"
_INSERT: Final = {
    step: f"INSERT INTO inference_events VALUES {','.join([_MARKS] * step)}" for step in _STEPS
}
_COPY: Final = f"COPY inference_events ({','.join(_COLUMNS)}) FROM STDIN"
_ADD: Final = sa.text(
    "INSERT INTO inference_totals VALUES (:kind, :n_events, :n_bytes) ON CONFLICT (kind) DO UPDATE "
    "SET n_events = inference_totals.n_events + excluded.n_events, "
    "n_bytes = inference_totals.n_bytes + excluded.n_bytes"
)


class ChainEnd(NamedTuple):
    """The last event of the chain."""

    sequence: int
    """Its sequence; 0 where there is none."""
    hash: bytes
    """Its hash, 32 bytes."""


def chain_end(connection: sa.Connection) -> ChainEnd:
    """Return where the chain ends, also where retention has removed every event."""
    for table, sequence, digest in (
        (EVENTS, EVENTS.c.sequence, EVENTS.c.hash),
        (ANCHORS, ANCHORS.c.last_sequence, ANCHORS.c.last_hash),
    ):
        order = (table.c.number if table is ANCHORS else sequence).desc()
        row = connection.execute(sa.select(sequence, digest).order_by(order).limit(1)).first()
        if row is not None:
            return ChainEnd(int(row[0]), bytes(row[1]))
    return ChainEnd(0, FIRST)


def is_there(connection: sa.Connection, end: ChainEnd) -> bool:
    """Whether an event stands where a group whose commit was in doubt would have put it."""
    query = sa.select(EVENTS.c.hash).where(EVENTS.c.sequence == end.sequence)
    found = connection.execute(query).scalar()
    return found is not None and bytes(found) == end.hash


def write_entries(connection: sa.Connection, entries: Sequence[Entry]) -> ChainEnd:
    """Put events behind the end of the chain and return its new end.

    An event of a request that was erased before becomes another tombstone of it.
    """
    entries = _without_erased(connection, entries)
    sequence, previous = chain_end(connection)
    salts = os.urandom(SALT_BYTES * len(entries))
    rows: list[tuple[Any, ...]] = []
    for at, entry in enumerate(entries):
        sequence += 1
        salt = salts[SALT_BYTES * at : SALT_BYTES * (at + 1)]
        digest = body_digest(salt, entry.body)
        previous = link(previous, sequence, entry.time_s, entry.kind, entry.request_id, digest)
        rows.append((sequence, *entry[:8], salt, entry.body, None, previous))
    _insert(connection, rows)
    add_totals(connection, rows, 1)
    return ChainEnd(sequence, previous)


def add_totals(connection: sa.Connection, rows: Sequence[Sequence[Any]], sign: int) -> None:
    """Count rows in (sign 1) or out (-1); a row has kind and body in the table's order."""
    n_events: Counter[str] = Counter()
    n_bytes: Counter[str] = Counter()
    for row in rows:
        n_events[row[2]] += sign
        n_bytes[row[2]] += sign * (0 if row[10] is None else len(row[10]))
    for kind, count in n_events.items():
        values = {"kind": kind, "n_events": count, "n_bytes": n_bytes[kind]}
        connection.execute(_ADD, values)


def add_bytes(connection: sa.Connection, kind: str, n_bytes: int) -> None:
    """Correct the bytes of one kind."""
    connection.execute(_ADD, {"kind": kind, "n_events": 0, "n_bytes": n_bytes})


def _without_erased(connection: sa.Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    is_erasure = EVENTS.c.kind == sa.literal_column("'erasure'")
    any_erasure = sa.select(EVENTS.c.request_key).where(is_erasure).limit(1)
    if connection.execute(any_erasure).first() is None:
        return entries
    # A challenger may end, or a label be told, after the wish that nothing of a name be kept.
    keys = list({entry.request_key for entry in entries})
    erased: set[str] = set()
    for at in range(0, len(keys), 500):
        query = sa.select(EVENTS.c.request_id).where(
            is_erasure, EVENTS.c.request_key.in_(keys[at : at + 500])
        )
        erased.update(connection.execute(query).scalars())
    return [
        _tombstone(entry) if entry.request_id in erased and entry.kind != "erasure" else entry
        for entry in entries
    ]


def _tombstone(entry: Entry) -> Entry:
    reason = f"{entry.kind} that came after the erasure"
    return entry_of(ErasureEvent(entry.request_id, entry.time_s, "local", reason))


def _copy(connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
    driver: Any = connection.dialect.loaded_dbapi
    try:
        _copy_rows(connection.connection.cursor(), rows)
    except driver.Error as error:
        # It comes past SQLAlchemy, which would have translated it. Its words may quote the rows.
        raise CapacityError(f"The database did not answer: {type(error).__name__}.") from error


def _copy_rows(cursor: Any, rows: list[tuple[Any, ...]]) -> None:
    with cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(row)


def _insert(connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
    if connection.dialect.name == "postgresql":
        _copy(connection, rows)
        return
    at = 0
    for step in _STEPS:
        while len(rows) - at >= step:
            values = tuple(chain.from_iterable(rows[at : at + step]))
            connection.exec_driver_sql(_INSERT[step], values)
            at += step
