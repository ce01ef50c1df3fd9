"""One thread for one version: requests that wait for it together are answered together.

Knows no HTTP and no routing; what came of each row is a ``Future``.
"""

import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from glassbox.errors import CapacityError, GlassboxError, IntegrityError, NonFiniteOutput, QueueFull
from glassbox.rollout.prediction import Features, Prediction, Predictor
from glassbox.rollout.version import VersionKind

BATCH_ROWS: Final[dict[VersionKind, int]] = {"llm-classifier": 64, "sklearn": 256, "callable": 1}
"""Most rows in one call: a function takes one after another anyway, and the first would wait."""

MAX_WAITING: Final = 4096
"""Rows that may wait; one more is told to come back later."""

RETRY_S: Final = 1.0
"""When to come back then."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True)
class Outcome:
    """What came of one row."""

    prediction: Prediction
    """The answer."""
    latency_ms: float
    """Milliseconds of the call that it came from."""


class Batcher:
    """Asks one version, from one thread.

    Args:
        predictor: The version brought to life; closed together with this.
        max_rows: Most rows in one call.
        max_waiting: Most rows that wait.
        name: Of the thread.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_rows: int = 64,
        *,
        max_waiting: int = MAX_WAITING,
        name: str = "version",
    ) -> None:
        self._predictor = predictor
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._rows: deque[tuple[Features, Future[Outcome]]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=f"glassbox-{name}", daemon=True)
        self._thread.start()

    @property
    def predictor(self) -> Predictor:
        """The version brought to life."""
        return self._predictor

    @property
    def n_waiting(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def submit(self, row: Features) -> Future[Outcome]:
        """Return what will come of a row.

        Raises:
            QueueFull: Too many rows wait already.
            CapacityError: It is closed.
        """
        future: Future[Outcome] = Future()
        with self._changed:
            if self._is_closed:
                raise CapacityError("The version is no longer asked; try again.")
            if len(self._rows) >= self._max_waiting:
                raise QueueFull(len(self._rows), RETRY_S)
            self._rows.append((row, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answer what waits, then free the version; idempotent, and does not wait for it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end after ``close`` and return whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._rows and not self._is_closed:
                    self._changed.wait()
                if not self._rows:
                    break
                taken = [self._rows.popleft() for _ in range(min(self._max_rows, len(self._rows)))]
            # A row whose caller has gone away is not computed.
            self._answer([each for each in taken if each[1].set_running_or_notify_cancel()])
        self._predictor.close()

    def _answer(self, taken: list[tuple[Features, Future[Outcome]]]) -> None:
        if not taken:
            return
        began = time.perf_counter()
        try:
            found = self._asked([row for row, _ in taken])
        except GlassboxError as error:
            if len(taken) == 1:
                taken[0][1].set_exception(error)
                return
            # One bad row must not take the others with it.
            for each in taken:
                self._answer([each])
            return
        latency_ms = 1000 * (time.perf_counter() - began)
        for (_, future), prediction in zip(taken, found, strict=True):
            future.set_result(Outcome(prediction, latency_ms))

    def _asked(self, rows: list[Features]) -> list[Prediction]:
        try:
            found = self._predictor.predict(rows)
        except GlassboxError:
            raise
        except BaseException as error:
            _log.error("a version raised %s", type(error).__name__, exc_info=error)
            raise IntegrityError(
                f"The version raised {type(error).__name__}; the server's log says where."
            ) from error
        if not isinstance(found, list):
            raise IntegrityError(f"The version gave a {type(found).__name__}, no list of answers.")
        if len(found) != len(rows):
            raise IntegrityError(f"The version gave {len(found)} answers to {len(rows)} rows.")
        for each in found:
            if not _is_answer(each):
                raise IntegrityError("The version gave an answer whose parts are of wrong types.")
            if not math.isfinite(each.prediction):
                raise NonFiniteOutput("The version answered NaN or infinity.")
        return found


def _is_answer(answer: object) -> bool:
    """Whether a foreign function's answer is one that can be written down."""
    if not isinstance(answer, Prediction):
        return False
    probs = answer.label_probs
    return (
        isinstance(answer.prediction, float | int)
        and (answer.confidence is None or isinstance(answer.confidence, float | int))
        and (answer.label is None or isinstance(answer.label, str))
        and (probs is None or all(map(_is_named_number, probs.items())))
        and all(map(_is_named_number, answer.summaries.items()))
        and isinstance(answer.truncated, bool)
    )


def _is_named_number(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], float | int)
