"""The safetensors format for float32 arrays, in numpy alone, so that the client stays light.

Source: the safetensors format (github.com/huggingface/safetensors, README, "Format"): eight bytes
with the length of a JSON header, the header, the arrays one after another.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from glassbox.errors import CorruptArtifact

_ALIGNMENT = 8
"""The header is filled up with spaces to a multiple of this."""

_SOURCE = "safetensors answer"


def to_safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return float32 arrays and some texts as safetensors bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    parts, end = [], 0
    for name, array in arrays.items():
        part = np.ascontiguousarray(array, dtype="<f4")
        start, end = end, end + part.nbytes
        header[name] = {"dtype": "F32", "shape": list(part.shape), "data_offsets": [start, end]}
        parts.append(part.tobytes())
    words = orjson.dumps(header)
    words += b" " * (-len(words) % _ALIGNMENT)
    return b"".join([len(words).to_bytes(8, "little"), words, *parts])


def from_safetensors(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the float32 arrays and texts of some safetensors bytes.

    Raises:
        CorruptArtifact: The bytes are no safetensors, cut short, or of another number format.
    """
    try:
        n_words = int.from_bytes(content[:8], "little")
        header = orjson.loads(content[8 : 8 + n_words])
        notes = header.pop("__metadata__", {})
        metadata = {str(name): str(value) for name, value in notes.items()}
        body = memoryview(content)[8 + n_words :]
        return {name: _array(name, entry, body) for name, entry in header.items()}, metadata
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(_SOURCE, f"it cannot be read ({error})") from error


def _array(name: str, entry: dict[str, Any], body: memoryview) -> np.ndarray:
    shape: list[int] = entry["shape"]
    start, end = map(int, entry["data_offsets"])
    if entry["dtype"] != "F32":
        raise CorruptArtifact(_SOURCE, f"{name} is {entry['dtype']}; this reads F32")
    if end > len(body) or end - start != 4 * math.prod(shape):
        raise CorruptArtifact(_SOURCE, f"{name} is cut short")
    return np.frombuffer(body[start:end], dtype="<f4").reshape(shape)
