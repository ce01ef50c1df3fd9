"""``AsyncInterpClient``: the same client for programs that run on an event loop.

Waiting happens in threads of its own, in short slices, so that the loop never stands still and no
thread waits for long after its task went away. Cancelling a task that waits for a result cancels
the run.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, Self, TypeVar

from glassbox.errors import ConflictError
from glassbox.techniques.calls import Environment, ModelInfo, RunStatus, Timing
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.client.folders import Technique, TechniqueFolder
from glassbox.techniques.client.handle import Finished, TechniqueRun
from glassbox.techniques.client.session import RemoteSession
from glassbox.techniques.values import RemoteValue

N_THREADS = 64
"""Runs that are waited for at a time; more take turns."""

N_ASKING = 8
"""Threads for what is short and must not stand behind those who wait: status and cancelling."""

SLICE_S = 0.5
"""Longest that a thread waits for a run before its task is asked whether it still wants to know."""

CANCEL_S = 1.0
"""Longest that a task which was cancelled waits until its run was told; that goes on without it."""

CLOSE_S = 5.0
"""Longest that closing waits for runs to be told."""

P = ParamSpec("P")
T = TypeVar("T")


class _Threads:
    """Where waiting and asking happen."""

    def __init__(self) -> None:
        self._waiting = ThreadPoolExecutor(N_THREADS, thread_name_prefix="glassbox-async")
        self._asking = ThreadPoolExecutor(N_ASKING, thread_name_prefix="glassbox-asking")
        self._lock = threading.Lock()
        self._cancelling: set[Future[None]] = set()
        self._is_closed = False

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns that may wait.

        Raises:
            ConflictError: The client was closed.
        """
        self._check_open()
        return await asyncio.wrap_future(self._waiting.submit(function, *args, **kwargs))

    async def ask(self, function: Callable[[], T]) -> T:
        """Return what a function returns that is short, whoever waits for what.

        Raises:
            ConflictError: The client was closed.
        """
        self._check_open()
        return await asyncio.wrap_future(self._asking.submit(function))

    async def submitted(self, submit: Callable[[], TechniqueRun]) -> TechniqueRun:
        """Return a submitted run; if nobody waits for it any more, it is cancelled.

        Raises:
            ConflictError: The client was closed.
        """
        self._check_open()
        future = self._waiting.submit(submit)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if not future.cancel():
                future.add_done_callback(_cancel)
            raise

    async def cancelled(self, run: TechniqueRun) -> None:
        """Tell a run to end; waits a moment for that, and lets it go on if it takes longer."""
        if run.has_ended or self._is_closed:
            return
        future = self._asking.submit(run.cancel)
        with self._lock:
            self._cancelling.add(future)
        future.add_done_callback(self._was_cancelled)
        await asyncio.wait([asyncio.wrap_future(future)], timeout=CANCEL_S)

    async def close(self) -> None:
        """Take no more calls, and wait until runs that were given up have been told."""
        self._is_closed = True
        self._waiting.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            telling = set(self._cancelling)
        if telling:
            await asyncio.to_thread(wait_for_all, telling, CLOSE_S)
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _was_cancelled(self, future: "Future[None]") -> None:
        with self._lock:
            self._cancelling.discard(future)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConflictError("This client was closed. Open another one.")


