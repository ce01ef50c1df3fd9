"""Whatever runs techniques: a worker on this machine, a server, a Ray actor, a Modal container."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from glassbox.techniques.calls import Call, Environment, ModelInfo, Packed, Run

Progress = Callable[[str, float | None], None]
"""Told what is being done in words, and which share is done in [0, 1], None when unknown."""


@runtime_checkable
class Backend(Protocol):
    """Runs calls beside one resident model. Thread-safe; only what says so waits."""

    def start(self, progress: Progress) -> None:
        """Make the model resident where it is not: idempotent, waits until it is.

        Raises:
            Unreachable: Nothing answers there and nothing could be started.
            GlassboxError: What went wrong while the model was loaded.
        """
        ...

    def environment(self) -> Environment:
        """What shipped code meets on the other side."""
        ...

    def model_info(self) -> ModelInfo:
        """The resident model."""
        ...

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call, and say what is known of it after at most ``wait_s``, earlier when it ends.

        Raises:
            NotShipped: The function is not known by its digest; submit it with its shipment.
            QueueFull: Too many calls wait already.
            AccessDenied: The caller may not run this.
            UnknownName: No such session or built-in technique.
            CorruptArtifact: The payload is not what its digest says.
        """
        ...

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run, waiting at most ``wait_s`` for a new line or its end.

        A run that the other side no longer knows, because it was restarted, is ``lost``.

        Args:
            run_id: As ``submit`` answered.
            after: Lines up to this number are left out.
            wait_s: Seconds.
        """
        ...

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded; answers once for each run that kept none.

        Raises:
            UnknownName: No such run, or its result was given away already.
            ConflictError: The run did not succeed, or has not ended.
        """
        ...

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; one that has ended stays as it is. Idempotent."""
        ...

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session, in which calls follow one another without anyone between them.

        Its turn comes with its first call. ``idle_s`` seconds without a call end it.
        """
        ...

    def close_session(self, session: str) -> None:
        """End a session and forget what was kept in it; idempotent."""
        ...

    def close(self) -> None:
        """Let go of connections; what is resident and shared stays. Idempotent."""
        ...
