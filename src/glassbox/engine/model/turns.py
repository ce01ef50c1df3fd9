"""A lock that is handed on in the order of asking, and that its holder may take again."""

import threading
from collections import deque
from types import TracebackType


class Turns:
    """First come, first served; the batch, scoring and fitting take turns at the model with it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._holder: int | None = None
        self._depth = 0

    @property
    def n_waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for one's turn; return False if it has not come within the time given."""
        me = threading.get_ident()
        with self._guard:
            # Without a holder nobody waits: the turn goes from hand to hand.
            if self._holder in (None, me):
                self._holder = me
                self._depth += 1
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            if not mine.wait(timeout_s):
                with self._guard:
                    if mine in self._waiting:
                        self._waiting.remove(mine)
                        return False
            # The turn was handed over by whoever had it before: nobody came in between.
            self._holder, self._depth = me, 1
        except BaseException:
            # Whoever is interrupted here would otherwise be waited for by all the others.
            with self._guard:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                elif mine.is_set():
                    self._hand_on()
            raise
        return True

    def release(self) -> None:
        """Hand the turn to whoever has waited longest."""
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._hand_on()

    def _hand_on(self) -> None:
        """Wake whoever has waited longest; the guard is held."""
        # -1 is no thread: the turn belongs to the one that is being woken.
        self._holder, self._depth = (-1 if self._waiting else None), 0
        if self._waiting:
            self._waiting.popleft().set()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
