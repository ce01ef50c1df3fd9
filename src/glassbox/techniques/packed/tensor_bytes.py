"""Tensors and arrays as bytes and back, every dtype, without a copy where their memory allows it.

Needs no torch: where it is absent, tensors become numpy arrays. bfloat16 and the 8-bit floats,
which numpy does not have, are widened to float32, which holds each of their values exactly.
"""

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from glassbox.errors import NotShippable
from glassbox.techniques.calls import Buffer

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # Torch may be absent.

Array = Shaped[np.ndarray, "..."]
"""Of any dtype and shape."""

_SAME = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
_FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
_FLOAT8 = {
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e4m3fnuz": (4, 3, 8, "uz"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e5m2fnuz": (5, 2, 16, "uz"),
    "float8_e8m0fnu": (8, 0, 127, "scale"),
}
TORCH_DTYPES = (*_SAME, *_FLOATS, "bfloat16", *_FLOAT8)
"""Names of torch's dtypes that travel."""

WIDENED = ("bfloat16", *_FLOAT8)
"""Those that are float32 where torch is absent."""

_NUMPY_KINDS = "biufcSUmM"


def tensor_key(tensor: Tensor) -> tuple[Any, ...]:
    """Return what two tensors have in common when their values are the same memory."""
    return (
        tensor.data_ptr(),
        tensor.dtype,
        tensor.shape,
        tensor.stride(),
        tensor.device,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def check_tensor(tensor: Tensor, where: str) -> str:
    """Return the name of a tensor's dtype.

    Raises:
        NotShippable: Sparse, quantised, nested, without memory, or of a kind of its own.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    problem = ""
    if tensor.is_quantized:
        problem = "a quantised tensor; let .dequantize() travel"
    elif str(tensor.layout) != "torch.strided":
        layout = str(tensor.layout).removeprefix("torch.")
        problem = f"a {layout} tensor; let .to_dense() travel, or its indices and values"
    elif tensor.is_nested:
        problem = "a nested tensor; let a list of its parts travel"
    elif tensor.is_meta:
        problem = "a tensor without memory (device 'meta'); there are no values to take along"
    elif type(tensor).__torch_dispatch__ is not _torch().Tensor.__torch_dispatch__:
        problem = f"a {type(tensor).__name__}; make a plain tensor of it"
    elif dtype not in TORCH_DTYPES:
        problem = f"a tensor of dtype {dtype}; convert it to one of {', '.join(TORCH_DTYPES)}"
    if problem:
        raise NotShippable(f"{where} is {problem}.")
    return dtype


def bytes_of_tensor(tensor: Tensor) -> Buffer:
    """Return a tensor's values in row order; a view of its memory where that is contiguous."""
    if tensor.numel() == 0:
        return b""
    torch = _torch()
    plain = tensor.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
    flat = plain.reshape(-1)
    if flat.stride(0) != 1:  # A single value may lie anywhere and still count as contiguous.
        flat = flat.clone(memory_format=torch.contiguous_format)
    return _read_only(flat.view(torch.uint8).numpy())


def check_array(array: Array | np.generic, where: str) -> str:
    """Return numpy's short name of an array's dtype, little-endian.

    Raises:
        NotShippable: Objects, records, masks, or floats whose size differs between machines.
    """
    dtype, problem = array.dtype, ""
    # Importing numpy.ma takes long; whoever has such an array has imported it.
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(array, masked.MaskedArray):
        problem = "a masked array; let .data and .mask travel"
    elif dtype.kind not in _NUMPY_KINDS:
        kind = "objects" if dtype.hasobject else "records"
        problem = f"an array of {kind} ({dtype}); let a list or one array for each field travel"
    elif dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        problem = f"an array of {dtype}, which differs between machines; convert it to float64"
    if problem:
        raise NotShippable(f"{where} is {problem}.")
    return dtype.newbyteorder("<").str


def bytes_of_array(array: Array) -> Buffer:
    """Return an array's values in row order; a view of its memory where that is contiguous."""
    if array.nbytes == 0:
        return b""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return _read_only(plain.reshape(-1).view(np.uint8))


def tensor_from(buffer: Buffer, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor over bytes: over this very memory when it can be written to."""
    torch = _torch()
    kind = getattr(torch, dtype)
    if not len(buffer):
        return torch.empty(shape, dtype=kind)  # type: ignore[no-any-return]
    flat = torch.frombuffer(_writable(buffer), dtype=torch.uint8)
    return flat.view(kind).reshape(shape)  # type: ignore[no-any-return]


def array_from(buffer: Buffer, dtype: str, shape: tuple[int, ...]) -> Array:
    """Return an array over bytes; ``dtype`` is numpy's short name or one of torch's."""
    if dtype == "bfloat16":
        wide = np.frombuffer(buffer, "<u2").astype("<u4")
        wide <<= 16
        return wide.view("<f4").reshape(shape)
    if dtype in _FLOAT8:
        values: Array = _float8_values(dtype)[np.frombuffer(buffer, "u1")]
        return values.reshape(shape)
    kind = np.dtype(dtype).newbyteorder("<")
    if not len(buffer):
        return np.empty(shape, kind)
    return np.frombuffer(_writable(buffer), kind).reshape(shape)


def plain_dtype(dtype: str) -> np.dtype:
    """Return numpy's dtype of a short name, little-endian.

    Raises:
        TypeError: It is none, or one that does not travel.
    """
    kind = np.dtype(dtype)
    if kind.kind not in _NUMPY_KINDS:
        raise TypeError(dtype)
    return kind.newbyteorder("<")


def item_bytes(dtype: str) -> int:
    """Return how many bytes a value of a torch dtype takes.

    Raises:
        KeyError: No such dtype travels.
    """
    if dtype not in TORCH_DTYPES:
        raise KeyError(dtype)
    if dtype in WIDENED:
        return 2 if dtype == "bfloat16" else 1
    return np.dtype(dtype).itemsize


def _writable(buffer: Buffer) -> Buffer:
    """Return memory that may become a tensor's: another's, which is read only, is copied."""
    if isinstance(buffer, bytearray):
        return buffer
    return bytearray(buffer) if isinstance(buffer, bytes) or buffer.readonly else buffer


def _read_only(flat: Array) -> memoryview:
    return flat.data.toreadonly()


def _torch() -> Any:
    # Whoever holds a tensor has imported it; whoever makes one has seen that it can be.
    return sys.modules["torch"]


@lru_cache
def _float8_values(dtype: str) -> Array:
    """Return the 256 values of an 8-bit float as float32.

    Source: Micikevicius et al. 2022, "FP8 formats for deep learning" (fn, ieee); Noune et al.
        2022, "8-bit numerical formats for deep neural networks" (uz); OCP Microscaling formats
        v1.0, section 5.4 (e8m0).
    """
    n_exponent, n_mantissa, bias, rule = _FLOAT8[dtype]
    codes = np.arange(256)
    if rule == "scale":
        values = np.ldexp(1.0, codes - bias)
        values[255] = np.nan
        return values.astype(np.float32)
    exponent = codes >> n_mantissa & (1 << n_exponent) - 1
    mantissa = (codes & (1 << n_mantissa) - 1) / (1 << n_mantissa)
    values = np.where(
        exponent == 0,
        np.ldexp(mantissa, 1 - bias),
        np.ldexp(1 + mantissa, exponent - bias),
    )
    values = np.where(codes >> 7 == 1, -values, values)
    if rule == "fn":
        values[codes & 127 == 127] = np.nan
    elif rule == "uz":
        values[128] = np.nan
    else:
        top = exponent == (1 << n_exponent) - 1
        values[top] = np.where(mantissa[top] > 0, np.nan, np.sign(values[top]) * np.inf)
    return values.astype(np.float32)
