import pytest
import torch

from glassbox.engine.model import devices
from glassbox.engine.model.devices import (
    choose_device,
    choose_dtype,
    describe_devices,
    has_native_bfloat16,
    is_out_of_memory,
    keep_freed_memory,
)
from glassbox.errors import InvalidValue, UnsupportedModel

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"), True),
        (RuntimeError("unable to mmap 8 bytes from file <w>: Cannot allocate memory (12)"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("Invalid buffer size: 19.45 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("no"), False),
    ],
)
def test_too_little_memory_is_told_apart_whoever_says_so(error, is_memory):
    assert is_out_of_memory(error) is is_memory


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ({"avx2", "fma"}, False),
        ({"avx512f", "avx512bw", "amx_tile"}, False),
        ({"avx512_bf16"}, True),
        ({"amx_bf16", "amx_tile"}, True),
        ({"asimd", "bf16"}, True),
    ],
)
def test_bfloat16_is_native_where_the_processor_says_so(flags, native):
    assert has_native_bfloat16(CPU, frozenset(flags)) is native


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_cuda_has_it_from_compute_capability_8(monkeypatch, capability, native):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert has_native_bfloat16(torch.device("cuda", 0)) is native


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_automatic_dtype(monkeypatch, native, dtype):
    monkeypatch.setattr(devices, "has_native_bfloat16", lambda _device: native)
    assert choose_dtype(CPU) == dtype
    assert choose_dtype(CPU, "float16") == torch.float16


def test_mps_loads_float32_unless_asked():
    assert choose_dtype(torch.device("mps")) == torch.float32


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted"),
    [(True, True, "cuda:0"), (False, True, "mps"), (False, False, "cpu")],
)
def test_automatic_device(monkeypatch, cuda, mps, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert str(choose_device()) == wanted


def test_a_device_this_machine_lacks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnsupportedModel, match=r"'cuda:3' \(CUDA devices: 1\)"):
        choose_device("cuda:3")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: choose_device("warp drive"), "device is 'warp drive'"),
        (lambda: choose_dtype(CPU, "float8"), "dtype is 'float8'"),
    ],
)
def test_names_nobody_knows(call, match):
    with pytest.raises(InvalidValue, match=match):
        call()


def test_the_cpu_is_described():
    (cpu,) = [device for device in describe_devices() if device.device == "cpu"]
    assert 0 < cpu.free_bytes <= cpu.memory_bytes
    assert cpu.threads >= 1
    assert cpu.dtype == ("bfloat16" if cpu.has_native_bfloat16 else "float32")


def test_elsewhere_than_on_glibc_the_allocator_is_left_alone(monkeypatch):
    monkeypatch.setattr(devices.platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
