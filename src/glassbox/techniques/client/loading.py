"""Shows a person at a terminal what the first call is waiting for; silent everywhere else.

Nothing appears before two seconds have passed. Knows nothing of what is being loaded.
"""

import threading
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from glassbox.progress import SHOW_AFTER_S


class LoadingBar:
    """A bar that appears by itself once loading takes long, and goes when it is closed.

    May be told things from any thread, and again after it was closed.

    Args:
        quiet: Show nothing at all.
        console: Where to show it; None is standard error.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._is_quiet = quiet or not self._console.is_terminal
        self._lock = threading.Lock()
        self._since: float | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __call__(self, doing: str, share: float | None) -> None:
        """Take what is being done and which share in [0, 1] is done, None when unknown.

        With all of it done, the bar goes.
        """
        if self._is_quiet:
            return
        if share is not None and share >= 1.0:
            self.close(doing)
            return
        with self._lock:
            self._since = self._since if self._since is not None else monotonic()
            if self._bar is None and monotonic() - self._since >= SHOW_AFTER_S:
                self._open()
            if self._bar is not None:
                done = None if share is None else 100 * share
                self._bar.update(
                    self._task,
                    description=doing,
                    completed=done,
                    total=None if done is None else 100,
                )

    def close(self, outcome: str = "") -> None:
        """Take the bar away; where one was shown, leave a line that says what came of it."""
        with self._lock:
            took_s = 0.0 if self._since is None else monotonic() - self._since
            self._since = None
            if self._bar is None:
                return
            self._bar.stop()
            self._bar = None
            if outcome:
                line = f"{outcome} after {took_s:.1f} s"
                self._console.print(
                    line, style="dim", soft_wrap=True, markup=False, highlight=False
                )

    def _open(self) -> None:
        """Show the bar; the lock is held."""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("Loading", total=None)
        self._bar.start()
