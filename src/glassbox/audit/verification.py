"""Walks the log of predictions from its first anchor to its end and says where it breaks first.

Every column of every row is checked: what the chain's hashes do not cover is a copy of something
that they do cover. What a walk cannot see is that the end was cut off, or that all was written
anew by someone who knows how; compare with a ``Head`` that was kept elsewhere.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from glassbox.audit.anchors import anchor_hash, read_anchors
from glassbox.audit.event_rows import EVENTS, TOTALS, ChainEnd
from glassbox.audit.log import BrokenLink, Head
from glassbox.audit.request_ids import request_key
from glassbox.audit.stored_events import FIRST, body_digest, link
from glassbox.storage.database import Database

_PAGE: Final = 5000

_KINDS: Final = frozenset({"primary", "shadow", "label", "erasure"})

_FULL: Final = (bytes, bytes, type(None))
"""Types of salt, body and kept digest where the content is there."""

_ERASED: Final = (type(None), type(None), bytes)
"""The same where it was erased."""


@dataclass(frozen=True)
class Verification:
    """What walking the log has shown."""

    n_events: int
    """Events that hold and are there."""
    n_erased: int
    """Those of them whose content was erased."""
    n_removed: int
    """Events that retention has removed before them."""
    head: Head
    """The last event that holds."""
    broken: BrokenLink | None
    """Where it breaks; None where all of it holds."""


def verify(database: Database, known: Head | None = None) -> Verification:
    """Return what a walk over one state of the log shows.

    Args:
        database: Where it is.
        known: An earlier end, kept elsewhere: the log must still hold it, unless retention has
            removed it, in which case only an anchor at just that place can be compared.

    Raises:
        CapacityError: The database cannot be reached.
    """
    with database.reading() as connection:
        if connection.dialect.name == "postgresql":
            # Everything below sees the log as it is now, whatever is written meanwhile.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with _any_text(connection):
            return _Walk(known).over(connection)


class _Walk:
    """The state of one walk."""

    def __init__(self, known: Head | None) -> None:
        self._known = known
        self._end = ChainEnd(0, FIRST)
        self._n_events = self._n_erased = 0
        self._n_removed = 0
        self._untold: dict[str, int] = {}
        self._totals: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def over(self, connection: sa.Connection) -> Verification:
        broken = self._anchors(connection)
        if broken is None:
            for row in _rows(connection):
                broken = self._row(row)
                if broken is not None:
                    break
        if broken is None:
            broken = self._ending(connection)
        head = Head(self._end.sequence, self._end.hash.hex())
        return Verification(self._n_events, self._n_erased, self._n_removed, head, broken)

    def _anchors(self, connection: sa.Connection) -> BrokenLink | None:
        before = FIRST
        for number, anchor in enumerate(read_anchors(connection), start=1):
            fits = (
                anchor.number == number
                and anchor.first_sequence == self._end.sequence + 1
                and anchor.last_sequence >= anchor.first_sequence
                and _or_none(anchor_hash, anchor, before) == anchor.hash
            )
            if not fits:
                reason = f"anchor {anchor.number} is not what its hash was made of"
                return BrokenLink(self._end.sequence + 1, reason)
            before, self._end = anchor.hash, anchor.end
            self._n_removed = anchor.last_sequence
            if (broken := self._compared()) is not None:
                return broken
        return None

    def _row(self, row: Any) -> BrokenLink | None:
        wanted = self._end.sequence + 1
        sequence, time_s, kind, request_id, key, *copies, salt, body, digest, made = row
        if sequence != wanted:
            return BrokenLink(wanted, f"it is missing; the next one is {sequence}")
        if kind not in _KINDS or type(time_s) is not float or type(request_id) is not str:
            return BrokenLink(wanted, "its kind, time or request is none")
        shape = (type(salt), type(body), type(digest))
        if shape == _FULL:
            digest = body_digest(salt, body)
        elif shape != _ERASED:
            return BrokenLink(wanted, "its content is gone in part, or another was put beside it")
        place = (self._end.hash, sequence, time_s, kind, request_id, digest)
        if _or_none(link, *place) != made:
            reason = "its content, or the hash before it, is not what its hash was made of"
            return BrokenLink(wanted, reason)
        if key != request_key(request_id):
            return BrokenLink(wanted, "the number of its request is not its own")
        if problem := _problem_of_copies(kind, body, copies):
            return BrokenLink(wanted, problem)
        self._count(kind, request_id, body)
        self._end = ChainEnd(wanted, made)
        return self._compared()

    def _count(self, kind: str, request_id: str, body: bytes | None) -> None:
        self._n_events += 1
        self._totals[kind] += 1
        if body is None:
            self._n_erased += 1
            self._untold.setdefault(request_id, self._end.sequence + 1)
            return
        self._bytes[kind] += len(body)
        if kind == "erasure":
            self._untold.pop(request_id, None)

    def _compared(self) -> BrokenLink | None:
        known, (sequence, digest) = self._known, self._end
        if known is None or known.sequence != sequence or known.hash == digest.hex():
            return None
        return BrokenLink(sequence, "its hash is not the one that was known before")

    def _ending(self, connection: sa.Connection) -> BrokenLink | None:
        last = self._end.sequence
        if self._untold:
            request_id, sequence = min(self._untold.items(), key=lambda item: item[1])
            return BrokenLink(sequence, f"its content is gone without an erasure of {request_id!r}")
        if self._known is not None and last < self._known.sequence:
            reason = f"the log ends before it; {self._known.sequence} events were known"
            return BrokenLink(last + 1, reason)
        for row in connection.execute(sa.select(TOTALS)):
            if row.kind not in _KINDS:
                return BrokenLink(last, f"the totals know a kind {row.kind!r}")
            if (row.n_events, row.n_bytes) != (
                self._totals.pop(row.kind, 0),
                self._bytes.pop(row.kind, 0),
            ):
                return BrokenLink(last, f"the totals of {row.kind!r} are not those of its events")
        if self._totals:
            return BrokenLink(last, "a line of the totals is missing")
        return None


def _problem_of_copies(kind: str, body: bytes | None, copies: list[Any]) -> str:
    wanted: list[Any] = [None, None, None, None]
    if body is not None:
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            return "its content cannot be read"
        if kind == "primary":
            wanted = [content.get("model_version"), content["status"], content.get("label"), None]
        elif kind == "shadow":
            wanted = [None, content["status"], None, content.get("diff")]
    return "" if copies == wanted else "a column is not what its content says"


def _or_none(hashed: Callable[..., bytes], *content: Any) -> bytes | None:
    try:
        return hashed(*content)
    except (UnicodeEncodeError, struct.error):
        # Bytes that are no text, or a number where none was, have no hash at all.
        return None


@contextmanager
def _any_text(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite's driver hand over texts with bytes that are none, so that they can be named."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.text_factory = lambda content: content.decode(errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


def _rows(connection: sa.Connection) -> Iterator[Any]:
    # A row smuggled in before the first one is one, too.
    after = -(2**62)
    while True:
        query = sa.select(EVENTS).where(EVENTS.c.sequence > after)
        page = connection.execute(query.order_by(EVENTS.c.sequence).limit(_PAGE)).all()
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1][0]
