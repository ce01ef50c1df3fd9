"""Rows that had begun and gave way to others: what they had is kept where host memory allows.

Without that they read again what they had written. Knows slots, pools and rows; decides nothing
about whose turn it is.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import count

from torch import Tensor

from glassbox.engine.batching.outcomes import is_for_want_of_memory
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.shares import claim
from glassbox.engine.batching.slots import Slots
from glassbox.engine.model.attempt import attempt
from glassbox.engine.states.pooling import Pools

KEPT_BYTES = 2**30
"""Host memory for keys and values of rows that gave way; a row beyond it is read again."""


@dataclass
class _Entry:
    """What is known of a row that gave way."""

    keys: Tensor | None = None
    """Its keys and values on the host; None where it is read again."""
    place: int = -1
    """Where its reduced states are."""
    n_crowd: int | None = None
    """Rows that were too many for it to find memory; None where it gave way to another client."""


class SetBack:
    """Rows that wait for their place in the batch.

    Args:
        slots: Where running rows have their keys.
        pools: Where they have their reduced states.
        first_place: Place of the pools that no running row ever takes, and all after it.
    """

    def __init__(self, slots: Slots, pools: Pools, first_place: int) -> None:
        self._slots = slots
        self._pools = pools
        self._first_place = first_place
        self._entries: dict[Row, _Entry] = {}

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return list(self._entries)

    @property
    def n_bytes(self) -> int:
        """Host memory that is taken."""
        return sum(e.keys.nbytes for e in self._entries.values() if e.keys is not None)

    def first(self, held: Counter[str]) -> Row | None:
        """Return the row that comes back first, if any: the oldest of the client that has fewest.

        Args:
            held: Rows in the batch, by client.
        """
        return min(
            self._entries,
            key=lambda row: (*claim(row, held), row.begun_s or 0.0),
            default=None,
        )

    def n_crowd(self, row: Row) -> int | None:
        """Return how many rows were too many for it to find memory, if it gave way for that."""
        return self._entries[row].n_crowd

    def place(self, row: Row) -> int:
        """Return where the reduced states of a row that lost nothing are."""
        return self._entries[row].place

    def keep(self, row: Row) -> None:
        """Copy what a running row has, if there is memory; its slot stays its own."""
        entry = self._entries[row] = _Entry()
        if self.n_bytes + row.n_done * self._slots.place_bytes > KEPT_BYTES:
            return
        keys = attempt(partial(self._read, row))
        if isinstance(keys, Exception):
            if not is_for_want_of_memory(keys):
                raise keys
            return
        taken = {each.place for each in self._entries.values()}
        entry.keys = keys
        entry.place = next(place for place in count(self._first_place) if place not in taken)
        self._pools.move(row.slot, entry.place)

    def wait(self, row: Row, n_crowd: int | None = None) -> None:
        """Let a row without a slot wait.

        Args:
            row: Nothing need be known of it.
            n_crowd: Rows that were too many for it to find memory; None where that was not why.
        """
        entry = self._entries.setdefault(row, _Entry())
        entry.n_crowd = n_crowd
        if entry.keys is None:
            row.put_back()

    def restore(self, row: Row, slot: int) -> bool:
        """Return whether what a row had is in a slot now; it waits no longer."""
        entry = self._entries.pop(row, None)
        if entry is None or entry.keys is None:
            return False
        self._slots.write(slot, 0, entry.keys)
        self._pools.move(entry.place, slot)
        return True

    def forget(self, row: Row) -> None:
        """Let a row wait no longer, if it does."""
        self._entries.pop(row, None)

    def _read(self, row: Row) -> Tensor:
        return self._slots.read(row.slot, 0, row.n_done).cpu()
