"""One call for all who want the same thing at the same time.

Thread-safe. Knows keys and calls; knows nothing of what is fetched.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from glassbox.errors import GlassboxError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class SingleFlight(Generic[K, R]):
    """Calls under way, by what they are for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[K, Future[R]] = {}

    def run(self, key: K, call: Callable[[], R]) -> R:
        """Return what a call answers; who asks while one is under way gets the same answer.

        An error of ours is shared too. Any other is a fault of its own caller's: it ends that one,
        and the next in line calls again.

        Raises:
            GlassboxError: As the call.
        """
        while True:
            mine: Future[R] = Future()
            with self._lock:
                pending = self._pending.setdefault(key, mine)
            if pending is mine:
                return self._fly(key, mine, call)
            try:
                return pending.result()
            except CancelledError:
                continue

    def _fly(self, key: K, mine: Future[R], call: Callable[[], R]) -> R:
        try:
            answer = call()
        except BaseException as error:
            self._land(key)
            if isinstance(error, GlassboxError):
                mine.set_exception(error)
            else:
                mine.cancel()
            raise
        self._land(key)
        mine.set_result(answer)
        return answer

    def _land(self, key: K) -> None:
        with self._lock:
            del self._pending[key]
