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

N_EACH = 8
"""Most of them that one caller has."""

IDLE_S = 60.0
"""Seconds without a call after which a session ends, unless it asks for others."""

LONGEST_IDLE_S = 600.0
"""Most that it may ask for."""

TURN_IDLE_S = 3.0
"""Seconds without a call for which a session keeps its turn while others wait for the model."""

LONGEST_TURN_S = 60.0
"""Seconds for which it keeps its turn with calls, while others wait."""

N_KEPT = 1000
"""Most values that one session keeps."""


@dataclass(eq=False)
class Session:
    """One session."""

    id: str
    caller: str
    idle_s: float
    used_s: float
    turn_s: float = 0.0
    """When its turn began."""
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
            CapacityError: As many are open as may be, altogether or for this caller.
        """
        idle_s = IDLE_S if idle_s is None else idle_s
        if not isinstance(idle_s, int | float) or not 0 < idle_s <= LONGEST_IDLE_S:
            raise InvalidValue("idle_s", idle_s, f"seconds in (0, {LONGEST_IDLE_S:.0f}]")
        self.end_idle()
        if len(self._open) >= N_SESSIONS:
            raise CapacityError(
                f"{N_SESSIONS} sessions are open, which is the most. Close one, or come back later."
            )
        if sum(each.caller == caller for each in self._open.values()) >= N_EACH:
            raise CapacityError(
                f"{N_EACH} sessions of this caller are open, which is the most. Close one."
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
                "session",
                name,
                remedy="It was closed, was without a call for too long, or its process has ended.",
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

    def end_idle(self) -> None:
        """End those that were idle for too long."""
        now = time.monotonic()
        for session in [each for each in self._open.values() if each.is_idle(now)]:
            self.close(session.id)

    def begin_turn(self, session: Session | None) -> None:
        """Let nobody come between the calls of a session from now on; None is everybody."""
        self.holder = session
        if session is not None:
            session.turn_s = time.monotonic()

    def end_turn(self, *, is_wanted: bool) -> None:
        """Take the turn from a session that had it for long enough, with no call under way.

        What it keeps stays; its next call waits in line again.

        Args:
            is_wanted: Whether anybody waits.
        """
        left_s = self.turn_left_s(is_wanted=is_wanted)
        if is_wanted and left_s is not None and left_s <= 0:
            self.holder = None

    def turn_left_s(self, *, is_wanted: bool) -> float | None:
        """Return in how many seconds the turn will end unless it is used; None is no turn."""
        holder = self.holder
        if holder is None:
            return None
        now = time.monotonic()
        until = holder.used_s + holder.idle_s
        if is_wanted:
            end = holder.turn_s + LONGEST_TURN_S
            idle_end = holder.used_s + TURN_IDLE_S
            until = min(until, end if holder.n_open else min(end, idle_end))
        return max(0.0, until - now)

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
