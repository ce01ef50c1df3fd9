"""What follows a run but need not be waited for: its record, and memory that is free again.

Knows records; knows nothing of queues and models.
"""

import gc
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import torch

from glassbox.engine.model.attempt import attempt
from glassbox.techniques.running.run_state import Job, RunRecord

log = logging.getLogger(__name__)


class Aftermath:
    """Records runs on a thread of its own and tidies up when there is nothing to do.

    Args:
        on_run: Told of every run that has ended; None tells nobody.
    """

    IDLE_S: Final = 0.5
    """Seconds without a call after which memory is given back."""

    def __init__(self, on_run: Callable[[RunRecord], None] | None) -> None:
        self._on_run = on_run
        self._records: queue.SimpleQueue[RunRecord | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_untidy = False
        """Whether something has run since memory was last given back."""

    def report(self, job: Job) -> None:
        """Note that a run has ended; its lock is held."""
        self.is_untidy = True
        if self._on_run is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="glassbox-records", daemon=True)
            self._thread.start()
        self._records.put(job.record())

    def tidy(self) -> None:
        """Give back memory that nobody uses; of the young generations only, which is quick."""
        self.is_untidy = False
        gc.collect(1)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Wait until all that was noted has been told."""
        if self._thread is not None:
            self._records.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join()
            self._thread = None

    def _tell(self) -> None:
        assert self._on_run is not None
        while (record := self._records.get()) is not None:
            failure = attempt(partial(self._on_run, record))
            if isinstance(failure, Exception):
                log.error("run %s could not be recorded: %r", record.id, failure)
