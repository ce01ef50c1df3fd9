"""Telling a want of memory from other failures."""

import torch

_WORDS = ("can't allocate memory", "out of memory", "not enough memory")
"""What torch says where it has no class of its own for it (the processor's allocator, MPS)."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that memory did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def let_go(device: torch.device) -> None:
    """Give memory that nobody uses back to the device, so that a smaller piece finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
