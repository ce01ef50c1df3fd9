"""What a server remembers of its runs and sessions, and how much of their results it holds.

Knows what is kept for how long and what is dropped first; asks nothing of whatever runs functions.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

from glassbox.errors import GlassboxError, UnknownName
from glassbox.techniques.calls import Call, Packed, Run

HELD_BYTES: Final = 256 * 2**20
"""Results that wait to be fetched, together; beyond them the oldest is dropped."""

SESSION_S: Final = 1200.0
"""How long a session is remembered after its last call: twice the longest that one may idle."""

_log = logging.getLogger("glassbox.server")


@runtime_checkable
class Failing(Protocol):
    """Whatever may come to take no call any more, and then says so: an engine, a backend."""

    @property
    def failure(self) -> str:
        """Why not, in words; empty while calls are taken."""
        ...


@dataclass(eq=False)
class Entry:
    """A run of this life of the server."""

    id: str
    actor: str
    call: Call
    inner: str = ""
    """Its name where it runs."""
    final: Run | None = None
    """How it ended, once that is known."""
    error: GlassboxError | None = None
    """Why it never began."""
    result: Packed | None = None
    """Its result, until it was sent."""
    is_taken: bool = False
    """Whether the result was fetched from where it ran."""
    is_dropped: bool = False
    """Whether its result was dropped to make room for others."""
    is_noted: bool = False
    """Whether its end is in the log, or need not be."""
    ended_s: float = 0.0
    running_s: float | None = None
    """Since when it is known to run."""
    abandoned_s: float | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)

    def lighten(self) -> None:
        """Forget what was sent: it may be large, and is of no more use."""
        self.call = replace(self.call, shipment=None, arguments=Packed(b""))


class HeldResults:
    """The runs whose results wait to be fetched, oldest first. Thread-safe.

    Args:
        most_bytes: Most of them together; a single one may be larger.
    """

    def __init__(self, most_bytes: int = HELD_BYTES) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[Entry, int]] = OrderedDict()
        self._n_bytes = 0

    def hold(self, entry: Entry, n_bytes: int) -> None:
        """Count one more result, and drop the oldest where they are too many; no guard is held."""
        dropped = []
        with self._lock:
            self._n_bytes += n_bytes - self._held.pop(entry.id, (entry, 0))[1]
            self._held[entry.id] = entry, n_bytes
            while self._n_bytes > self.most_bytes and len(self._held) > 1:
                _, (oldest, its_bytes) = self._held.popitem(last=False)
                self._n_bytes -= its_bytes
                dropped.append(oldest)
        for old in dropped:
            with old.guard:
                old.result, old.is_dropped = None, True
            most = self.most_bytes // 2**20
            _log.warning("the result of %s was dropped: over %d MiB wait unfetched", old.id, most)
        if entry.result is None:
            # It was sent meanwhile.
            self.release(entry.id)

    def release(self, run_id: str) -> None:
        """Note that a result is no longer held; idempotent."""
        with self._lock:
            self._n_bytes -= self._held.pop(run_id, (None, 0))[1]

    def dropped(self, run_id: str) -> UnknownName:
        """Return what is said of a result that was dropped."""
        return UnknownName(
            "result",
            run_id,
            remedy="It waited so long that it was dropped for newer ones: more than "
            f"{self.most_bytes // 2**20} MiB waited. Run it again, and fetch the result at once.",
        )


class OwnedSessions:
    """Whose sessions are, until they have surely ended.

    Args:
        clock: Seconds, for durations.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, session: str, actor: str) -> None:
        """Note whose a session is."""
        self._open[session] = actor, self._clock()

    def is_of(self, session: str, actor: str) -> bool:
        """Whether a session is this caller's."""
        return self._open.get(session, ("", 0.0))[0] == actor

    def require(self, session: str | None, actor: str) -> None:
        """Do nothing for no session, and for one that is this caller's.

        Raises:
            UnknownName: It is not.
        """
        if session is not None and not self.is_of(session, actor):
            raise UnknownName(
                "session", session, remedy="It ended, is another caller's, or was a former server's"
            )

    def used(self, session: str | None) -> None:
        """Note that a call of a session came or ended."""
        known = self._open.get(session or "")
        if known is not None:
            self._open[session or ""] = known[0], self._clock()

    def ended(self, session: str | None) -> None:
        """Forget a session; idempotent."""
        self._open.pop(session or "", None)

    def forget(self, busy: set[str | None]) -> None:
        """Forget those that nobody has used for longer than any may idle, but for busy ones."""
        now = self._clock()
        for session, (_, used_s) in list(self._open.items()):
            if session not in busy and now - used_s > SESSION_S:
                self.ended(session)


def again(error: GlassboxError) -> GlassboxError:
    """Return an error to be raised once more, without the frames that it came through.

    Frames hold what their functions were given, which may be a large call.
    """
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy
