"""People who use the demo's classifier: texts at a steady rate, and the truth about them later."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from glassbox.client import Client
from glassbox.errors import DeadlineExceeded, GlassboxError

PEOPLE: Final = 6
"""How many ask at a time."""

LABELS_AFTER_S: Final = 1.0
"""Seconds after which the truth about a text is known."""

MOST_LABELS: Final = 200
"""Labels told at a time."""


SILENT_S: Final = 60.0
"""Seconds without any answer after which nobody waits for one."""


@dataclass(frozen=True)
class Told:
    """A text that somebody asks about."""

    text: str
    """The text."""
    label: str | None
    """The truth, where it will be known."""


class Traffic:
    """Requests from a few people at a time, from the first ``send`` to ``stop``.

    Args:
        client: Of the server that they ask; safe with many threads.
        per_second: Requests of all of them together, at most.
    """

    def __init__(self, client: Client, per_second: float) -> None:
        self._client = client
        self._pause_s = PEOPLE / per_second
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._texts: cycle[Told] = cycle([Told("", None)])
        self._due: deque[tuple[float, str, str]] = deque()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self.n_answered = 0
        self.n_failed = 0

    def send(self, texts: Sequence[Told]) -> None:
        """Ask about these from now on, over and over."""
        with self._lock:
            self._texts = cycle(texts)
        if not self._threads:
            people = [threading.Thread(target=self._ask, daemon=True) for _ in range(PEOPLE)]
            self._threads = [*people, threading.Thread(target=self._tell, daemon=True)]
            for each in self._threads:
                each.start()

    def wait(self, n_answers: int) -> None:
        """Return when so many more were answered, however long that takes.

        Raises:
            DeadlineExceeded: No answer came for ``SILENT_S`` seconds.
        """
        with self._answered:
            n_after = self.n_answered + n_answers
            while self.n_answered < n_after:
                if not self._answered.wait(SILENT_S):
                    raise DeadlineExceeded(
                        f"The demo's server answered nothing for {SILENT_S:g} s; its log stands in "
                        "the demo's folder."
                    )

    def stop(self) -> None:
        """End it; returns when nobody asks any more."""
        self._ending.set()
        for each in self._threads:
            each.join()

    def _ask(self) -> None:
        while not self._ending.is_set():
            began_s = time.monotonic()
            with self._lock:
                asked = next(self._texts)
            try:
                answer = self._client.predict({"text": asked.text})
            except GlassboxError:
                # A server that is under way says so; the next text is asked all the same.
                with self._lock:
                    self.n_failed += 1
            else:
                with self._answered:
                    self.n_answered += 1
                    self._answered.notify_all()
                    if asked.label is not None:
                        due_s = began_s + LABELS_AFTER_S
                        self._due.append((due_s, answer.request_id, asked.label))
            self._ending.wait(max(0.0, self._pause_s - (time.monotonic() - began_s)))

    def _tell(self) -> None:
        while not self._ending.wait(0.5):
            known: dict[str, str | float] = {}
            with self._lock:
                while self._due and len(known) < MOST_LABELS and self._due[0][0] < time.monotonic():
                    _, request_id, label = self._due.popleft()
                    known[request_id] = label
            if known:
                try:
                    self._client.tell_labels(known)
                except GlassboxError:
                    continue
