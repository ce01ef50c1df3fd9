"""The server as a process: listens at once, loads meanwhile, and ends without hurting anyone.

On SIGTERM it turns unready, lets running requests finish for a while, ends the rest as cancelled
and leaves; a second signal ends it at once. Knows nothing of what is served.
"""

import asyncio
import atexit
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

import anyio
import uvicorn
from fastapi import FastAPI

from glassbox.server.access.entrance import ACCESS_LOG, FaultFormatter
from glassbox.server.access.guards import Guards
from glassbox.server.app import begin_serving
from glassbox.server.concurrency.own_thread import on_own_thread
from glassbox.server.process.patience import PatientProtocol
from glassbox.server.serving import Serving

LAST_ANSWERS_S: Final = 3.0
"""What requests get to say that they were cancelled."""

BACKSTOP: Final = 2
"""Times the most connections at which uvicorn turns clients away without a word."""

RUNS_STEP_S: Final = 0.1
"""How often it is looked whether functions still run."""

_log = logging.getLogger("glassbox.server")


class DrainingServer(uvicorn.Server):
    """A server that finishes what it has begun before it ends.

    Args:
        config: uvicorn's.
        guards: Stage and limits of the app.
        close: Ends what the model still works on.
        n_runs: How many functions still run, whether or not anybody waits for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        guards: Guards,
        close: Callable[[], None],
        n_runs: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(config)
        self._guards = guards
        self._close = close
        self._n_runs = n_runs
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal, end at the second; the process ends with 0."""
        del sig, frame
        if self._loop is None or self._guards.lifecycle.is_draining:
            self.force_exit = self.should_exit = True
            return
        # Set here, so that a second signal is one whatever the loop is doing.
        self._guards.lifecycle.drain()
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        lifecycle = self._guards.lifecycle
        _log.info("draining: %d requests are being answered", lifecycle.n_running)
        until_s = asyncio.get_running_loop().time() + self._guards.limits.drain_s
        # Whatever runs functions has no event to wait for; it may be in another process.
        while self._n_runs() and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(RUNS_STEP_S)
        left_s = max(0.0, until_s - asyncio.get_running_loop().time())
        if not await lifecycle.idle(left_s):
            _log.warning("%d requests are ended unfinished", lifecycle.n_running)
            lifecycle.end_bodies()
            await _within(self._close, LAST_ANSWERS_S)
            await lifecycle.idle(LAST_ANSWERS_S)
        self.should_exit = True


class _Loading:
    """The model on its way into memory, on a thread that an early end does not wait for."""

    def __init__(self, load: Callable[[], Serving]) -> None:
        self._load = load
        self._done = asyncio.Event()
        self._serving: Serving | None = None
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="glassbox-load", daemon=True)
        self._thread.start()

    async def finished(self) -> Serving:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._serving is not None
        return self._serving

    def _work(self) -> None:
        try:
            self._serving = self._load()
        except BaseException as error:  # noqa: BLE001  carried over to the loop's thread
            self._error = error
        # Where the server has ended meanwhile, nobody waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done.set)

    def give_up(self) -> None:
        """Let the process end in good order although the model is still on its way."""
        atexit.register(self._end)

    def _end(self) -> None:
        # A thread inside the model's libraries, met by the interpreter's end, aborts the process.
        if self._thread.is_alive():
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def run_server(
    app: FastAPI,
    listener: socket.socket,
    load: Callable[[], Serving],
    *,
    on_ready: Callable[[Serving], None],
) -> None:
    """Serve until told to stop.

    Args:
        app: Its ``state.guards`` are the limits; answers 503 until the model is there.
        listener: Where to listen.
        load: Returns what is served; called once, on a thread of its own.
        on_ready: Called when requests are taken.

    Raises:
        GlassboxError: What ``load`` raised.
    """
    set_up_logs()
    asyncio.run(_serve(app, listener, load, on_ready))


async def _serve(
    app: FastAPI,
    listener: socket.socket,
    load: Callable[[], Serving],
    on_ready: Callable[[Serving], None],
) -> None:
    guards: Guards = app.state.guards
    loading = _Loading(load)

    def close() -> None:
        serving = app.state.serving
        if serving is not None:
            serving.close()
        guards.early.close()
        guards.tracing.close()

    def n_runs() -> int:
        serving = app.state.serving
        runs = None if serving is None else serving.techniques
        return 0 if runs is None else runs.n_active

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Our own refusal comes first, with its reason; this one is the last resort.
        limit_concurrency=BACKSTOP * guards.limits.max_connections,
        # Whose turn it is must not hang on a header that anybody may write.
        proxy_headers=False,
        timeout_graceful_shutdown=round(LAST_ANSWERS_S),
    )
    server = DrainingServer(config, guards, close, n_runs)

    async def begin() -> None:
        try:
            serving = await loading.finished()
            if guards.lifecycle.is_draining:
                # Told to stop meanwhile: nobody is served, but the model is closed.
                app.state.serving = serving
                return
            # What is there stays: to go over it for garbage would hold up every answer for long.
            gc.freeze()
            begin_serving(app, serving)
            on_ready(serving)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # A fault of any kind ends the server, or it would say for ever that it is loading.
            _log.error("the model could not be loaded (%s)", type(error).__name__)
            guards.lifecycle.fail("The model could not be loaded; the server's log says why.")
            server.should_exit = True
            raise

    beginning = asyncio.create_task(begin())
    await server.serve(sockets=[listener])
    if beginning.done():
        # Says why, where the model could not be loaded.
        beginning.result()
    else:
        beginning.cancel()
        loading.give_up()
    await _within(close, LAST_ANSWERS_S)
    # After a second signal some still read why they have no answer.
    await guards.lifecycle.idle(LAST_ANSWERS_S)


async def _within(close: Callable[[], None], seconds: float) -> None:
    """Close the model; leave that to itself where the model is in the middle of something long."""
    with anyio.move_on_after(seconds) as scope:
        await on_own_thread(close)
    if scope.cancelled_caught:
        _log.warning("the model is still busy after %g s; the process ends without it", seconds)


def set_up_logs() -> None:
    """Write the server's log to standard error; faults without the words of whoever asked."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FaultFormatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (
        ("glassbox.server", logging.INFO),
        (ACCESS_LOG, logging.INFO),
        ("uvicorn.error", logging.WARNING),
        ("asyncio", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
