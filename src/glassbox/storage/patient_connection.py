"""A connection to PostgreSQL that gives up a server which hangs; the driver would wait for ever.

A server whose disk stands still, or whose process was stopped, keeps its connections: its machine
confirms every packet, so that neither the network's limits nor the server's own end the wait.
"""

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

T = TypeVar("T")

ALIVE_S: Final = 5.0
"""Seconds in which a server must say that a connection still lives."""


class PatientConnection(psycopg.Connection[Any]):
    """The driver's, with an end to its patience."""

    silence_s: float = 40.0
    """Seconds that one statement may take before the connection is given up; ``inf`` is no end."""

    def wait(self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """Return what a statement comes to.

        Raises:
            OperationalError: It took too long, and the connection is closed now; as of any
                statement that fails.
        """
        # The pool asks whether a connection lives outside of a transaction; nobody else is there.
        seconds = ALIVE_S if self.autocommit else self.silence_s
        try:
            return super().wait(_within(gen, seconds), *args, **named)
        except TimeoutError as error:
            self.close()
            raise psycopg.OperationalError(
                f"PostgreSQL has said nothing for {seconds:g} s"
            ) from error


def _within(gen: PQGen[T], seconds: float) -> PQGen[T]:
    """Pass a statement's steps on; while nothing comes, the driver wakes it ten times a second."""
    until_s = time.monotonic() + seconds
    try:
        wanted: Wait = next(gen)
        while True:
            ready: Ready | int = yield wanted
            if not ready and time.monotonic() >= until_s:
                raise TimeoutError
            wanted = gen.send(ready)
    except StopIteration as ended:
        result: T = ended.value
        return result
