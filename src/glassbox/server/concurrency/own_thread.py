"""Blocking calls on threads that an ending process does not wait for. Knows none of them."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def on_own_thread(work: Callable[[], T], *, on_end: Callable[[], None] = lambda: None) -> T:
    """Return what a blocking call comes to; cancelling the wait leaves the call to itself.

    Args:
        work: What to call, on a thread of its own.
        on_end: Called on the event loop once the call has ended, also where nobody waits any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: list[T], error: BaseException | None) -> None:
        on_end()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result[0])

    def run() -> None:
        result: list[T] = []
        error: BaseException | None = None
        try:
            result.append(work())
        except BaseException as caught:  # noqa: BLE001  carried over to the loop's thread
            error = caught
        # The loop is closed where the process is about to end.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=run, name="glassbox-slow", daemon=True).start()
    except BaseException:
        # The process has no thread left for it: the call has ended before it began.
        on_end()
        raise
    return await future