class AsyncTechniqueRun:
    """A call that was submitted; see ``TechniqueRun``.

    Args:
        run: The same, for threads.
        threads: Where waiting happens.
        on_finished: Told once its result was taken.
    """

    def __init__(
        self, run: TechniqueRun, threads: _Threads, on_finished: Callable[[Finished], None]
    ) -> None:
        self._run = run
        self._threads = threads
        self._on_finished = on_finished

    @property
    def id(self) -> str:
        """Names the run."""
        return self._run.id

    @property
    def name(self) -> str:
        """What the technique is called."""
        return self._run.name

    @property
    def timing(self) -> Timing:
        """Where its time went, as last heard."""
        return self._run.timing

    @property
    def undone(self) -> tuple[str, ...]:
        """What was put back after it; empty until it has ended."""
        return self._run.undone

    @property
    def has_ended(self) -> bool:
        """Whether it was heard to have ended; asks nobody."""
        return self._run.has_ended

    async def status(self) -> RunStatus:
        """Return where it is."""
        return await self._threads.ask(lambda: self._run.status)

    async def lines(self) -> AsyncIterator[str]:
        """Yield what it prints, from its first line, until it ends."""
        n_seen = 0
        while True:
            had_ended = self._run.has_ended
            lines = await self._threads.call(self._run.lines_after, n_seen, SLICE_S)
            if had_ended and not lines:
                return
            for line in lines:
                yield line
            n_seen += len(lines)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether it has ended, waiting at most ``timeout_s`` seconds for it."""
        end = None if timeout_s is None else monotonic() + timeout_s
        while not self._run.has_ended:
            left = SLICE_S if end is None else min(SLICE_S, end - monotonic())
            if left <= 0:
                return False
            await self._threads.call(self._run.wait, left)
        return True

    async def cancel(self) -> None:
        """Ask it to end; one that has ended stays as it is."""
        await self._threads.ask(self._run.cancel)

    async def result(self, timeout_s: float | None = None) -> Any:
        """Return what the technique returned, waiting for it; see ``TechniqueRun.result``.

        Cancelling the task that awaits this cancels the run; with ``timeout_s`` it goes on.

        Raises:
            DeadlineExceeded: It has not ended in that time.
            TechniqueFailed: It failed, was cancelled or was lost.
        """
        try:
            if not await self.wait(timeout_s):
                raise self._run.overdue(timeout_s)
            return await self._threads.call(self._run.result)
        except asyncio.CancelledError:
            await self._threads.cancelled(self._run)
            raise
        finally:
            if self._run.finished is not None:
                self._on_finished(self._run.finished)


class AsyncRemoteSession:
    """Calls that follow one another with nobody between them; see ``RemoteSession``.

    Args:
        session: The same, for threads.
        threads: Where waiting happens.
    """

    def __init__(self, session: RemoteSession, threads: _Threads) -> None:
        self._session = session
        self._threads = threads

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """Names the session."""
        return self._session.id

    async def run(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> Any:
        """Return what a technique returns; arguments may be references of this session."""
        return await self._threads.call(self._session.run, technique, *args, **kwargs)

    async def keep(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> RemoteValue:
        """Return a reference to what a technique returns, which stays on the other side."""
        return await self._threads.call(self._session.keep, technique, *args, **kwargs)

    async def put(self, value: Any) -> RemoteValue:
        """Return a reference to a value that travels there once."""
        return await self._threads.call(self._session.put, value)

    async def get(self, reference: RemoteValue) -> Any:
        """Return the value that a reference of this session stands for."""
        return await self._threads.call(self._session.get, reference)

    async def close(self) -> None:
        """End it and forget what was kept; idempotent."""
        await self._threads.call(self._session.close)


class SessionOpening:
    """A session to be opened: ``async with client.session() as s``, or ``await`` it and close it.

    Args:
        opened: Opens it.
    """

    def __init__(self, opened: Callable[[], Coroutine[Any, Any, AsyncRemoteSession]]) -> None:
        self._opened = opened
        self._session: AsyncRemoteSession | None = None

    def __await__(self) -> Generator[Any, Any, AsyncRemoteSession]:
        return self._opened().__await__()

    async def __aenter__(self) -> AsyncRemoteSession:
        self._session = await self
        return self._session

    async def __aexit__(self, *_error: object) -> None:
        if self._session is not None:
            await self._session.close()


class AsyncInterpClient:
    """Runs techniques beside a resident model; an async context manager.

    Args:
        app_name: Groups workers and runs.
        model_name: Folder, hub name or ``tiny``; None is ``tiny``, or whatever a server holds.
        **options: As for ``InterpClient``.

    Raises:
        GlassboxError: As ``InterpClient``.
    """

    def __init__(
        self, app_name: str = "default", model_name: str | Path | None = None, **options: Any
    ) -> None:
        self._client = InterpClient(app_name, model_name, **options)
        self._threads = _Threads()
        self._last: Finished | None = None

    def __repr__(self) -> str:
        return f"Async{self._client!r}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def run(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> Any:
        """Return what a technique returns; see ``InterpClient.run``.

        Raises:
            GlassboxError: As ``InterpClient.run``.
        """
        run = await self.submit(technique, *args, **kwargs)
        return await _or_cancel(run)

    async def submit(
        self, technique: str | Technique, /, *args: Any, **kwargs: Any
    ) -> AsyncTechniqueRun:
        """Return a handle: its status, lines while it runs, result, and how to cancel it."""
        run = await self._threads.submitted(lambda: self._client.submit(technique, *args, **kwargs))
        return AsyncTechniqueRun(run, self._threads, self._remember)

    async def map(
        self, technique: str | Technique, inputs: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Return one result for each input, in order; everything travels once."""
        run = await self._threads.submitted(
            lambda: self._client.submit_map(technique, inputs, *args, **kwargs)
        )
        return list(await _or_cancel(AsyncTechniqueRun(run, self._threads, self._remember)))

    def session(self, *, idle_s: float | None = None) -> SessionOpening:
        """Return a session to enter: several calls in one turn, values kept on the other side."""

        async def opened() -> AsyncRemoteSession:
            session = await self._threads.call(lambda: self._client.session(idle_s=idle_s))
            return AsyncRemoteSession(session, self._threads)

        return SessionOpening(opened)

    async def start(self) -> Self:
        """Make the model resident now and not with the first call; idempotent."""
        await self._threads.call(self._client.start)
        return self

    async def model_info(self) -> ModelInfo:
        """Return what is resident; makes it so if it is not."""
        return await self._threads.call(self._client.model_info)

    async def environment(self) -> Environment:
        """Return the versions on the other side."""
        return await self._threads.call(self._client.environment)

    async def load_techniques_from_dir(self, path: str | Path) -> TechniqueFolder:
        """Return a folder's techniques by name; ``run`` then takes the names too."""
        return await self._threads.call(self._client.load_techniques_from_dir, path)

    async def techniques(self) -> dict[str, str]:
        """Return what can be run by name, and what each does."""
        return await self._threads.call(self._client.techniques)

    @property
    def last(self) -> Finished | None:
        """The run whose result was taken last."""
        return self._last

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks made so far."""
        return self._client.notes

    async def close(self) -> None:
        """Let go of connections; the model stays resident for its idle time. Idempotent."""
        await self._threads.close()
        self._client.close()

    def _remember(self, finished: Finished) -> None:
        self._last = finished


async def _or_cancel(run: AsyncTechniqueRun) -> Any:
    """Return a run's result; where it cannot be had, nobody is left to want it."""
    try:
        return await run.result()
    except asyncio.CancelledError:
        raise
    except BaseException:
        if not run.has_ended:
            await asyncio.shield(run.cancel())
        raise


def _cancel(future: "Future[TechniqueRun]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().cancel()
