"""Which of several servers does a job in the background: the one that holds its lease.

A lease saves work; nothing rests on it. Clocks may differ, so for a moment two may hold one: what
they do must be safe even then.
"""

import time
from collections.abc import Callable
from typing import Final

from glassbox.storage.database import Database
from glassbox.storage.tables import table

_TABLE: Final = table("leases", "name holder until_s")


class Lease:
    """The right to do one job, for a while.

    Args:
        database: What the servers share.
        name: The job.
        holder: Names this server; no other may have the same.
        ttl_s: Seconds until another one may take it, unless it is taken again.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        holder: str,
        ttl_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s
        self._clock = clock

    def take(self) -> bool:
        """Return whether the job is this server's now, for another ``ttl_s``.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self._database.transaction() as connection:
            now_s = self._clock()
            row = connection.execute(_TABLE.select().where(_TABLE.c.name == self._name)).first()
            # An end far ahead was written by a clock that has been set back since.
            if (
                row is not None
                and row.holder != self._holder
                and now_s < row.until_s <= now_s + 2 * self._ttl_s
            ):
                return False
            connection.execute(_TABLE.delete().where(_TABLE.c.name == self._name))
            connection.execute(
                _TABLE.insert().values(
                    name=self._name, holder=self._holder, until_s=now_s + self._ttl_s
                )
            )
        return True

    def give_back(self) -> None:
        """Let another server have it at once, if it is this one's.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self._database.transaction() as connection:
            connection.execute(
                _TABLE.delete().where(_TABLE.c.name == self._name, _TABLE.c.holder == self._holder)
            )
