"""Tensors in files, read by parts: safetensors, NumPy archives, weights-only PyTorch files.

Whole matrices are never read to get at a few rows. Knows nothing of what the tensors mean.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - only what weights_only raises
from typing import Any, Literal, Protocol

import numpy as np
import orjson
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


_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class _Entry:
    """Where one tensor lies."""

    shape: tuple[int, ...]
    dtype: str
    """As the file calls it."""
    start: int
    """First byte in the file."""


class SafetensorsFile:
    """A safetensors file, read by parts.

    Not mapped: what was read of a mapping stays resident as long as that, so that a layer's file
    would be in memory beside the layer.

    Raises:
        CorruptArtifact: It is missing, damaged or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _entries(path)

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors."""
        return frozenset(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """Return a tensor's number format."""
        found = self._entries[name].dtype
        known = _SAFETENSORS_DTYPES.get(found)
        return found if known is None else str(known).removeprefix("torch.")

    def rows(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "n ..."]:
        """Return some neighbouring rows."""
        entry = self._entries[name]
        part = self._empty(name, (stop - start, *entry.shape[1:]))
        row_bytes = math.prod(entry.shape[1:]) * part.itemsize
        self._fill([_bytes(part.flatten())], entry.start + start * row_bytes, 0)
        return part

    def columns(self, name: str, start: int, stop: int) -> Shaped[torch.Tensor, "d n"]:
        """Return some neighbouring columns."""
        entry = self._entries[name]
        if stop - start == entry.shape[1]:
            return self.rows(name, 0, entry.shape[0])
        part = self._empty(name, (entry.shape[0], stop - start))
        row_bytes = entry.shape[1] * part.itemsize
        self._fill(_bytes(part), entry.start + start * part.itemsize, row_bytes)
        return part

    def read(self, name: str) -> Shaped[torch.Tensor, "..."]:
        """Return a whole tensor."""
        entry = self._entries[name]
        whole = self._empty(name, entry.shape)
        self._fill([_bytes(whole.flatten())], entry.start, 0)
        return whole

    def _empty(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        found = self._entries[name].dtype
        if found not in _SAFETENSORS_DTYPES:
            known = ", ".join(_SAFETENSORS_DTYPES)
            raise CorruptArtifact(
                self.path, f"{name!r} is in the number format {found!r}; these are read: {known}"
            )
        return torch.empty(shape, dtype=_SAFETENSORS_DTYPES[found])

    def _fill(self, parts: Iterable[Shaped[np.ndarray, "_"]], start: int, step: int) -> None:
        """Read bytes into each part, the first's from a place on, each other's a step further."""
        try:
            with self.path.open("rb", buffering=0) as file:
                for number, part in enumerate(parts):
                    file.seek(start + number * step)
                    missing = part.data
                    while missing:
                        n_read = file.readinto(missing)
                        if not n_read:
                            raise CorruptArtifact(self.path, "cut off since it was opened")
                        missing = missing[n_read:]
        except OSError as error:
            raise CorruptArtifact(self.path, f"cannot be read any more ({error})") from error


def _bytes(tensor: torch.Tensor) -> Shaped[np.ndarray, "..."]:
    """Return a new tensor's memory as bytes, its last axis lengthened."""
    found: np.ndarray = tensor.view(torch.uint8).numpy()
    return found


def _entries(path: Path) -> dict[str, _Entry]:
    """Return where the tensors of a safetensors file lie.

    Source: the format's description, huggingface/safetensors README, "Format".
    """
    try:
        # The library finds what is damaged, and holds the sizes against the file's.
        with safe_open(path, framework="pt", device="cpu"), path.open("rb") as file:
            (n_header,) = struct.unpack("<Q", file.read(8))
            header = orjson.loads(file.read(n_header))
    except FileNotFoundError as error:
        raise CorruptArtifact(path, "the file is missing") from error
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(
            path,
            f"damaged or cut off ({error})",
            remedy="Fetch it again; its size tells whether it arrived whole.",
        ) from error
    return {
        name: _Entry(tuple(each["shape"]), each["dtype"], 8 + n_header + each["data_offsets"][0])
        for name, each in header.items()
        if name != "__metadata__"
    }


class HeldTensors:
    """Tensors that PyTorch or NumPy keeps, memory-mapped where the file allows it.

    What was read of a mapping stays until the system wants its room.
    """

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
