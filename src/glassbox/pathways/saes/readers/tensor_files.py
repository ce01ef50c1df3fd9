"""Tensors in files, read by parts: safetensors, NumPy archives, weights-only PyTorch files.

Whole matrices are never read to get at a few rows. Knows nothing of what the tensors mean.
"""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - only what weights_only raises
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from glassbox.errors import CorruptArtifact

_DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the libraries raise over bytes that were changed, wherever it comes to that."""

_ZIP_LOCAL_HEADER_BYTES = 30
"""Fixed part of a local file header. Source: APPNOTE.TXT 4.3.7."""


class TensorFile(Protocol):
    """Named tensors in one file."""

    path: Path
    """The file."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""

    def dtype(self, name: str) -> str:
        """Return a tensor's number format, such as ``bfloat16``, without reading it."""

    def rows(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "n ..."]:
        """Return some neighbouring rows (first axis)."""

    def columns(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "d n"]:
        """Return some neighbouring columns of a matrix."""

    def read(self, name: str) -> Shaped[torch.Tensor, "..."]:
        """Return a whole tensor."""

    def let_go(self) -> None:
        """Hold no more memory than before anything was read, where the format allows it."""


_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "BOOL": "bool",
}


class SafetensorsFile:
    """A safetensors file, memory-mapped.

    Raises:
        CorruptArtifact: It is missing, damaged or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _opened(path)

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors."""
        return frozenset(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(self._file.get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Return a tensor's number format."""
        found: str = self._file.get_slice(name).get_dtype()
        return _SAFETENSORS_DTYPES.get(found, found)

    def rows(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "n ..."]:
        """Return some neighbouring rows."""
        part: torch.Tensor = self._file.get_slice(name)[start:stop]
        return part

    def columns(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "d n"]:
        """Return some neighbouring columns."""
        part: torch.Tensor = self._file.get_slice(name)[:, start:stop]
        return part

    def read(self, name: str) -> Shaped[torch.Tensor, "..."]:
        """Return a whole tensor."""
        # A copy: what the library returns keeps the whole file mapped as long as it lives.
        whole: torch.Tensor = self._file.get_tensor(name).clone()
        return whole

    def let_go(self) -> None:
        """Map the file anew: the pages that were read are resident until their mapping ends."""
        self._file = _opened(self.path)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except FileNotFoundError as error:
        raise CorruptArtifact(path, "the file is missing") from error
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(
            path,
            f"damaged or cut off ({error})",
            remedy="Fetch it again; its size tells whether it arrived whole.",
        ) from error


class HeldTensors:
    """Tensors that PyTorch or NumPy keeps, memory-mapped where the file allows it."""

    def __init__(self, path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        self.path = path
        self._tensors = dict(tensors)

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors."""
        return frozenset(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> str:
        """Return a tensor's number format."""
        return str(self._tensors[name].dtype).removeprefix("torch.")

    def rows(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "n ..."]:
        """Return some neighbouring rows."""
        return self._tensors[name][start:stop]

    def columns(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "d n"]:
        """Return some neighbouring columns."""
        return self._tensors[name][:, start:stop]

    def read(self, name: str) -> Shaped[torch.Tensor, "..."]:
        """Return a whole tensor."""
        return self._tensors[name]

    def let_go(self) -> None:
        """Do nothing: what is mapped stays as long as the tensors, and the system takes it back."""


def torch_file(path: Path) -> HeldTensors:
    """Return the tensors of a PyTorch file, read with ``weights_only`` and memory-mapped.

    Raises:
        CorruptArtifact: It is missing or damaged, or holds anything but tensors and numbers.
    """
    if not path.is_file():
        raise CorruptArtifact(path, "the file is missing")
    is_archive = zipfile.is_zipfile(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except _DAMAGED as error:
        raise CorruptArtifact(
            path,
            "holds something other than tensors, which is never loaded, or is damaged",
            remedy="Save its state_dict() with torch.save or safetensors.",
        ) from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise CorruptArtifact(path, "holds no state_dict (names and tensors)")
    return HeldTensors(path, _only_tensors(held))


def _only_tensors(held: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in held.items():
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, int | float):
            found[name] = torch.tensor(value)
    return found


def numpy_file(path: Path) -> HeldTensors:
    """Return the arrays of an ``.npz`` archive; those stored uncompressed are memory-mapped.

    Raises:
        CorruptArtifact: It is missing or damaged, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                info.filename.removesuffix(".npy"): _member(path, archive, info)
                for info in archive.infolist()
            }
    except FileNotFoundError as error:
        raise CorruptArtifact(path, "the file is missing") from error
    except _DAMAGED as error:
        raise CorruptArtifact(
            path, f"damaged, cut off, or not plain arrays ({error})", remedy="Fetch it again."
        ) from error
    return HeldTensors(path, arrays)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> torch.Tensor:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(member)
        header_bytes = member.tell()
        if info.compress_type != zipfile.ZIP_STORED or not shape or dtype.hasobject:
            member.seek(0)
            return torch.from_numpy(np.lib.format.read_array(member, allow_pickle=False).copy())
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_ZIP_LOCAL_HEADER_BYTES)
    name_bytes = int.from_bytes(local[26:28], "little")
    extra_bytes = int.from_bytes(local[28:30], "little")
    start = info.header_offset + _ZIP_LOCAL_HEADER_BYTES + name_bytes + extra_bytes + header_bytes
    order: Literal["F", "C"] = "F" if fortran else "C"
    # Copy on write: torch wants an array that could be written to, and the file stays as it is.
    mapped = np.memmap(path, dtype, mode="c", offset=start, shape=shape, order=order)
    return torch.from_numpy(mapped)
