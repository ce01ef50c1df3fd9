"""Closes connections on which nothing moves any more: uvicorn alone would wait for ever.

Headers that do not end, and answers that nobody reads: those would keep their memory and their
place among the connections until the other end goes away, which it need never do.
"""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S: Final = 20.0
"""Seconds from a request's first byte, or from the connection, to the end of its headers."""

UNREAD_S: Final = 300.0
"""Seconds in which something must be read of an answer that waits. The system takes bytes in
pieces of up to a megabyte or two, so that slow readers seem to pause for long."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with an end to its patience."""

    _timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting while the headers are not complete; more bytes buy no more time."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop()

    def pause_writing(self) -> None:
        """Begin to look whether anybody reads: more is written than the connection takes."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """Look no more: what was written is on its way."""
        self._stop_looking()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        self._stop_looking()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADERS_S, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _look_again(self) -> None:
        n_bytes = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(UNREAD_S, self._look, n_bytes)

    def _stop_looking(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _look(self, n_before: int) -> None:
        """End the connection if nothing was read since the last look."""
        if self.transport.get_write_buffer_size() < n_before:
            self._look_again()
        else:
            # Closing would wait until all of it is read.
            self.transport.abort()
