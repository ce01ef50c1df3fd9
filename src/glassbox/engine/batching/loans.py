"""Lending the model out: nobody else uses it meanwhile, and it comes back as it was.

Knows whose turn it is and what a guest may leave behind; knows nothing of what guests do.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from glassbox.engine.batching.worker import Worker
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.plan import BASE_SLOT
from glassbox.engine.model.lending import Lending
from glassbox.engine.model.turns import Turns
from glassbox.engine.protocol import Lent
from glassbox.errors import ConflictError, DeadlineExceeded


class Loans:
    """Lends one resident model to one guest at a time.

    Args:
        lending: What it is to be like afterwards.
        worker: Holds requests back meanwhile.
        turns: Who may use the model.
        bank: Its adapters.
    """

    def __init__(self, lending: Lending, worker: Worker, turns: Turns, bank: AdapterBank) -> None:
        self._lending = lending
        self._worker = worker
        self._turns = turns
        self._bank = bank
        self._is_harmed = False

    @contextmanager
    def lend(self, *, lease_s: float, adapter: str | None) -> Iterator[Lent]:
        """Lend the model inside the block; see ``Engine.lend``.

        Raises:
            GlassboxError: As ``Engine.lend``.
        """
        begun = time.perf_counter()
        with self._bank.leased(adapter) as lease, self._worker.held(lease_s):
            left = max(0.0, lease_s - (time.perf_counter() - begun))
            if not self._turns.acquire(left):
                raise DeadlineExceeded(
                    f"The model did not become free within {lease_s} s: texts are being scored or "
                    "an adapter is being fitted. Try again later, or allow more time."
                )
            try:
                self.require_unharmed()
                with self._bank.applying_all(lease.slot), self._lending.lent():
                    self._lending.begin(is_adapted=lease.slot != BASE_SLOT)
                    lent = Lent(
                        self._bank.base.model,
                        self._bank.base.tokenizer,
                        undo=self._undo,
                        resume=self._lending.resume,
                        is_wanted=lambda: bool(self._worker.n_waiting or self._turns.n_waiting),
                        leftovers=[],
                    )
                    try:
                        yield lent
                    finally:
                        lent.leftovers.extend(self._undo(thoroughly=True))
            finally:
                self._turns.release()

    def require_unharmed(self) -> None:
        """Raise unless the model is what it was loaded as.

        Raises:
            ConflictError: It was lent and came back changed.
        """
        if self._is_harmed:
            raise ConflictError(
                "The engine is closed: its model was lent and came back changed. Load it again."
            )

    def forget(self) -> None:
        """Record the model anew next time: the engine itself has changed it."""
        self._lending.forget()

    def _undo(self, *, thoroughly: bool = False) -> tuple[str, ...]:
        if self._is_harmed:
            return ()
        try:
            return self._lending.undo(thoroughly=thoroughly)
        except BaseException:
            # Half restored is as bad as changed, whatever was in the way.
            self._is_harmed = True
            self._worker.refuse()
            raise
