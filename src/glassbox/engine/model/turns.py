"""A lock that is handed on in the order of asking, and that its holder may take again.

The running batch has a line of its own: while it has something to do, it and all others together
get the same time, however many they are and however long a step of it or a turn of theirs takes.
Neither gets more ahead than by one of those.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Turns:
    """The batch, scoring and fitting take turns at the model with it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._steps: deque[threading.Event] = deque()
        """The batch, where it waits."""
        self._holder: int | None = None
        self._depth = 0
        self._since_s = 0.0
        """When the present holder took its turn, or the batch began to go on meanwhile."""
        self._stepper: int | None = None
        """The batch's thread while the batch goes on."""
        self._owed_s = 0.0
        """Time that the others have had beyond their half; below 0, that the batch has had."""

    @property
    def n_waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting) + len(self._steps)

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for one's turn; return False if it has not come within the time given."""
        return self._acquire(self._waiting, timeout_s)

    def release(self) -> None:
        """Hand the turn to the batch while it is owed time, else to whoever has waited longest."""
        self._release()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold the turn for a step of the batch, which goes on until it rests."""
        self._acquire(self._steps, None)
        try:
            yield
        finally:
            self._release(is_step=True)

    def rest(self) -> None:
        """Keep no turn for the batch: it has nothing to do."""
        with self._guard:
            self._stepper, self._owed_s = None, 0.0
            if self._holder is None:
                self._hand_on()

    @property
    def _is_kept(self) -> bool:
        """Whether the batch alone may have the turn; it comes back at once."""
        return self._stepper is not None and self._owed_s > 0

    def _acquire(self, line: deque[threading.Event], timeout_s: float | None) -> bool:
        me = threading.get_ident()
        with self._guard:
            if line is self._steps and self._stepper is None:
                # Of the turn that somebody has now, what is over counts for nothing.
                self._stepper, self._since_s = me, time.perf_counter()
            # Without a holder nobody waits but for the batch: the turn goes from hand to hand.
            if self._holder == me or (
                self._holder is None and (me == self._stepper or not self._is_kept)
            ):
                self._take(me, self._depth + 1)
                return True
            mine = threading.Event()
            line.append(mine)
        try:
            if not mine.wait(timeout_s):
                with self._guard:
                    if mine in line:
                        line.remove(mine)
                        return False
            # The turn was handed over by whoever had it before: nobody came in between.
            self._take(me, 1)
        except BaseException:
            # Whoever is interrupted here would otherwise be waited for by all the others.
            with self._guard:
                if mine in line:
                    line.remove(mine)
                elif mine.is_set():
                    self._hand_on()
            raise
        return True

    def _take(self, me: int, depth: int) -> None:
        self._holder, self._depth = me, depth
        if depth == 1:
            self._since_s = time.perf_counter()

    def _release(self, *, is_step: bool = False) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth:
                return
            if self._stepper is not None:
                took_s = time.perf_counter() - self._since_s
                self._owed_s += -took_s if is_step else took_s
            self._hand_on()

    def _hand_on(self) -> None:
        """Wake whoever is next; the guard is held."""
        if not self._waiting:
            # What nobody wants is not kept for those who come later.
            self._owed_s = max(0.0, self._owed_s)
        line = self._steps if self._is_kept else self._waiting or self._steps
        # -1 is no thread: the turn belongs to the one that is being woken.
        self._holder, self._depth = (-1 if line else None), 0
        if line:
            line.popleft().set()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
