"""Comparisons for a server: on demand, and again and again for every model with a reference.

The work itself is done in a process of its own. Knows no HTTP.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from glassbox.audit.store import InferenceStore
from glassbox.errors import GlassboxError, QueueFull
from glassbox.rollout.drift.apart import DriftApart
from glassbox.rollout.drift.drift_store import DriftStore, ReferenceBrief
from glassbox.rollout.drift.report import DriftReport
from glassbox.rollout.version import DEFAULT_MODEL

RETRY_S = 5.0
"""When to come back while a comparison is under way."""

KEEP_S: Final = 90 * 86400.0
"""Seconds for which reports are kept: at the usual interval one of 50 columns makes 12 MB a day."""


class DriftDesk:
    """Asks for comparisons, one at a time.

    Args:
        apart: Compares.
        store: References and reports.
        records: Durable log; what waits for the disk is written first.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        apart: DriftApart,
        store: DriftStore,
        records: InferenceStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._apart = apart
        self._store = store
        self._records = records
        self._clock = clock
        self._turn = threading.Lock()

    def run(self, model: str = DEFAULT_MODEL, *, within_s: float | None = None) -> DriftReport:
        """Return a comparison of the latest records, kept from now on.

        Args:
            model: Registered model.
            within_s: Seconds that it may take; None is as long as any comparison may.

        Raises:
            DeadlineExceeded: It took too long and was ended.
            ConflictError: There is no reference.
            QueueFull: Another one is under way.
        """
        if not self._turn.acquire(blocking=False):
            raise QueueFull(1, RETRY_S)
        try:
            self._records.flush()
            return self._apart.run(model, within_s=within_s)
        finally:
            self._turn.release()

    def freeze(self, actor: str, **span: Any) -> ReferenceBrief:
        """Return a new reference, the current one from now on.

        Args:
            actor: Who makes it.
            span: Which records, and how long it may take, as of ``DriftApart.freeze``.

        Raises:
            DeadlineExceeded: It took too long and was ended.
            InvalidValue: Both a number and a time were asked for.
            NotEnoughData: Too few answers.
        """
        self._records.flush()
        made = self._apart.freeze(actor=actor, **span)
        known = self._store.references(made.model)
        return next(each for each in known if each.reference_id == made.reference_id)

    def look(self) -> None:
        """Compare every model that has a reference; a turn of the work beside requests.

        Reports that are older than ``KEEP_S`` go.

        Raises:
            GlassboxError: One model could not be compared; the others were.
        """
        failed: GlassboxError | None = None
        for model in sorted({each.model for each in self._store.references()}):
            try:
                self.run(model)
            except GlassboxError as error:
                failed = failed or error
        self._store.forget(self._clock() - KEEP_S)
        if failed is not None:
            raise failed
