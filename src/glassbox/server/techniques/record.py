"""What the audit log holds of runs, and what it tells of a run that nobody else remembers.

Three kinds of events: ``technique.started`` before a function runs, ``technique.ended`` when it has
ended, ``technique.refused`` when it may not. A start without an end is a run that was lost with the
server that ran it. Arguments, results, printed lines and messages of errors are never in it.
"""

import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from glassbox.audit import AuditLog, Event
from glassbox.errors import GlassboxError, TechniqueFailed, UnknownName
from glassbox.techniques.calls import FINAL, Call, RemoteError, Run, RunStatus, Timing

STARTED: Final = "technique.started"
ENDED: Final = "technique.ended"
REFUSED: Final = "technique.refused"

WORDS: Final = {
    "lost": "The server that ran it was restarted, or ended, before it was done. Submit it again.",
    "succeeded": "It succeeded, but its result was given away or is no longer kept.",
    "failed": "It failed; what it said is no longer kept.",
    "cancelled": "It was cancelled.",
}
"""What is said of a run that only the log remembers, by how it ended."""


def _uncounted(_status: str, _seconds: float) -> None:
    """Let an end go."""


@dataclass(frozen=True)
class TechniqueRecord:
    """The runs of one server in the log."""

    log: AuditLog
    """The log."""
    mode: str
    """Where functions run."""
    server: str = field(default_factory=socket.gethostname)
    """Name and port of this server, the same after a restart."""
    life: str = field(default_factory=lambda: secrets.token_hex(4))
    """Names this life of the server."""
    count: Callable[[str, float], None] = _uncounted
    """Told of every end: how it ended, or ``refused``, and the seconds that it ran."""

    def started(self, run_id: str, call: Call, actor: str) -> None:
        """Note a run before it starts; what cannot be noted does not run.

        Raises:
            CapacityError: The database cannot be reached.
            NoDiskSpace: The disk is full.
        """
        self.log.append(
            STARTED,
            actor=actor,
            subject=run_id,
            body={
                **self._named(call),
                "limits": asdict(call.limits),
                "is_map": call.is_map,
                "session": call.session,
                "allow_pickle": call.allow_pickle,
                "arguments_bytes": call.arguments.n_bytes,
            },
        )

    def ended(self, run: Run, run_id: str, actor: str) -> None:
        """Note how a run ended.

        Raises:
            CapacityError: The database cannot be reached.
            NoDiskSpace: The disk is full.
        """
        self.log.append(
            ENDED,
            actor=actor,
            subject=run_id,
            body={
                "status": run.status,
                "error": None if run.error is None else run.error.type[:200],
                **asdict(run.timing),
                "n_lines": run.n_lines,
                "result_bytes": run.result_bytes,
                "n_undone": len(run.undone),
            },
        )
        self.count(run.status, run.timing.run_s)

    def refused(self, call: Call, actor: str, error: GlassboxError) -> None:
        """Note a call that a caller may not make.

        Raises:
            CapacityError: The database cannot be reached.
        """
        self.log.append(REFUSED, actor=actor, body={**self._named(call), "code": error.code})
        self.count("refused", 0.0)

    def former(self, run_id: str, actor: str) -> Run:
        """Return what the log tells of a run that this server does not remember.

        Raises:
            UnknownName: The log does not know it, or it is another caller's or server's.
        """
        events = self.log.read(kinds=(STARTED, ENDED), subject=run_id, limit=2)
        start = next((each for each in events if each.kind == STARTED), None)
        if start is None or start.actor != actor:
            raise UnknownName("run", run_id, remedy="It was never submitted by this caller.")
        if start.body.get("server") != self.server:
            where = start.body.get("server")
            raise UnknownName("run", run_id, remedy=f"It runs, or ran, on {where}: ask there.")
        return _run(run_id, next((each for each in events if each.kind == ENDED), None))

    def _named(self, call: Call) -> dict[str, object]:
        return {
            "technique": call.technique,
            "name": call.name[:200],
            "mode": self.mode,
            "server": self.server,
            "life": self.life,
        }


def _run(run_id: str, end: Event | None) -> Run:
    if end is None:
        return lost(run_id, WORDS["lost"])
    status: RunStatus = next((each for each in FINAL if each == end.body["status"]), "lost")
    timing = Timing(*(float(end.body[name]) for name in ("load_s", "queue_s", "run_s")))
    # Without its result a run that succeeded is of no use to anybody: it has to run again.
    shown: RunStatus = "lost" if status == "succeeded" else status
    error = RemoteError(end.body["error"] or _FAILED, WORDS[status], "", code=TechniqueFailed.code)
    return Run(run_id, shown, n_lines=int(end.body["n_lines"]), error=error, timing=timing)


def lost(run_id: str, reason: str) -> Run:
    """Return a run whose worker or server went away."""
    return Run(run_id, "lost", error=RemoteError(_FAILED, reason, "", code=TechniqueFailed.code))


_FAILED: Final = f"{TechniqueFailed.__module__}.{TechniqueFailed.__qualname__}"
