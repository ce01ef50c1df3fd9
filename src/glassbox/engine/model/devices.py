"""What this machine can run a model on: devices, number formats, memory, threads.

Pure questions to torch and the operating system, asked at load and printed by ``glassbox doctor``.
Knows nothing of models.
"""

import ctypes
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from glassbox.errors import InvalidValue, UnsupportedModel

WITHOUT_FLOAT64 = {"mps"}
"""Kinds of devices that have no float64."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Number formats a model may be loaded in, by name."""

_MALLOPT_TRIM_THRESHOLD = -1
_MALLOPT_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 32 * 2**20
"""The most that glibc accepts on 64-bit machines (half of HEAP_MAX_SIZE)."""
_TRIM_THRESHOLD_BYTES = 512 * 2**20


_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "invalid buffer size",
    "status_alloc_failed",
)
"""What torch says of too little memory where it has no class of its own for it: the processor's
allocator (Linux, files, Windows), CUDA's and MPS's, MPS of one tensor, CUDA's libraries."""


@dataclass(frozen=True)
class DeviceReport:
    """One device, as far as a model is concerned."""

    device: str
    """Torch's name of it."""
    description: str
    """What it calls itself."""
    memory_bytes: int
    """Memory in all."""
    free_bytes: int
    """Memory that is free at the moment."""
    has_native_bfloat16: bool
    """Whether bfloat16 is multiplied by the hardware, not emulated."""
    dtype: str
    """What ``dtype=auto`` loads weights in here."""
    threads: int
    """CPU threads that torch uses; 0 where they do not count."""


def cpu_flags() -> frozenset[str]:
    """Return what the processor says it can do, in the words of ``/proc/cpuinfo``.

    Torch is asked first; releases that cannot tell, and systems without ``/proc``, give fewer.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    flags = {name for name, present in capabilities.items() if present is True}
    return frozenset({*flags, *_cpuinfo("flags", "Features").split()})


def has_native_bfloat16(device: torch.device, flags: frozenset[str] | None = None) -> bool:
    """Return whether a device multiplies bfloat16 matrices in hardware.

    CUDA from compute capability 8.0; CPUs with AMX-BF16, AVX512-BF16 or Arm's BF16 extension.
    Elsewhere torch emulates it, which may be a hundred times slower than float32.

    Args:
        device: Which one.
        flags: Of the CPU; None asks it.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    found = cpu_flags() if flags is None else flags
    return not found.isdisjoint({"amx_bf16", "avx512_bf16", "bf16"})


def choose_device(wanted: str = "auto") -> torch.device:
    """Return the device to use; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        InvalidValue: Not the name of a device.
        UnsupportedModel: This machine has no such device.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise InvalidValue("device", wanted, "auto, cpu, cuda, cuda:N or mps") from error
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    missing = (device.type == "cuda" and (device.index or 0) >= n_cuda) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise UnsupportedModel(
            f"This machine has no device {wanted!r} (CUDA devices: {n_cuda}). Use device 'auto', "
            "or install a torch build for your accelerator."
        )
    return device


def choose_dtype(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """Return the number format of the weights.

    ``auto`` is bfloat16 where the hardware multiplies it and float32 elsewhere. That includes MPS:
    float16 is faster there, but its range overflows in models trained in bfloat16, so it has to
    be asked for.

    Raises:
        InvalidValue: Not one of the known formats.
    """
    if wanted == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    if wanted not in DTYPES:
        raise InvalidValue("dtype", wanted, f"auto, {', '.join(DTYPES)}")
    return DTYPES[wanted]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a number format as settings spell it."""
    return str(dtype).removeprefix("torch.")


def beside_float64(values: Tensor) -> Tensor:
    """Return values on a device that has float64: where they are, or else on the host."""
    return values.cpu() if values.device.type in WITHOUT_FLOAT64 else values


def in_float64(values: Tensor) -> Tensor:
    """Return values in float64: where they are, or on the host where their device has none."""
    return beside_float64(values).double()


def describe_device(device: torch.device) -> DeviceReport:
    """Return what a device offers."""
    host = psutil.virtual_memory()
    total, free, threads = host.total, host.available, torch.get_num_threads()
    description = f"{platform.machine()} {cpu_model()}".strip()
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        description, threads = torch.cuda.get_device_name(device), 0
    elif device.type == "mps":
        description, threads = f"Apple GPU, {description}", 0
    return DeviceReport(
        device=str(device),
        description=description,
        memory_bytes=total,
        free_bytes=free,
        has_native_bfloat16=has_native_bfloat16(device),
        dtype=dtype_name(choose_dtype(device)),
        threads=threads,
    )


def describe_devices() -> tuple[DeviceReport, ...]:
    """Return every device of this machine, the one that ``auto`` takes first."""
    devices = [torch.device("cpu")]
    if torch.backends.mps.is_available():
        devices.insert(0, torch.device("mps"))
    if torch.cuda.is_available():
        devices[:0] = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return tuple(describe_device(device) for device in devices)


def cpu_model() -> str:
    """Return the processor's name, or what the platform knows of it."""
    return _cpuinfo("model name") or platform.processor()


def _cpuinfo(*names: str) -> str:
    """Return what ``/proc/cpuinfo`` says first under one of some names; empty where it does not."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(errors="replace").splitlines() if path.exists() else ()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def keep_freed_memory() -> bool:
    """Make the C library reuse large buffers instead of returning them; return whether it does.

    A forward pass frees and asks for the same few megabytes in each layer. By default glibc hands
    them back to the system, and every page is faulted in again. Linux with glibc only; the process
    keeps up to 512 MiB that it has freed.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(
        mallopt(_MALLOPT_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        and mallopt(_MALLOPT_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory did not suffice, whoever's that is."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return any(words in said for words in _NO_MEMORY)


def return_freed_memory(device: torch.device) -> None:
    """Return to the system what a device's allocator keeps of freed memory, where that is known.

    The other side of ``keep_freed_memory``, for when nothing is computed for a while.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "cpu" and sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
