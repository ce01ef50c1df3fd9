"""Giving memory back where there was too little of it."""

import torch


def let_go(device: torch.device) -> None:
    """Give memory that nobody uses back to the device, so that a smaller piece finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
