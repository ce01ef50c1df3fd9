"""What a measurement ran on, and how fast the machine itself is."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from glassbox.engine.model.devices import describe_device

MATMUL_SIZE = 4096
LIBRARIES = ("torch", "transformers", "lm_eval", "numpy")


@dataclass(frozen=True)
class Machine:
    """The device and the versions."""

    device: str
    description: str
    threads: int
    has_native_bfloat16: bool
    versions: Mapping[str, str]


def describe_machine(device: torch.device) -> Machine:
    """Return what a report must say about where it was measured."""
    report = describe_device(device)
    return Machine(
        device=report.device,
        description=report.description,
        threads=report.threads,
        has_native_bfloat16=report.has_native_bfloat16,
        versions={name: _version(name) for name in LIBRARIES},
    )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        # Most benchmarks do without the harness that one of them is compared with.
        return "not installed"


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, the device's queue included."""
    _finish(device)
    started = time.perf_counter()
    call()
    _finish(device)
    return time.perf_counter() - started


def matmul_flops(dtype: torch.dtype, device: torch.device, repeats: int = 3) -> float:
    """Return floating-point operations per second of one large square matrix product.

    The median of some repeats after one that does not count: the yardstick of a machine.
    """
    left, right = (
        torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=device, dtype=dtype) for _ in range(2)
    )
    _ = left @ right
    seconds = statistics.median(timed(lambda: left @ right, device) for _ in range(repeats))
    return 2 * MATMUL_SIZE**3 / seconds


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def as_json(machine: Machine) -> dict[str, object]:
    """Return a machine as JSON values."""
    return asdict(machine) | {"versions": dict(machine.versions)}
