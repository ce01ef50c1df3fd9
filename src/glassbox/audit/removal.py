"""Removing what was kept: one request at its subject's wish, or the oldest events of all.

An erasure takes the content of a request's events away and leaves their places in the chain, with
a tombstone that says who wished it and why. Retention takes the oldest events away whole and
leaves an anchor. Both leave a log that can be verified to the last byte.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from glassbox.audit.anchors import extend_anchor
from glassbox.audit.event_rows import (
    EVENTS,
    TOTALS,
    ChainEnd,
    add_bytes,
    add_totals,
    write_entries,
)
from glassbox.audit.records import ErasureEvent
from glassbox.audit.request_ids import request_key
from glassbox.audit.stored_events import body_digest, entry_of
from glassbox.errors import InvalidValue, UnknownName
from glassbox.storage.database import Database

REMOVED_AT_ONCE: Final = 2000
"""Events of one transaction of retention: writers wait for it no longer than for each other."""

PAUSE_S: Final = 0.01
"""Between two of these, so that writers get their turn."""

ROW_BYTES: Final = 270
"""What an event takes on the disk beside its body, indexes included. Source: measured on SQLite
with a million primaries of 200 bytes, `python -m benchmarks.audit`."""

_BLANK: Final = dict.fromkeys(("model_version", "status", "label", "diff", "salt", "body"))


@dataclass(frozen=True)
class Retained:
    """What one run of retention has done."""

    n_removed: int
    """Events that are gone."""
    last_sequence: int
    """Last one of them; 0 where none is."""


def erase(database: Database, request_id: str, *, actor: str, reason: str, time_s: float) -> int:
    """Take away the content of a request's events and return how many had one.

    Raises:
        UnknownName: No event of that name is kept.
        InvalidValue: No actor or no reason.
        CapacityError: The database cannot be reached.
    """
    if not actor or not reason:
        raise InvalidValue("actor and reason", f"{actor!r} and {reason!r}", "texts, not empty")
    is_meant = sa.and_(
        EVENTS.c.request_key == request_key(request_id),
        EVENTS.c.request_id == request_id,
        EVENTS.c.kind != "erasure",
    )
    with database.transaction(flushed=True) as connection:
        if connection.dialect.name == "sqlite":
            # What was there is overwritten with zeros, not only marked as free.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        rows = connection.execute(sa.select(EVENTS).where(is_meant)).all()
        if not rows:
            raise UnknownName("prediction", request_id)
        full = [row for row in rows if row.body is not None]
        for row in full:
            digest = body_digest(bytes(row.salt), bytes(row.body))
            connection.execute(
                EVENTS.update()
                .where(EVENTS.c.sequence == row.sequence)
                .values(**_BLANK, body_digest=digest)
            )
            add_bytes(connection, row.kind, -len(row.body))
        tombstone = entry_of(ErasureEvent(request_id, time_s, actor, reason))
        write_entries(connection, [tombstone])
    # The write-ahead log still holds the old pages.
    database.empty_log()
    return len(full)


def retain(
    database: Database,
    *,
    max_age_s: float | None = None,
    max_bytes: int | None = None,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Retained:
    """Remove the oldest events until none is too old and all of them fit.

    Only whole beginnings of the log are removed: an event that is old but stands behind a younger
    one, because a clock was set back, goes when that one goes. One whose time is still to come was
    written by a wrong clock, and is as old as the next whose time has been.

    Args:
        database: Where they are.
        max_age_s: Seconds after which an event is too old; None keeps all.
        max_bytes: Most bytes of events on the disk, ``ROW_BYTES`` and the body each; None sets no
            limit.
        clock: Unix time in seconds.
        pause: Called with seconds to wait between two transactions.

    Raises:
        CapacityError: The database cannot be reached.
    """
    n_removed, last, run = 0, 0, None
    for reason, is_needed in (("age", max_age_s is not None), ("size", max_bytes is not None)):
        while is_needed:
            with database.transaction() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA secure_delete = FAST")
                rows = _first_rows(connection)
                if reason == "age":
                    gone = _too_old(connection, rows, clock(), max_age_s or 0.0)
                else:
                    gone = _too_much(connection, rows, max_bytes or 0)
                end, n_gone = _remove(connection, gone), len(gone)
                if end is not None:
                    run = extend_anchor(connection, end, time_s=clock(), reason=reason, run=run)
            if end is None:
                run = None
                break
            n_removed, last = n_removed + n_gone, end.sequence
            pause(PAUSE_S)
    return Retained(n_removed, last)


def _first_rows(connection: sa.Connection) -> Sequence[Any]:
    query = sa.select(EVENTS).order_by(EVENTS.c.sequence).limit(REMOVED_AT_ONCE)
    return connection.execute(query).all()


def _too_old(
    connection: sa.Connection, rows: Sequence[Any], now_s: float, max_age_s: float
) -> Sequence[Any]:
    """Return the beginning of the first rows that is too old."""
    oldest_s = now_s - max_age_s
    young = (at for at, row in enumerate(rows) if oldest_s <= row.time_s <= now_s)
    n_gone = next(young, len(rows))
    if n_gone and n_gone == len(rows) and rows[-1].time_s > now_s:
        query = sa.select(EVENTS.c.time_s).where(
            EVENTS.c.sequence > rows[-1].sequence, EVENTS.c.time_s <= now_s
        )
        behind_s = connection.execute(query.order_by(EVENTS.c.sequence).limit(1)).scalar()
        if behind_s is not None and behind_s < oldest_s:
            return rows
    while n_gone and rows[n_gone - 1].time_s > now_s:
        n_gone -= 1
    return rows[:n_gone]


def _too_much(connection: sa.Connection, rows: Sequence[Any], most_bytes: int) -> Sequence[Any]:
    """Return the beginning of the first rows without which the rest fits."""
    n_gone, too_much = 0, _kept_bytes(connection) - most_bytes
    while n_gone < len(rows) and too_much > 0:
        too_much -= ROW_BYTES + len(rows[n_gone].body or b"")
        n_gone += 1
    return rows[:n_gone]


def _remove(connection: sa.Connection, gone: Sequence[Any]) -> ChainEnd | None:
    """Remove the beginning of the log; return its end, None where it is nothing."""
    if not gone:
        return None
    end = ChainEnd(int(gone[-1].sequence), bytes(gone[-1].hash))
    connection.execute(EVENTS.delete().where(EVENTS.c.sequence <= end.sequence))
    add_totals(connection, gone, -1)
    return end


def _kept_bytes(connection: sa.Connection) -> int:
    total = sa.select(sa.func.sum(TOTALS.c.n_events * ROW_BYTES + TOTALS.c.n_bytes))
    return int(connection.execute(total).scalar() or 0)
