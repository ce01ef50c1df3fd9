"""What is left of removed events: where the chain was cut. Knows not why it was cut.

Source: RFC 6962 keeps heads of a log in the same way; here the head kept is that of what is gone.
"""

import hashlib
import struct
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from glassbox.audit.event_rows import ANCHORS, ChainEnd
from glassbox.audit.stored_events import FIRST

_NUMBERS: Final = struct.Struct(">qdqq").pack


@dataclass(frozen=True)
class Anchor:
    """One cut."""

    number: int
    """From 1, without gaps."""
    time_s: float
    """Unix time."""
    reason: str
    """Why."""
    first_sequence: int
    """First event that was removed."""
    last_sequence: int
    """Last one; all between are gone too."""
    last_hash: bytes
    """Hash of the last one, on which the first event that is left hangs."""
    hash: bytes
    """Its own hash, over all of this and the hash of the anchor before."""

    @property
    def end(self) -> ChainEnd:
        """The last event that it stands for."""
        return ChainEnd(self.last_sequence, self.last_hash)

    @property
    def n_events(self) -> int:
        """Events that were removed."""
        return self.last_sequence - self.first_sequence + 1


def anchor_hash(anchor: Anchor, previous: bytes) -> bytes:
    """Return the hash that an anchor must have behind another one."""
    numbers = _NUMBERS(anchor.number, anchor.time_s, anchor.first_sequence, anchor.last_sequence)
    content = previous + anchor.last_hash + numbers + anchor.reason.encode()
    return hashlib.sha256(content).digest()


def read_anchors(connection: sa.Connection) -> list[Anchor]:
    """Return all anchors, oldest first."""
    rows = connection.execute(sa.select(ANCHORS).order_by(ANCHORS.c.number))
    return [_anchor(row) for row in rows]


def extend_anchor(
    connection: sa.Connection, last: ChainEnd, *, time_s: float, reason: str, run: int | None
) -> int:
    """Note that all events up to one are gone, and return the number of the anchor.

    Args:
        connection: Of the transaction in which they are removed.
        last: The last one of them.
        time_s: Unix time.
        reason: Why.
        run: Anchor that the same run has made before and that now stands for more; None makes one.
    """
    query = sa.select(ANCHORS).order_by(ANCHORS.c.number.desc()).limit(2)
    latest = [_anchor(row) for row in connection.execute(query)]
    if run is not None and latest and latest[0].number == run:
        before = latest[1].hash if len(latest) > 1 else FIRST
        anchor = replace(latest[0], time_s=time_s, last_sequence=last.sequence, last_hash=last.hash)
        changed = replace(anchor, hash=anchor_hash(anchor, before))
        connection.execute(ANCHORS.update().where(ANCHORS.c.number == run).values(**vars(changed)))
        return run
    number, first, before = 1, 1, FIRST
    if latest:
        number, first = latest[0].number + 1, latest[0].last_sequence + 1
        before = latest[0].hash
    anchor = Anchor(number, time_s, reason, first, last.sequence, last.hash, b"")
    anchor = replace(anchor, hash=anchor_hash(anchor, before))
    connection.execute(ANCHORS.insert().values(**vars(anchor)))
    return number


def _anchor(row: Any) -> Anchor:
    return Anchor(
        number=row.number,
        time_s=row.time_s,
        reason=row.reason,
        first_sequence=row.first_sequence,
        last_sequence=row.last_sequence,
        last_hash=bytes(row.last_hash),
        hash=bytes(row.hash),
    )
