"""Runs of functions on one server: whose they are, how they ended, and a result until it was sent.

Stands between the routes and whatever runs functions, and names runs by ids of its own, so that a
run is in the audit log before it begins. Calls wait: routes make them on threads. Knows no HTTP.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from glassbox.errors import (
    CapacityError,
    ConflictError,
    GlassboxError,
    NotShipped,
    TechniqueFailed,
    UnknownName,
    Unreachable,
)
from glassbox.server.techniques.entries import Entry, Failing, HeldResults, OwnedSessions, again
from glassbox.server.techniques.record import TechniqueRecord, lost
from glassbox.server.techniques.terms import Terms
from glassbox.techniques.calls import (
    FINAL,
    LIBRARY,
    Call,
    Environment,
    ModelInfo,
    Packed,
    RemoteError,
    Run,
)
from glassbox.techniques.protocol import Backend

FIRST_WAIT_S: Final = 0.25
"""The first wait for a run; whoever waits longer can be seen going away in between."""

KEEP_S: Final = 600.0
"""How long a run is remembered after its end."""

ABANDON_S: Final = 15.0
"""A run whose caller went away before it heard of it is cancelled unless it asks again by then."""

WATCH_S: Final = 0.25
"""How often runs are looked at while nobody asks for them; less often where there are many."""

GRACE_S: Final = 15.0
"""How long after its deadline a run may still hold the model before the server gives itself up."""

LOOK_S: Final = 1.0
"""How often it is looked, while nothing runs, whether the backend still takes calls."""

FAREWELL_S: Final = 2.0
"""What callers get to fetch how their runs ended before a server that can run no more gives up."""

INLINE_BYTES: Final = 4 * 2**20
"""Results up to this size ride along with what is said of a run."""

NO_LINES: Final = 2**31
"""Asks for none of the lines that a run has printed."""

_log = logging.getLogger("glassbox.server")


class TechniqueService:
    """What the routes of techniques ask.

    Args:
        backend: Runs functions.
        record: Notes them.
        terms: What they have to keep to.
        on_stuck: Called, with what happened in words, where a run holds the model long after its
            deadline and where the backend takes no call any more; None leaves it.
        clock: Seconds, for durations.
    """

    def __init__(
        self,
        backend: Backend,
        record: TechniqueRecord,
        terms: Terms | None = None,
        *,
        on_stuck: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend = backend
        self.record = record
        self.terms = terms or Terms()
        self._on_stuck = on_stuck
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._sessions = OwnedSessions(clock)
        self._held = HeldResults()
        self._failed_s: float | None = None
        self._shipped: set[str] = set()
        self._wake = threading.Event()
        self._is_closed = False
        threading.Thread(target=self._watch, name="glassbox-runs", daemon=True).start()

    def environment(self) -> Environment:
        """Return what shipped code meets."""
        return self.backend.environment()

    def model_info(self) -> ModelInfo:
        """Return the model that functions run beside."""
        # Seen from the server: whatever runs them may not know that it is a process of its own.
        is_isolated = self.record.mode != "shared"
        return replace(self.backend.model_info(), is_isolated=is_isolated)

    def submit(self, call: Call, actor: str, run_id: str | None = None) -> Run:
        """Take a call and return what is known of it after a moment.

        Args:
            call: Its ``caller`` is whose turn it takes.
            actor: Who asks.
            run_id: What the run is to be called. One of that name that this caller submitted
                before is answered instead of starting another.

        Raises:
            GlassboxError: As ``Backend.submit``; ``AccessDenied`` for a function that may not run.
        """
        known = self._entries.get(run_id or "")
        if known is not None:
            return self.run(known.id, actor)
        try:
            self.terms.check(call)
            self._sessions.require(call.session, actor)
        except GlassboxError as error:
            self.record.refused(call, actor, error)
            raise
        self._check_shipped(call)
        call = replace(call, limits=self.terms.tightened(call.limits))
        entry = Entry(run_id or f"run-{secrets.token_hex(16)}", actor, call)
        # Known before it is in the log: whoever repeats it finds it, and is told that it waits.
        if self._entries.setdefault(entry.id, entry) is not entry:
            return self.run(entry.id, actor)
        is_started = False
        try:
            self.record.started(entry.id, call, actor)
            is_started = True
            run = self.backend.submit(call, wait_s=FIRST_WAIT_S)
        except BaseException as error:
            self._never_began(entry, error, is_noted=not is_started)
            raise
        entry.inner = run.id
        entry.lighten()
        self._wake.set()
        return self._seen(entry, run)

    def run(self, run_id: str, actor: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """Return what is known of a run, waiting for a new line or its end.

        Raises:
            UnknownName: No run of this caller's.
            GlassboxError: What it was refused with, where it never began.
        """
        entry = self._entry(run_id, actor)
        if entry is None:
            return self.record.former(run_id, actor)
        entry.abandoned_s = None
        if entry.error is not None:
            raise again(entry.error)
        if not entry.inner:
            return entry.final or Run(run_id, "queued")
        try:
            run = self.backend.run(entry.inner, after=after, wait_s=wait_s)
        except UnknownName:
            run = lost(run_id, "Whatever ran it does not know it any more. Submit it again.")
        except Unreachable as error:
            run = lost(run_id, f"Whatever ran it went away: {error}")
        return self._seen(entry, run)

    def result(self, run_id: str, actor: str) -> Packed:
        """Return the result of a run; ask ``delivered`` to forget it once it was sent.

        Raises:
            UnknownName: No run of this caller's, or its result was sent already.
            ConflictError: It did not succeed, or has not ended.
        """
        entry = self._entry(run_id, actor)
        if entry is None:
            return _no_result(self.record.former(run_id, actor))
        if entry.error is not None:
            raise again(entry.error)
        with entry.guard:
            if entry.result is None:
                if entry.is_dropped:
                    raise self._held.dropped(run_id)
                if not entry.inner:
                    raise ConflictError(f"There is no result of {run_id}: it has not begun.")
                if entry.is_taken:
                    raise UnknownName(
                        "result", run_id, remedy="It was given away already; keep it where it is."
                    )
                entry.result = self.backend.result(entry.inner)
                entry.is_taken = True
            packed = entry.result
        self._held.hold(entry, packed.n_bytes)
        return packed

    def delivered(self, run_id: str) -> None:
        """Forget the result of a run: all of it was sent."""
        entry = self._entries.get(run_id)
        if entry is not None:
            with entry.guard:
                entry.result, entry.is_taken = None, True
                if entry.final is not None:
                    entry.final = replace(entry.final, result=None)
            self._held.release(run_id)

    def cancel(self, run_id: str, actor: str) -> None:
        """Ask a run to end; idempotent.

        Raises:
            UnknownName: No run of this caller's.
        """
        entry = self._entry(run_id, actor)
        if entry is None:
            self.record.former(run_id, actor)
        elif entry.inner and entry.final is None:
            self.backend.cancel(entry.inner)

    def abandon(self, run_id: str) -> None:
        """Cancel a run after a while, unless its caller asks for it."""
        entry = self._entries.get(run_id)
        if entry is not None:
            entry.abandoned_s = self._clock()

    def open_session(self, actor: str, *, caller: str = "", idle_s: float | None = None) -> str:
        """Return the id of a session that is this caller's alone."""
        session = self.backend.open_session(caller=caller, idle_s=idle_s)
        self._sessions.opened(session, actor)
        return session

    def close_session(self, session: str, actor: str) -> None:
        """End a session; idempotent, whoever's it was."""
        if self._sessions.is_of(session, actor):
            self.backend.close_session(session)
            self._sessions.ended(session)

    @property
    def n_active(self) -> int:
        """Runs that have not ended."""
        return sum(entry.final is None for entry in list(self._entries.values()))

    def close(self) -> None:
        """End what still runs and let go of the backend; idempotent."""
        self._is_closed = True
        self._wake.set()
        for entry in [each for each in list(self._entries.values()) if each.final is None]:
            if entry.inner:
                self.backend.cancel(entry.inner)
                self._look_at(entry)
            if entry.final is None:
                self._end(entry, lost(entry.id, "The server ended before it was done."))
        self.backend.close()

    def _check_shipped(self, call: Call) -> None:
        # Found out before the log has it as a run: it is asked again at once, with the function.
        if call.shipment is not None:
            self._shipped.add(call.technique)
        elif not call.technique.startswith(LIBRARY) and call.technique not in self._shipped:
            raise NotShipped(call.technique)

    def _entry(self, run_id: str, actor: str) -> Entry | None:
        entry = self._entries.get(run_id)
        if entry is not None and entry.actor != actor:
            raise UnknownName("run", run_id, remedy="It was never submitted by this caller.")
        return entry

    def _never_began(self, entry: Entry, error: BaseException, *, is_noted: bool) -> None:
        """Remember why a run never began: who lost the answer asks for it by its name."""
        entry.lighten()
        if isinstance(error, GlassboxError):
            entry.error = again(error)
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        code = error.code if isinstance(error, GlassboxError) else TechniqueFailed.code
        entry.is_noted = is_noted
        told = RemoteError(kind, f"It never began: {error}", "", code=code)
        self._end(entry, Run(entry.id, "cancelled", error=told))

    def _seen(self, entry: Entry, run: Run) -> Run:
        """Return a run under its own name, and remember its end."""
        run = replace(run, id=entry.id)
        if run.status == "running" and entry.running_s is None:
            entry.running_s = self._clock()
        if run.status not in FINAL:
            return run
        if entry.final is None:
            self._end(entry, run)
        final = entry.final
        assert final is not None
        result = entry.result
        if result is not None and result.n_bytes > INLINE_BYTES:
            result = None
        # Once it is known how a run ended, whatever ran it may forget it.
        return replace(run if run.status == final.status else final, result=result)

    def _end(self, entry: Entry, run: Run) -> None:
        with entry.guard:
            if entry.final is None:
                entry.final = replace(run, result=None, lines=())
                entry.ended_s = self._clock()
                self._sessions.used(entry.call.session)
                if run.result is not None and not entry.is_taken:
                    entry.result, entry.is_taken = run.result, True
            held = entry.result
        if held is not None:
            self._held.hold(entry, held.n_bytes)
        with entry.guard:
            if entry.is_noted:
                return
            try:
                self.record.ended(entry.final, entry.id, entry.actor)
                entry.is_noted = True
            except CapacityError as error:
                _log.warning("the end of %s is not in the audit log yet: %s", entry.id, error)

    def _watch(self) -> None:
        while not self._is_closed:
            pending = [each for each in list(self._entries.values()) if not each.is_noted]
            if not pending:
                self._wake.clear()
                can_fail = isinstance(self.backend, Failing) and self._on_stuck is not None
                self._wake.wait(LOOK_S if can_fail else KEEP_S / 10)
            else:
                time.sleep(WATCH_S * (1 + len(pending) // 16))
            for entry in pending:
                if (entry.inner or entry.final is not None) and not self._is_closed:
                    self._look_at(entry)
                    self._check_time(entry)
            self._check_backend()
            self._forget()

    def _check_backend(self) -> None:
        """Give up where the backend takes no call any more, its runs in the log."""
        failure = self.backend.failure if isinstance(self.backend, Failing) else ""
        # A backend that is closed takes no calls either.
        if not failure or self._is_closed or self._on_stuck is None:
            return
        now = self._clock()
        if self._failed_s is None:
            self._failed_s = now
            _log.error("functions can run no more: %s", failure)
        if now - self._failed_s < FAREWELL_S:
            # Nobody submits, so nobody wakes the watch: look again soon.
            time.sleep(WATCH_S)
            return
        for entry in [each for each in list(self._entries.values()) if not each.is_noted]:
            self._end(entry, entry.final or lost(entry.id, failure))
        self._on_stuck(f"functions can run no more: {failure}")
        self._failed_s = now

    def _look_at(self, entry: Entry) -> None:
        if entry.final is not None:
            self._end(entry, entry.final)
            return
        try:
            self._seen(entry, self.backend.run(entry.inner, after=NO_LINES))
        except (UnknownName, Unreachable) as error:
            self._end(entry, lost(entry.id, f"Whatever ran it went away: {error}"))
        except GlassboxError as error:
            _log.warning("%s cannot be looked at: %s", entry.id, error)

    def _check_time(self, entry: Entry) -> None:
        now = self._clock()
        if entry.final is not None:
            return
        if entry.abandoned_s is not None and now - entry.abandoned_s > ABANDON_S:
            self.backend.cancel(entry.inner)
        limit = entry.call.limits.wall_s
        if self._on_stuck is None or limit is None or entry.running_s is None:
            return
        if now - entry.running_s > limit + GRACE_S:
            self._end(entry, lost(entry.id, "It did not end at its deadline; the server restarts."))
            self._on_stuck(f"{entry.id} holds the model long after its deadline")

    def _forget(self) -> None:
        now = self._clock()
        # A list: callers add runs meanwhile.
        for entry in list(self._entries.values()):
            if entry.is_noted and now - entry.ended_s > KEEP_S:
                del self._entries[entry.id]
                self._held.release(entry.id)
        busy = {each.call.session for each in list(self._entries.values()) if each.final is None}
        self._sessions.forget(busy)


def _no_result(former: Run) -> Packed:
    words = "" if former.error is None else former.error.message
    raise ConflictError(f"There is no result of {former.id}: {words}")
