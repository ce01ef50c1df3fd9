"""The desk beside a resident model: takes calls, runs them one at a time, keeps what came of them.

One thread of its own borrows the model while techniques run and gives it back in between. Every
other backend carries calls to one of these. Knows queues, sessions and results; knows nothing of
sockets, HTTP and signatures.
"""

import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from glassbox.engine.protocol import Engine
from glassbox.errors import ConflictError, GlassboxError, TechniqueFailed
from glassbox.techniques.calls import Call, Environment, Limits, ModelInfo, Packed, Run
from glassbox.techniques.protocol import Progress
from glassbox.techniques.running.functions import Functions
from glassbox.techniques.running.hidden_prompt import HiddenPrompt
from glassbox.techniques.running.process_record import ProcessRecord
from glassbox.techniques.running.remote_errors import describe
from glassbox.techniques.running.rounds import Guard, House, Rounds
from glassbox.techniques.running.run_state import Job, RunRecord


class Desk:
    """Runs techniques beside a resident model, in this process; see ``Backend`` for the contract.

    Args:
        engine: The model; stays its owner's.
        limits: What each run may use at most; a call may ask for less.
        allow_shipped: Whether functions are run that came from outside.
        allowed_digests: Those alone are, and nothing is unpickled; None is any.
        max_waiting: Most calls in line.
        hidden_system_prompt: Put before every text that a technique tokenises, and never shown.
        name: What the desk is called in the names of its threads.
        on_run: Told of every run that has ended, on a thread of its own, in order.
        result_ttl_s: Seconds for which runs and results are kept after their end.
        adapter: Name of a loaded adapter that is part of the model while techniques run.
        guard: Entered around each run, until what it did has been undone.
        owns_process: Whether nothing but techniques runs in this process, so that what they change
            in it (working folder, environment, log, …) can be put back.
        on_close: Called once, when the desk has closed; lets the engine go where nobody else will.
    """

    def __init__(  # noqa: PLR0913  the options of one place that is named once
        self,
        engine: Engine,
        *,
        limits: Limits | None = None,
        allow_shipped: bool = True,
        allowed_digests: frozenset[str] | None = None,
        max_waiting: int = 256,
        hidden_system_prompt: str | None = None,
        name: str = "",
        on_run: Callable[[RunRecord], None] | None = None,
        result_ttl_s: float = 600.0,
        adapter: str | None = None,
        guard: Guard | None = None,
        owns_process: bool = False,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._on_close = on_close
        self._functions = Functions(allow_shipped=allow_shipped, allowed_digests=allowed_digests)
        self._hidden = HiddenPrompt(hidden_system_prompt) if hidden_system_prompt else None
        self._name = engine.info.name
        house = House(
            engine=engine,
            functions=self._functions,
            limits=limits or Limits(),
            hidden=self._hidden,
            adapter=adapter,
            guard=guard or (lambda _id, _call: nullcontext()),
            process=ProcessRecord() if owns_process else None,
        )
        self._rounds = Rounds(
            house,
            max_waiting=max_waiting,
            ttl_s=result_ttl_s,
            on_run=on_run,
            name=f"glassbox-desk {name}".strip(),
        )

    @property
    def failure(self) -> str:
        """Why no call is taken any more, in words; empty while they are."""
        if self._rounds.failure is not None:
            return str(self._rounds.failure)
        return "The desk is closed." if self._rounds.is_closed else ""

    @property
    def idle_s(self) -> float:
        """For how long there was nothing to do and no session open; 0 while there is."""
        return self._rounds.idle_s

    @property
    def overdue_s(self) -> float:
        """For how long the run under way has been asked to end and has not; 0 otherwise."""
        return self._rounds.clock.overdue_s

    @property
    def running(self) -> str | None:
        """Id of the run under way."""
        running = self._rounds.running
        return running.id if running is not None else None

    @property
    def n_waiting(self) -> int:
        """Calls in line."""
        with self._rounds.lock:
            return len(self._rounds.line)

    def start(self, progress: Progress) -> None:
        """Look at the model, which is resident already."""
        self.model_info()
        progress(f"{self._name} is resident", 1.0)

    def environment(self) -> Environment:
        """What shipped code meets here."""
        from glassbox.techniques.shipping import environment

        return environment.here(modules=True)

    def model_info(self) -> ModelInfo:
        """The resident model."""
        return self._rounds.look_at_model()

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call, and say what is known of it after at most ``wait_s``.

        Raises:
            NotShipped: The function is not known by its digest; submit it with its shipment.
            QueueFull: Too many calls wait already.
            AccessDenied: The function may not run here, or the session is another caller's.
            UnknownName: No such session or built-in technique.
            CorruptArtifact: The payload is not what its digest says.
            ConflictError: The desk is closed, or a result is to be kept outside a session.
        """
        self._functions.take(call)
        rounds = self._rounds
        with rounds.lock:
            self._require_open()
            session = None
            if call.session is not None:
                session = rounds.sessions.get(call.session, call.caller)
            elif call.keep:
                raise ConflictError("A result is kept in a session only. Open one.")
            job = Job(f"run-{secrets.token_hex(16)}", call, rounds.lock)
            if self._hidden is not None:
                job = replace(job, edit=self._hidden.text, hide=self._hidden.lines())
            rounds.add(job, session)
            if wait_s > 0:
                job.wait(wait_s)
            return job.seen(0, rounds.position(job))

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run, waiting at most ``wait_s`` for a new line or its end.

        One that is not known here, because this process began later or has forgotten it, is
        ``lost``.
        """
        rounds = self._rounds
        with rounds.lock:
            rounds.book.forget_old()
            job = rounds.book.get(run_id)
            if job is None:
                error = TechniqueFailed(
                    f"The run {run_id} is not known here: the process was restarted since, or the "
                    "run ended long ago."
                )
                return Run(run_id, "lost", error=describe(error))
            if wait_s > 0:
                job.wait(wait_s, after=after)
            return job.seen(after, rounds.position(job))

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded; answers once.

        Raises:
            UnknownName: No such run, or its result was given away or dropped already.
            ConflictError: The run did not succeed, or has not ended.
        """
        with self._rounds.lock:
            return self._rounds.book.give(run_id)

    def cancel(self, run_id: str) -> None:
        """Ask a run to end as cancelled; one that has ended stays as it is."""
        reason = TechniqueFailed("The run was cancelled.")
        self._rounds.stop(run_id, reason, is_cancel=True)

    def end(self, run_id: str, error: GlassboxError) -> None:
        """Ask a run to end as failed with an error; one that has ended stays as it is."""
        self._rounds.stop(run_id, error, is_cancel=False)

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session; its turn comes with its first call.

        Raises:
            InvalidValue: ``idle_s`` is outside its range.
            CapacityError: Too many sessions are open.
            ConflictError: The desk is closed.
        """
        with self._rounds.lock:
            self._require_open()
            return self._rounds.sessions.open(caller, idle_s)

    def close_session(self, session: str) -> None:
        """End a session and forget what was kept in it; calls of it that wait are cancelled."""
        self._rounds.close_session(session)

    def close(self) -> None:
        """Take no more calls, cancel those in line, ask the one under way to end; idempotent."""
        self._rounds.close()
        with self._rounds.lock:
            on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        self._rounds.let_go()

    def _require_open(self) -> None:
        if self.failure:
            raise ConflictError(self.failure)
