"""How fast this machine multiplies matrices: one measured number for forecasts."""

import time
from typing import Final

import torch

from glassbox.pathways.orchestration.forecast import Device
from glassbox.pathways.orchestration.memory import free_bytes

SIZE: Final = 4096
"""Rows and columns; the size whose rate shares are quoted against."""

_ROUNDS: Final = 5


def measured_device(device: str | None = None, dtype: torch.dtype | None = None) -> Device:
    """Return this machine's device with the rate of its 4096³ matrix product, best of five.

    Args:
        device: A torch device name; CUDA where there is one, if none.
        dtype: Number format; bfloat16 on CUDA and float32 elsewhere, if none.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind = dtype or (torch.bfloat16 if where.type == "cuda" else torch.float32)
    left = torch.randn(SIZE, SIZE, device=where, dtype=kind)
    out = torch.empty_like(left)
    best = float("inf")
    for _ in range(_ROUNDS):
        _wait(where)
        started = time.perf_counter()
        torch.matmul(left, left, out=out)
        _wait(where)
        best = min(best, time.perf_counter() - started)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "this processor"
    return Device(
        f"{name}, {str(kind).removeprefix('torch.')}",
        free_bytes(where),
        2.0 * SIZE**3 / best,
        "measured",
        f"{SIZE}³ matrix product, best of {_ROUNDS}",
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
