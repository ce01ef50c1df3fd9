"""Buffers by name that are allocated once and then taken again and again.

Fresh memory for every product would be handed back to the system and faulted in anew each time,
which costs as much as small products themselves.
"""

import math

import torch
from torch import Tensor


class Workspace:
    """Buffers of one device and number format; what is in them belongs to the last taker.

    Args:
        device: Where.
        dtype: Number format of all of them.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a buffer of a shape, with whatever was left in it; grows what is too small."""
        n = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < n:
            # The old one is let go first, so that both never stand side by side.
            self._buffers.pop(name, None)
            buffer = torch.empty(n, device=self._device, dtype=self._dtype)
            self._buffers[name] = buffer
        return buffer[:n].view(shape)
