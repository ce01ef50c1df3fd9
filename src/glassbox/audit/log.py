"""The log itself: append, read, verify. Knows no kind of event.

Writers take turns, whatever thread, process or machine they are on: the database lets one
transaction at a time write. Each event carries the hash of the one before it, so a changed, removed
or inserted event breaks the chain at its place. What the chain alone cannot show is that its end
was cut off, or that all of it was written anew: compare with a ``Head`` kept elsewhere.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import sqlalchemy as sa

from glassbox.audit.events import GENESIS, Event, canonical, event_hash
from glassbox.errors import InvalidValue
from glassbox.storage.database import Database
from glassbox.storage.tables import table

MOST_READ: Final = 1000
"""Events of one page."""

_TABLE = table("audit_events", "sequence time_s kind actor subject body previous_hash hash")
# Made once: SQLAlchemy takes as long to make a statement as SQLite to run it.
_INSERT: Final = _TABLE.insert()
_LAST: Final = (
    sa.select(_TABLE.c.sequence, _TABLE.c.hash).order_by(_TABLE.c.sequence.desc()).limit(1)
)


@dataclass(frozen=True)
class Head:
    """The end of the log at some time; keep one elsewhere to see later that nothing is missing."""

    sequence: int
    """Number of the last event; 0 where there is none."""
    hash: str
    """Its hash."""


@dataclass(frozen=True)
class BrokenLink:
    """The first place at which the chain does not hold."""

    sequence: int
    """Number of the event."""
    reason: str
    """What does not fit."""


@dataclass(frozen=True)
class Verification:
    """What walking the chain has shown."""

    n_events: int
    """Events that hold, from the first on."""
    head: Head
    """The last one of these."""
    broken: BrokenLink | None
    """Where it breaks; None where all of it holds."""


class AuditLog:
    """The events of one database.

    Args:
        database: Where they are.
        clock: Unix time in seconds.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def append(
        self, kind: str, *, actor: str, subject: str = "", body: Mapping[str, Any] | None = None
    ) -> Event:
        """Return an event that is in the log from now on.

        Args:
            kind: What happened, in words with dots between them.
            actor: Who did it.
            subject: What it was done to or with.
            body: What else is known, as JSON.

        Raises:
            InvalidValue: No kind or actor, or a body that is no JSON.
            CapacityError: The database cannot be reached.
            NoDiskSpace: The disk is full.
        """
        if not kind or not actor:
            raise InvalidValue("kind and actor", f"{kind!r} and {actor!r}", "texts, not empty")
        text = canonical(body or {})
        with self._database.transaction() as connection:
            head = _head(connection)
            event = Event(
                sequence=head.sequence + 1,
                time_s=self._clock(),
                kind=kind,
                actor=actor,
                subject=subject,
                previous_hash=head.hash,
                hash="",
                body=orjson.loads(text),
            )
            event = replace(event, hash=event_hash(event, text))
            connection.execute(_INSERT, {**vars(event), "body": text})
        return event

    def read(
        self,
        *,
        kinds: Sequence[str] = (),
        subject: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Event]:
        """Return a page of events, oldest first; ask for the next one after its last sequence.

        Args:
            kinds: Only these; a kind that ends with a dot stands for all that begin with it.
            subject: Only those about this.
            after: Only those behind this sequence.
            limit: Most events, up to ``MOST_READ``.
        """
        query = _TABLE.select().where(_TABLE.c.sequence > after)
        if kinds:
            query = query.where(sa.or_(*(_is_of_kind(kind) for kind in kinds)))
        if subject is not None:
            query = query.where(_TABLE.c.subject == subject)
        query = query.order_by(_TABLE.c.sequence).limit(max(1, min(limit, MOST_READ)))
        with self._database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def head(self) -> Head:
        """Return where the log ends now."""
        with self._database.reading() as connection:
            return _head(connection)

    def verify(self, known: Head | None = None) -> Verification:
        """Walk the whole chain and say where it breaks first.

        Args:
            known: An earlier end, kept elsewhere: the log must still hold it.
        """
        head, broken = Head(0, GENESIS), None
        for row in self._rows():
            broken = _problem(row, head, known)
            if broken is not None:
                break
            head = Head(row.sequence, row.hash)
        if broken is None and known is not None and head.sequence < known.sequence:
            reason = f"the log ends before it; {known.sequence} events were known"
            broken = BrokenLink(head.sequence + 1, reason)
        return Verification(head.sequence, head, broken)

    def _rows(self) -> Iterator[Any]:
        # An event smuggled in before the first one is one, too.
        after = -(2**62)
        while True:
            query = _TABLE.select().where(_TABLE.c.sequence > after)
            with self._database.reading() as connection:
                page = connection.execute(query.order_by(_TABLE.c.sequence).limit(MOST_READ)).all()
            yield from page
            if len(page) < MOST_READ:
                return
            after = page[-1].sequence


def _problem(row: Any, before: Head, known: Head | None) -> BrokenLink | None:
    wanted = before.sequence + 1
    if row.sequence != wanted:
        return BrokenLink(wanted, f"it is missing; the next one is {row.sequence}")
    if row.previous_hash != before.hash:
        return BrokenLink(wanted, "it does not hang on the event before it")
    if event_hash(_event(row, is_read=False), row.body) != row.hash:
        return BrokenLink(wanted, "its content is not what its hash was made of")
    if known is not None and known.sequence == wanted and known.hash != row.hash:
        return BrokenLink(wanted, "its hash is not the one that was known before")
    return None


def _head(connection: sa.Connection) -> Head:
    last = connection.execute(_LAST).first()
    return Head(0, GENESIS) if last is None else Head(last.sequence, last.hash)


def _is_of_kind(kind: str) -> sa.ColumnElement[bool]:
    column = _TABLE.c.kind
    return column.startswith(kind, autoescape=True) if kind.endswith(".") else column == kind


def _event(row: Any, *, is_read: bool = True) -> Event:
    return Event(
        sequence=int(row.sequence),
        time_s=float(row.time_s),
        kind=row.kind,
        actor=row.actor,
        subject=row.subject,
        previous_hash=row.previous_hash,
        hash=row.hash,
        # A body that was tampered with need not be JSON any more.
        body=orjson.loads(row.body) if is_read else {},
    )
