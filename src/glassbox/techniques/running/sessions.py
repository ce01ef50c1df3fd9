"""Sessions: several calls of one caller with nobody between them, and what they keep here.

Knows who holds the turn and since when; knows nothing of models.
"""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from glassbox.errors import AccessDenied, CapacityError, InvalidValue, UnknownName

N_SESSIONS = 64
"""Most sessions open at a time."""

IDLE_S = 60.0
"""Seconds without a call after which a session ends, unless it asks for others."""

LONGEST_IDLE_S = 600.0
"""Most that it may ask for."""

N_KEPT = 1000
"""Most values that one session keeps."""


@dataclass(eq=False)
class Session:
    """One session."""

    id: str
    caller: str
    idle_s: float
    used_s: float
    n_open: int = 0
    """Calls of it that have not ended."""
    kept: dict[str, Any] = field(default_factory=dict)

    def is_idle(self, now_s: float) -> bool:
        """Whether it has been without a call for longer than it may."""
        return not self.n_open and now_s - self.used_s >= self.idle_s


class Sessions:
    """The open sessions, of which at most one holds the turn; guarded by its owner's lock."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self.holder: Session | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, caller: str, idle_s: float | None) -> str:
        """Return the id of a new session.

        Raises:
            InvalidValue: ``idle_s`` is outside its range.
            CapacityError: As many are open as may be.
        """
        idle_s = IDLE_S if idle_s is None else idle_s
        if not 0 < idle_s <= LONGEST_IDLE_S:
            raise InvalidValue("idle_s", idle_s, f"seconds in (0, {LONGEST_IDLE_S:.0f}]")
        self.end_idle()
        if len(self._open) >= N_SESSIONS:
            raise CapacityError(
                f"{N_SESSIONS} sessions are open, which is the most. Close one, or come back later."
            )
        session = Session(f"session-{secrets.token_hex(16)}", caller, idle_s, time.monotonic())
        self._open[session.id] = session
        return session.id

    def get(self, name: str, caller: str) -> Session:
        """Return an open session.

        Raises:
            UnknownName: No such session, or it was without a call for too long.
            AccessDenied: It is another caller's.
        """
        self.end_idle()
        session = self._open.get(name)
        if session is None:
            raise UnknownName(
                "session", name, remedy="It was closed, or was without a call for too long."
            )
        if session.caller != caller:
            raise AccessDenied("This session belongs to another caller.")
        return session

    def find(self, name: str) -> Session | None:
        """Return an open session, whoever's it is; None where there is none."""
        return self._open.get(name)

    def close(self, name: str) -> None:
        """End a session and forget what it kept; one that is not open stays closed."""
        session = self._open.pop(name, None)
        if session is not None and session is self.holder:
            self.holder = None

    def end_idle(self) -> float | None:
        """End those that were idle for too long; return in how many seconds the holder will be."""
        now = time.monotonic()
        for session in [each for each in self._open.values() if each.is_idle(now)]:
            self.close(session.id)
        if self.holder is None:
            return None
        return max(0.0, self.holder.used_s + self.holder.idle_s - now)

    def keep(self, session: Session, value: Any) -> str:
        """Return the id under which a session keeps a value from now on.

        Raises:
            CapacityError: It keeps as many as it may.
        """
        if len(session.kept) >= N_KEPT:
            raise CapacityError(
                f"This session keeps {N_KEPT:,} values, which is the most. Open another one."
            )
        name = f"value-{len(session.kept)}"
        session.kept[name] = value
        return name
