"""Dropout of an adapter under fitting, drawn from a source of its own.

Knows tensors; knows nothing of layers, adapters or steps.
"""

import torch
from torch import nn


class DropoutSource:
    """Randomness of one adapter's dropout, apart from the process's global state.

    Seeded before each batch, it makes a fit a function of its seed: a resumed fit draws what the
    uninterrupted one would have drawn. Layers that read the same tensor (query, key and value; gate
    and up) get the same dropped tensor, which spares a third of the draws and of the memory.

    Args:
        p: Probability of dropping an entry, [0, 1).
        device: Where the activations are.
    """

    def __init__(self, p: float, device: torch.device) -> None:
        self.p = p
        self._generator = torch.Generator(device=device)
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def seed(self, seed: int) -> None:
        """Start the stream of one batch."""
        self._generator.manual_seed(seed)
        self.release()

    def release(self) -> None:
        """Let go of the last batch's tensors."""
        self._last = None

    def dropped(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input with entries dropped and the rest scaled up."""
        if self._last is None or self._last[0] is not x:
            keep = torch.empty_like(x).bernoulli_(1.0 - self.p, generator=self._generator)
            self._last = (x, x * keep.div_(1.0 - self.p))
        return self._last[1]


class SeededDropout(nn.Module):
    """The dropout of one layer, drawn from a shared source in training mode only."""

    def __init__(self, source: DropoutSource) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input, dropped in training mode."""
        return self.source.dropped(x) if self.training and self.source.p else x
