"""The keys and values of all rows in one tensor that grows with need and never beyond a budget.

A row owns one slot; slots in use have no gaps, because the last row moves into a hole. Knows
tensors and bytes; knows nothing of models or requests.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.errors import OutOfMemory

PLACES_STEP = 64
"""Places of a slot are a multiple of this, so that growing is rare."""


class Slots:
    """Room for the keys and values of running rows.

    Args:
        n_layers: Layers of the model.
        kv_heads: Heads of keys and values.
        d_head: Width of a head.
        dtype: Of the model.
        device: Of the model.
        budget_bytes: Most memory to take.
    """

    def __init__(
        self,
        n_layers: int,
        kv_heads: int,
        d_head: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        budget_bytes: int,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.place_bytes = 2 * n_layers * kv_heads * d_head * dtype.itemsize
        self.states: Float[Tensor, "layer 2 slot kv_heads place d_head"] = torch.zeros(
            n_layers, 2, 0, kv_heads, PLACES_STEP, d_head, dtype=dtype, device=device
        )

    @property
    def n_slots(self) -> int:
        """Slots that there is memory for now."""
        return self.states.shape[2]

    @property
    def n_places(self) -> int:
        """Places of each slot now."""
        return self.states.shape[4]

    def fits(self, n_slots: int, n_places: int) -> bool:
        """Return whether the budget allows so many slots of so many places."""
        return n_slots * _rounded(n_places) * self.place_bytes <= self.budget_bytes

    def reserve(self, n_slots: int, n_places: int) -> None:
        """Make room for so many slots of so many places; what the slots hold stays.

        Raises:
            OutOfMemory: The budget does not allow it.
        """
        places = _rounded(n_places)
        if n_slots <= self.n_slots and places <= self.n_places:
            return
        if not self.fits(n_slots, places):
            raise OutOfMemory(
                f"{n_slots} running requests of up to {places} tokens need "
                f"{n_slots * places * self.place_bytes} bytes for their keys and values; the "
                f"budget is {self.budget_bytes}. Ask for fewer tokens, or free memory."
            )
        # Room to grow where the budget has it; else exactly what is asked for.
        roomy = max(n_slots, 2 * self.n_slots) if n_slots > self.n_slots else self.n_slots
        for slots, length in (
            (roomy, max(places, self.n_places)),
            (max(n_slots, self.n_slots), max(places, self.n_places)),
            (n_slots, max(places, self.n_places)),
            (n_slots, places),
        ):
            if self.fits(slots, length):
                self._resize(slots, length)
                return

    def _resize(self, n_slots: int, n_places: int) -> None:
        layers, two, _, kv_heads, _, d_head = self.states.shape
        # Zeros, never what memory happened to hold: a hidden NaN times zero is NaN.
        larger = self.states.new_zeros(layers, two, n_slots, kv_heads, n_places, d_head)
        kept, length = min(n_slots, self.n_slots), min(n_places, self.n_places)
        larger[:, :, :kept, :, :length] = self.states[:, :, :kept, :, :length]
        self.states = larger

    def move(self, source: int, target: int, n_places: int) -> None:
        """Copy the first places of one slot into another."""
        self.states[:, :, target, :, :n_places] = self.states[:, :, source, :, :n_places]

    def read(self, slot: int, start: int, stop: int) -> Float[Tensor, "layer 2 kv_heads n d_head"]:
        """Return a copy of some places of a slot."""
        return self.states[:, :, slot, :, start:stop].clone()

    def write(
        self, slot: int, start: int, states: Float[Tensor, "layer 2 kv_heads n d_head"]
    ) -> None:
        """Put keys and values into a slot."""
        self.states[:, :, slot, :, start : start + states.shape[3]] = states

    def wipe(self, slot: int, n_places: int) -> None:
        """Zero the first places of a slot, so that what they held can reach nobody."""
        self.states[:, :, slot, :, :n_places] = 0

    def release(self) -> None:
        """Give all memory back."""
        self._resize(0, PLACES_STEP)


def _rounded(n_places: int) -> int:
    return -(-n_places // PLACES_STEP) * PLACES_STEP
