"""One server among those that share a database: says every two seconds that it is there.

While the database is away it goes on trying; what it counts meanwhile is in its next word. Whoever
was silent for long is taken off the list by whoever notices. Knows no route.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from glassbox.engine.model.attempt import attempt
from glassbox.errors import CapacityError, GlassboxError
from glassbox.server.fleet.counters import Counters, added, since
from glassbox.storage.replicas import Replica, ReplicaBody, ReplicaStage, ReplicaStore

BEAT_S: Final = 2.0
"""Seconds between two words."""

LOOK_S: Final = 0.2
"""Seconds between two looks whether something has changed that is worth a word at once."""

KEEP_S: Final = 900.0
"""Seconds of silence after which a server's row goes."""

TIDY_S: Final = 60.0
"""Seconds between two looks for such rows, and of words without a gap before the first: after the
database was away, everyone was silent."""

LAST_WORD_S: Final = 1.0
"""Seconds that a server which ends waits for its last word to be heard."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True)
class Said:
    """What a server says of itself at one moment."""

    stage: ReplicaStage
    """How it is."""
    model: str
    """Base model; empty while it loads."""
    bundle: str
    """Digest of its bundle; empty without one."""
    counters: Counters
    """What it has counted."""
    body: ReplicaBody
    """The rest, as JSON values."""


class FleetMember:
    """This server's place among those of its database.

    Args:
        store: Where all of them are.
        replica: What does not change: id, host, process, address, version, start.
        say: Returns what it says of itself now.
        mark: Returns something that is another when there is news, to be told at once; cheap.
        clock: Seconds.
    """

    def __init__(
        self,
        store: ReplicaStore,
        replica: Replica,
        say: Callable[[], Said],
        mark: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        """Where all of them are."""
        self._replica = replica
        self._say = say
        self._mark = mark
        self._clock = clock
        self._told: object = None
        self._told_s = 0.0
        self._steady_s: float | None = None
        self._tidied_s = 0.0
        self._counted = Counters()
        self._folded = Counters()
        self._is_known = False
        self._problem = ""
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def id(self) -> str:
        """Names it."""
        return self._replica.id

    @property
    def problem(self) -> str:
        """Why the last word was not heard; empty where it was."""
        return self._problem

    def start(self) -> None:
        """Say that it is there, and go on saying so on a thread of its own."""
        self.turn()
        self._thread = threading.Thread(target=self._go_on, name="glassbox-fleet", daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Say a word if it is time, or if there is something new; never raises."""
        moment = self._clock()
        with self._turn:
            news = attempt(self._mark)
            if news == self._told and moment - self._told_s < BEAT_S:
                return
            self._told, self._told_s = news, moment
            told = attempt(lambda: self._beat(self._say()))
            if isinstance(told, Exception):
                self._steady_s = None
                self._failed(told)
                return
            self._problem = ""
            if self._steady_s is None:
                self._steady_s = self._tidied_s = moment
            if moment - self._tidied_s >= TIDY_S:
                self._tidied_s = moment
                attempt(self._tidy)

    def close(self, stage: ReplicaStage = "left") -> None:
        """Say that it ends, and nothing more; idempotent."""
        if self._ended.is_set():
            return
        self._ended.set()
        # A database that hangs must not take the time in which records are still written.
        last = threading.Thread(target=self._last_word, args=(stage,), daemon=True)
        last.start()
        last.join(LAST_WORD_S)

    def _last_word(self, stage: ReplicaStage) -> None:
        if self._thread is not None:
            self._thread.join()
        with self._turn:
            # Where the database is away, silence says the same a little later.
            attempt(lambda: self._beat(replace(self._say(), stage=stage)))
        self.store.database.close()

    def _go_on(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.turn()

    def _beat(self, said: Said) -> None:
        counted = since(said.counters, self._folded)
        if not self.store.beat(self._stated(said, counted), is_new=not self._is_known):
            # It was silent for so long that its counts went to those of servers that are gone:
            # what it said last is in them, and must not be counted again.
            self._folded += self._counted
            counted = since(said.counters, self._folded)
            self.store.beat(self._stated(said, counted), is_new=True)
        self._counted, self._is_known = counted, True

    def _stated(self, said: Said, counted: Counters) -> Replica:
        return replace(
            self._replica,
            status=said.stage,
            model=said.model,
            bundle=said.bundle,
            body={**said.body, "counters": counted.to_json()},
        )

    def _tidy(self) -> None:
        gone = self.store.remove_silent(KEEP_S, folded)
        if gone:
            _log.info("servers that fell silent were taken off the list: %s", ", ".join(gone))

    def _failed(self, error: Exception) -> None:
        is_ours = isinstance(error, GlassboxError)
        reason = str(error) if is_ours else type(error).__name__
        if reason != self._problem:
            level = logging.WARNING if isinstance(error, CapacityError) else logging.ERROR
            _log.log(level, "the other servers were not told how this one is: %s", reason)
        self._problem = reason


def folded(bodies: Sequence[ReplicaBody]) -> ReplicaBody:
    """Return what is kept of servers that are gone: the sum of what they counted."""
    counted = added(Counters.from_json(each.get("counters", {})) for each in bodies)
    return {"counters": counted.to_json()}
