"""The servers that share one database: each says again and again that it is there, and how it does.

When a server was last heard of is told by the database's clock, so that servers whose clocks differ
are judged alike. Knows nothing of what servers say of themselves: that is JSON, passed through.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
import sqlalchemy as sa

from glassbox.errors import InvalidValue
from glassbox.storage.database import Database
from glassbox.storage.tables import table

ReplicaStage = Literal["loading", "ready", "failed", "draining", "left"]
"""What a server says of itself last; ``left`` is one that ended in good order."""

ReplicaBody = Mapping[str, Any]
"""What a server says of itself, as JSON values."""

Fold = Callable[[Sequence[ReplicaBody]], ReplicaBody]
"""Makes what is kept of several servers that are gone."""

_TABLE: Final = table(
    "replicas",
    "id host pid address version bundle model started_s beat_s clock_s status body",
)
_DEPARTED: Final = table("departed_replicas", "id body")

_NOW: Final = {
    # Source: SQLite, date and time functions: Unix time 0 is Julian day 2440587.5.
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
}


@dataclass(frozen=True)
class Replica:
    """One server, as it said last."""

    id: str
    """Names it for as long as it runs."""
    host: str
    """Machine or container."""
    pid: int
    """Process there."""
    address: str
    """Where it listens; empty where that is not known."""
    version: str
    """Of Glassbox."""
    bundle: str
    """Digest of the bundle that it serves (hex); empty without one."""
    model: str
    """Base model that it serves."""
    started_s: float
    """Unix time by its own clock."""
    status: str
    """Stage that it was in; a newer Glassbox may know others."""
    body: ReplicaBody
    """The rest."""
    beat_s: float = 0.0
    """Unix time at which it was last heard of, by the database's clock."""
    clock_s: float = 0.0
    """The same moment by its own clock."""


@dataclass(frozen=True)
class Fleet:
    """All servers at one moment."""

    now_s: float
    """That moment, Unix time by the database's clock."""
    replicas: tuple[Replica, ...]
    """Oldest first."""
    departed: ReplicaBody
    """What is kept of servers whose rows are gone."""


class ReplicaStore:
    """The servers of one database.

    Args:
        database: Where they are.
        clock: This server's Unix time in seconds.
        now: The database's; None asks it.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.database = database
        """Where they are; whoever opened it closes it."""
        self._clock = clock
        self._now = now

    def beat(self, replica: Replica, *, is_new: bool) -> bool:
        """Write down how a server does now and return whether that could be done.

        Args:
            replica: What it says; its moments are filled in here.
            is_new: Whether it may have no row yet. One that had a row and has none any more was
                removed, with what it had counted until then.

        Raises:
            CapacityError: The database cannot be reached.
            InvalidValue: Its body holds what JSON cannot say.
        """
        values = {**vars(replica), "clock_s": self._clock(), "body": _text(replica.body)}
        # A server writes its own row alone: it need not take turns with all other writers.
        with self.database.transaction(in_turn=False) as connection:
            values["beat_s"] = self._moment(connection)
            changed = _TABLE.update().where(_TABLE.c.id == replica.id).values(**values)
            is_there = connection.execute(changed).rowcount > 0
            if not is_there and is_new:
                connection.execute(_TABLE.insert().values(**values))
        return is_there or is_new

    def fleet(self) -> Fleet:
        """Return all servers that are known.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self.database.reading() as connection:
            now_s = self._moment(connection)
            rows = connection.execute(_TABLE.select().order_by(_TABLE.c.started_s, _TABLE.c.id))
            return Fleet(now_s, tuple(_replica(each) for each in rows), _departed(connection))

    def remove_silent(self, silent_s: float, fold: Fold) -> list[str]:
        """Remove servers not heard of for a while, and return their ids.

        What they counted is folded into what is kept of all that went before, in one step: whoever
        adds everything up sees the same total before and after.

        Args:
            silent_s: Seconds of silence.
            fold: Makes what is kept of several servers.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self.database.transaction() as connection:
            now_s = self._moment(connection)
            # A word from a time to come was said before the database's clock was set back.
            is_silent = sa.func.abs(_TABLE.c.beat_s - now_s) > silent_s
            # Whoever beats at the same moment either stays or is folded as it was: one statement.
            removed = _TABLE.delete().where(is_silent).returning(*_TABLE.c)
            gone = [_replica(each) for each in connection.execute(removed)]
            if gone:
                kept = fold([_departed(connection), *(each.body for each in gone)])
                connection.execute(_DEPARTED.delete())
                connection.execute(_DEPARTED.insert().values(id=1, body=_text(kept)))
        return [each.id for each in gone]

    def _moment(self, connection: sa.Connection) -> float:
        if self._now is not None:
            return self._now()
        found = connection.execute(sa.text(f"SELECT {_NOW[self.database.dialect]}")).scalar()
        return float(found or 0.0)


def _departed(connection: sa.Connection) -> ReplicaBody:
    text = connection.execute(sa.select(_DEPARTED.c.body)).scalar()
    body: ReplicaBody = orjson.loads(text) if text else {}
    return body


def _text(body: ReplicaBody) -> str:
    try:
        return orjson.dumps(body).decode()
    except orjson.JSONEncodeError as error:
        raise InvalidValue("body", type(body).__name__, "values that JSON can say") from error


def _replica(row: Any) -> Replica:
    return Replica(
        id=row.id,
        host=row.host,
        pid=row.pid,
        address=row.address,
        version=row.version,
        bundle=row.bundle,
        model=row.model,
        started_s=float(row.started_s),
        status=row.status,
        body=orjson.loads(row.body),
        beat_s=float(row.beat_s),
        clock_s=float(row.clock_s),
    )
