"""``LocalBackend``: a worker process of this machine that keeps one model resident.

It survives errors in techniques, is found again by the next program that wants the same model, and
is replaced when a technique takes it down. Knows nothing of how functions travel.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from glassbox.errors import (
    ConflictError,
    DeadlineExceeded,
    GlassboxError,
    OutOfMemory,
    TechniqueFailed,
    Unreachable,
)
from glassbox.techniques.calls import (
    FINAL,
    NEVER_STARTED,
    Call,
    Environment,
    ModelInfo,
    Packed,
    RemoteError,
    Run,
)
from glassbox.techniques.carrying.far_side import FarBackend, is_gone
from glassbox.techniques.local.connections import NoAnswer, WorkerConnections, WorkerEnded
from glassbox.techniques.local.files import EndKind, WorkerEnd, WorkerState, running
from glassbox.techniques.protocol import Progress
from glassbox.techniques.worker_spec import WorkerSpec

__all__ = ["LocalBackend", "WorkerState", "running"]

FIRST_WAIT_S = 0.005
"""How long the first question waits: what takes longer is asked for by its id, so that whoever
stops waiting, or loses the worker, knows which run it was."""

PATIENCE_S = 5.0
"""Seconds beyond the time asked for after which a worker counts as held up."""

ANSWER_S = 30.0
"""Seconds in which a worker must answer what takes it no time: it is held up, or loading."""

N_REMEMBERED = 10_000
"""Runs of which it is remembered in which life of the worker they were taken."""

T = TypeVar("T")


class LocalBackend:
    """Runs techniques in a worker process. Thread-safe.

    Nothing is started before ``start``, or the first call; a worker that has ended is started anew
    by the next one.

    Args:
        spec: Which model, and what runs may use.
        folder: Where workers of this user are found.
        owned: The worker is this program's alone and ends with it.
    """

    def __init__(self, spec: WorkerSpec, *, folder: Path, owned: bool = False) -> None:
        self.spec = spec
        self._connections = WorkerConnections(spec, folder, owned=owned)
        self._far = FarBackend(self._carry)
        self._patience = threading.local()
        self._starting = threading.Lock()
        self._progress: Progress = _untold
        self._load_s = 0.0
        self._homes: dict[str, _Home] = {}

    def start(self, progress: Progress) -> None:
        """Make the model resident, starting the worker if it is not there; waits until it is.

        Raises:
            Unreachable: The worker could not be started; names its log.
            GlassboxError: What was in the way of loading the model.
        """
        self._progress = progress
        with self._starting:
            outcome = ""
            progress(f"starting a worker for {self.spec.model}", None)
            try:
                self._made_resident(progress)
                outcome = f"{self.spec.model} is resident"
            finally:
                progress(outcome, 1.0)

    def _made_resident(self, progress: Progress) -> None:
        self._connections.start()
        try:
            self._whole(lambda: self._far.start(progress))
        except NoAnswer:
            raise
        except Unreachable:
            # It was about to end: idle for long, or with a model that a technique has harmed.
            self._connections.start()
            self._whole(lambda: self._far.start(progress))

    def environment(self) -> Environment:
        """What shipped code meets in the worker."""
        return self._again(self._far.environment)

    def model_info(self) -> ModelInfo:
        """The resident model, in a process of its own."""
        return replace(self._again(self._far.model_info), is_isolated=True)

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call; see ``Backend.submit``.

        A worker that ended for want of calls is started anew. If it goes away over this call, the
        run is lost; its error says why.

        Raises:
            GlassboxError: As ``Backend.submit``, and as ``start``.
        """
        until = time.monotonic() + wait_s
        try:
            run = self._far.submit(call, wait_s=min(wait_s, FIRST_WAIT_S))
        except Unreachable as gone:
            if call.session is not None or isinstance(gone, NoAnswer):
                raise
            begun = time.monotonic()
            self.start(self._progress)
            self._load_s += time.monotonic() - begun
            run = self._far.submit(call, wait_s=min(wait_s, FIRST_WAIT_S))
        except KeyboardInterrupt:
            if self._connections.is_held_up(PATIENCE_S / 5):
                # Not even the run's id is known, but whose it is.
                self._connections.files.ask_to_cancel(call.caller[:64])
            raise
        except WorkerEnded as gone:
            is_mine = not gone.end.run or gone.end.caller == call.caller[:64]
            return _lost(f"lost-{uuid4().hex}", gone.end, has_begun=is_mine)
        self._remember(run)
        # Whichever call is taken first has waited for the worker.
        load_s, self._load_s = self._load_s, 0.0
        run = replace(run, timing=replace(run.timing, load_s=load_s))
        try:
            return self._followed(run, until)
        except BaseException:
            # Nobody will ever ask for it: only this call knows its id.
            self.cancel(run.id)
            raise

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run; lost, with the reason, if its worker went away."""
        home = self._homes.get(run_id, _NOWHERE).instance
        if self._connections.end_of(home) is not None:
            return self._lost_with(home, run_id)
        self._patience.seconds = wait_s + PATIENCE_S
        try:
            run = self._far.run(run_id, after=after, wait_s=wait_s)
        except NoAnswer:
            return Run(id=run_id, status="running", n_lines=after)
        except (WorkerEnded, Unreachable) as gone:
            if isinstance(gone, WorkerEnded):
                home = gone.end.instance
            return self._lost_with(home, run_id)
        finally:
            self._patience.seconds = None
        if run.status == "lost" and home and home != self._connections.instance:
            # Another life of the worker has been asked.
            return self._lost_with(home, run_id)
        self._remember(run)
        return run

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded; answers once.

        Raises:
            UnknownName: No such run, or its result was given away already.
            ConflictError: The run did not succeed, has not ended, or its worker went away.
            NoAnswer: The worker is held up.
        """
        try:
            return self._far.result(run_id)
        except NoAnswer:
            raise
        except (WorkerEnded, Unreachable) as gone:
            raise ConflictError(
                f"The result of run {run_id} is lost: its worker has ended. {gone}"
            ) from gone

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; if it does not, its process is ended after a grace."""
        self._patience.seconds = PATIENCE_S / 5
        try:
            self._far.cancel(run_id)
        except NoAnswer:
            # Something holds up all of the worker, so its watcher is told.
            self._connections.files.ask_to_cancel(run_id)
        except (WorkerEnded, Unreachable):
            return
        finally:
            self._patience.seconds = None

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session in the worker."""
        return self._again(lambda: self._far.open_session(caller=caller, idle_s=idle_s))

    def close_session(self, session: str) -> None:
        """End a session; with its worker it has ended anyway."""
        try:
            self._far.close_session(session)
        except (WorkerEnded, Unreachable):
            return

    def stop(self) -> None:
        """End the worker, whoever else uses it; idempotent."""
        self._connections.stop()

    def close(self) -> None:
        """Let go of the worker, which stays for its idle time; one that is owned ends."""
        self._connections.close()

    def _carry(self, asked: Packed) -> Packed:
        own_s: float | None = getattr(self._patience, "seconds", None)
        answer = self._connections.carry(asked, timeout_s=ANSWER_S if own_s is None else own_s)
        if is_gone(answer):
            raise Unreachable("The worker is about to end, because nobody called for a while.")
        return answer

    def _again(self, question: Callable[[], T]) -> T:
        """Return the answer to a question that may be asked twice; starts a worker if need be."""
        try:
            return question()
        except NoAnswer:
            # It is there: another one would only take more memory.
            raise
        except (Unreachable, WorkerEnded):
            self.start(self._progress)
            return self._whole(question)

    def _whole(self, question: Callable[[], T]) -> T:
        """Return the answer to a question; a worker that ends over it is an error of ours."""
        try:
            return question()
        except WorkerEnded as gone:
            raise Unreachable(
                f"The worker ended: {gone.end.reason} Its log is {self._connections.files.log}."
            ) from gone

    def _followed(self, run: Run, until: float) -> Run:
        """Return what is known of a run when it has ended, or at a moment."""
        while run.status not in FINAL:
            left = until - time.monotonic()
            if left <= 0:
                break
            later = self.run(run.id, after=run.n_lines, wait_s=left)
            timing = replace(later.timing, load_s=run.timing.load_s)
            run = replace(later, lines=run.lines + later.lines, timing=timing)
        return run

    def _remember(self, run: Run) -> None:
        """Remember in which life of the worker a run is, and whether it has begun."""
        if run.status in FINAL and run.result_bytes == 0:
            self._homes.pop(run.id, None)
            return
        while len(self._homes) >= N_REMEMBERED and run.id not in self._homes:
            self._homes.pop(next(iter(self._homes)), None)
        home = self._homes.get(run.id) or _Home(self._connections.instance)
        self._homes[run.id] = replace(home, is_waiting=run.status == "queued")

    def _lost_with(self, instance: str, run_id: str) -> Run:
        """Return a run that went away with its worker, the same to everybody who asks."""
        end = self._connections.noted_end_of(instance) or WorkerEnd(
            instance, "stopped", "It is no longer there.", begun=(run_id[:64],)
        )
        # It may have begun, and even ended, since it was last heard to wait.
        is_waiting = self._homes.get(run_id, _NOWHERE).is_waiting
        return _lost(run_id, end, has_begun=run_id[:64] in end.begun or not is_waiting)


@dataclass(frozen=True)
class _Home:
    """Where a run was taken."""

    instance: str
    """The life of the worker."""
    is_waiting: bool = False
    """Whether it was last heard to wait."""


_NOWHERE = _Home("")

_ERRORS: dict[EndKind, type[GlassboxError]] = {
    "wall": DeadlineExceeded,
    "cpu": DeadlineExceeded,
    "memory": OutOfMemory,
}
"""What the end of a worker is to the run that was on the model; else the technique has failed."""


def _lost(run_id: str, end: WorkerEnd, *, has_begun: bool) -> Run:
    if has_begun:
        kind = _ERRORS.get(end.kind, TechniqueFailed)
        code = kind.code
        message = f"The run was lost with its worker process. {end.reason}"
    else:
        kind, code = TechniqueFailed, NEVER_STARTED
        message = f"Its worker ended before the run had begun. {end.reason} Run it again."
    error = RemoteError(
        type=f"{kind.__module__}.{kind.__qualname__}", message=message, traceback="", code=code
    )
    return Run(id=run_id, status="lost", error=error)


def _untold(_doing: str, _share: float | None) -> None:
    """Let progress go untold."""
