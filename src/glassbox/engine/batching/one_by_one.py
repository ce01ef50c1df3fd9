"""Requests answered one after another on a thread of their own, by the library's plain way."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from glassbox.engine.requests import FinishReason, Generation, Listener, Request
from glassbox.errors import DeadlineExceeded

Answer = Callable[[Request, Listener | None, Callable[[], FinishReason | None]], Generation]
"""Answers one request; the last argument is asked before each step whether to stop."""


class PlainTicket:
    """A request on its way."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.future: Future[Generation]

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


class OneByOne:
    """A queue in front of a model that answers one request at a time.

    Args:
        answer: Answers one request.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="glassbox-model")

    def submit(self, request: Request, listen: Listener | None = None) -> PlainTicket:
        """Return a ticket for a request."""
        ticket = PlainTicket()

        def stopped() -> FinishReason | None:
            return "cancelled" if ticket.cancelled.is_set() else None

        ticket.future = self._pool.submit(self._answer, request, listen, stopped)
        return ticket

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the answers to some requests, in their order."""
        return [ticket.result() for ticket in [self.submit(each) for each in requests]]

    def close(self) -> None:
        """Wait for what is running and end the thread."""
        self._pool.shutdown(cancel_futures=True)
