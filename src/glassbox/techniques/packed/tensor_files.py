"""The tensors of a result as a safetensors file, each under the path that names it.

Knows nothing of techniques; torch is used where a tensor is torch's.
"""

from pathlib import Path
from typing import Any

import numpy as np

from glassbox.artifacts import write_bytes
from glassbox.errors import InvalidValue
from glassbox.techniques.packed.parts import tensors_of


def write_tensors(value: object, path: Path) -> Path:
    """Write every tensor of a value and return the file.

    Raises:
        InvalidValue: The value holds no tensor, or the name does not end in ``.safetensors``.
        NoDiskSpace: The device is full.
    """
    if path.suffix != ".safetensors":
        raise InvalidValue("the file's name", str(path), "one that ends in .safetensors")
    found = tensors_of(value)
    if not found:
        raise InvalidValue("--tensors", str(path), "a result that holds tensors")
    write_bytes(path, _packed(found))
    return path


def _packed(found: dict[str, Any]) -> bytes:
    if all(isinstance(each, np.ndarray) for each in found.values()):
        from safetensors.numpy import save as save_arrays

        arrays: bytes = save_arrays(
            {name: np.ascontiguousarray(each) for name, each in found.items()}
        )
        return arrays
    import torch
    from safetensors.torch import save

    # Two names for one tensor are refused there, so each is a copy of its own.
    tensors: bytes = save(
        {name: torch.as_tensor(each).detach().cpu().clone().contiguous()
         for name, each in found.items()}
    )  # fmt: skip
    return tensors
