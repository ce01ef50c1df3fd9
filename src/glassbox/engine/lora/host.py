"""Adapters kept in host memory: as many as the budget allows, the least recently used goes first.

Knows entries and bytes; knows no locks: ``tiers`` calls it under its own.
"""

from collections import OrderedDict
from typing import Generic

from glassbox.engine.lora.entry import Entry, W


class HostTier(Generic[W]):
    """The adapters on the host.

    Args:
        capacity_bytes: Most memory for them.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.n_bytes = 0
        """Memory they take."""
        self._entries: OrderedDict[Entry[W], None] = OrderedDict()

    def keep(self, entry: Entry[W], weights: W) -> None:
        """Keep weights that were read, if they fit the budget at all."""
        if entry.host is not None or entry.n_bytes > self.capacity_bytes:
            return
        while self.n_bytes + entry.n_bytes > self.capacity_bytes:
            self.drop(next(iter(self._entries)))
        entry.host = weights
        self._entries[entry] = None
        self.n_bytes += entry.n_bytes

    def use(self, entry: Entry[W]) -> W | None:
        """Return the weights of an adapter that is here, now the one used last; else None."""
        if entry.host is not None:
            self._entries.move_to_end(entry)
        return entry.host

    def drop(self, entry: Entry[W]) -> None:
        """Give the memory of an adapter back, if it is here."""
        if entry.host is not None:
            del self._entries[entry]
            entry.host = None
            self.n_bytes -= entry.n_bytes
