"""What a caller holds while a request is on its way: a future that can be cancelled."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from glassbox.engine.requests import Generation
from glassbox.errors import DeadlineExceeded


class FutureTicket:
    """A request on its way; see ``requests.Ticket``."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.future: Future[Generation] = Future()

    def result(self, timeout_s: float | None = None) -> Generation:
        """Return the whole answer once it is there.

        Raises:
            DeadlineExceeded: ``timeout_s`` passed first.
        """
        try:
            return self.future.result(timeout_s)
        except FutureTimeout as error:
            raise DeadlineExceeded(f"No answer within {timeout_s} s.") from error

    def cancel(self) -> None:
        """End the response with what it has."""
        self.cancelled.set()

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once when the result is there."""
        self.future.add_done_callback(lambda _future: call())
