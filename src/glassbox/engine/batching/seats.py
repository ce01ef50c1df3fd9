"""Rows in the slots of the running batch: without gaps, and nothing of one row reaches another.

Knows slots, pools and rows; knows nothing of models, time or who should have a place.
"""

from collections.abc import Sequence

from glassbox.engine.batching.row import Row
from glassbox.engine.batching.slots import Slots
from glassbox.engine.states.pooling import Pools


class Seats:
    """Who has which slot.

    Args:
        slots: Keys and values.
        pools: Reduced states.
        n_rows: Most rows at a time.
    """

    def __init__(self, slots: Slots, pools: Pools, n_rows: int) -> None:
        self.rows: list[Row] = []
        """By slot."""
        self._slots = slots
        self._pools = pools
        self._n_rows = n_rows
        self._suspects: dict[int, int] = {}
        """Slots whose first places may hold what is no number, and how many of them."""

    def has_room(self, new: Row, beside: Sequence[Row]) -> bool:
        """Return whether a row fits beside some others; alone it always may try."""
        n = len(beside) + 1
        n_places = max(row.n_places for row in (new, *beside))
        return not beside or (n <= self._n_rows and self._slots.fits(n, n_places))

    def prepare(self, row: Row) -> int:
        """Return the slot that a row may take next; there is room in it, and nothing else.

        Raises:
            OutOfMemory: The budget has no room for it beside the others.
        """
        slot = len(self.rows)
        n_places = max(each.n_places for each in (row, *self.rows))
        self._slots.reserve(slot + 1, n_places)
        self._clean(slot)
        return slot

    def take(self, row: Row) -> None:
        """Give a row the slot that was prepared for it."""
        row.slot = len(self.rows)
        self.rows.append(row)

    def distrust_next(self, row: Row) -> None:
        """Note that a row may have left something in the slot that was prepared for it."""
        self._suspects[len(self.rows)] = len(row.tokens)

    def free(self, row: Row) -> None:
        """Take a row's slot and close the gap; what reads its prompt stays behind what writes."""
        hole, last = row.slot, self.rows[-1]
        if row.error is not None or row.n_sound < row.n_done:
            self._suspects[hole] = len(row.tokens)
        if last is not row and last.n_left > 1 and last.slot - 1 > hole:
            before = self.rows[-2]
            gap = before.slot
            self._move(before, hole)
            hole = gap
        if last is not row:
            self._move(last, hole)
        self.rows.pop()
        row.slot = -1

    def release(self) -> None:
        """Give the memory back; nobody has a slot."""
        self._slots.release()
        self._suspects.clear()

    def _move(self, row: Row, slot: int) -> None:
        self._clean(slot)
        if row.n_sound < row.n_done:
            self._suspects[row.slot] = row.n_done
        self._slots.move(row.slot, slot, row.n_done)
        self._pools.move(row.slot, slot)
        row.slot = slot
        self.rows[slot] = row

    def _clean(self, slot: int) -> None:
        """Wipe what may be NaN: a place that attention hides still counts as NaN times zero."""
        n_places = self._suspects.pop(slot, 0)
        if n_places:
            self._slots.wipe(slot, n_places)
