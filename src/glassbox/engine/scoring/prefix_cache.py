"""States of prompt prefixes, kept by least recent use within a byte budget.

Knows keys and values; knows nothing of how they are computed.
"""

from collections import OrderedDict
from collections.abc import Callable

from glassbox.engine.scoring.forward import PrefixStates
from glassbox.types import TokenIds

PrefixName = tuple[str | None, TokenIds]
"""Adapter digest (None is the base model) and token ids."""


class PrefixCache:
    """The prefixes that were used last.

    Args:
        capacity_bytes: Most memory to hold; 0 keeps none.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.n_bytes = 0
        self._kept: OrderedDict[PrefixName, PrefixStates] = OrderedDict()

    def get(self, name: PrefixName, compute: Callable[[], PrefixStates]) -> PrefixStates:
        """Return the states under a name, computed if they are not kept."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        states = compute()
        size = states_bytes(states)
        if size <= self.capacity_bytes:
            self._kept[name] = states
            self.n_bytes += size
            while self.n_bytes > self.capacity_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.n_bytes -= states_bytes(dropped)
        return states

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.n_bytes = 0


def states_bytes(states: PrefixStates) -> int:
    """Return the memory that keys and values take."""
    return sum(part.nbytes for pair in states.values() for part in pair)
