"""A queue in front of an engine for tests that answers one request at a time, on its own thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.requests import Generation, Listener, Request
from glassbox.types import FinishReason

Answer = Callable[[Request, Listener | None, Callable[[], FinishReason | None]], Generation]
"""Answers one request; the last argument is asked before each step whether to stop."""


class OneByOne:
    """Requests in the order in which they came.

    Args:
        answer: Answers one request.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="glassbox-model")

    def submit(self, request: Request, listen: Listener | None = None) -> FutureTicket:
        """Return a ticket for a request."""
        ticket = FutureTicket()

        def stopped() -> FinishReason | None:
            return "cancelled" if ticket.cancelled.is_set() else None

        ticket.future = self._pool.submit(self._answer, request, listen, stopped)
        return ticket

    def close(self) -> None:
        """Wait for what is running and end the thread."""
        self._pool.shutdown(cancel_futures=True)
