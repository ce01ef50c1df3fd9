"""The state of a training on disk: one safetensors file, in place whole or not at all.

Knows nothing of what the tensors mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from glassbox.artifacts import write_bytes
from glassbox.errors import ConflictError, CorruptArtifact

STATE_FILE = "training.safetensors"
"""Name of the file while a training runs."""

STATE_SCHEMA = 1
"""Version of its layout."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where a training is, right after a chunk."""

    identity: str
    """Digest (hex) of all that the result depends on."""
    next_chunk: int
    """Number of the first chunk that has not been seen."""
    step: int
    """Steps of the optimiser done."""
    seconds: float
    """Time spent so far."""
    curve: list[dict[str, Any]]
    """Points so far."""
    tensors: Mapping[str, torch.Tensor]
    """``{layer}/{name}`` to values."""


def write_state(folder: Path, state: TrainingState) -> None:
    """Write a state.

    Raises:
        NoDiskSpace: The device is full; the state before stays.
    """
    described = {
        "schema_version": STATE_SCHEMA,
        "identity": state.identity,
        "next_chunk": state.next_chunk,
        "step": state.step,
        "seconds": state.seconds,
        "curve": state.curve,
    }
    plain = {name: each.cpu().contiguous() for name, each in state.tensors.items()}
    content = save(plain, metadata={"training": orjson.dumps(described).decode()})
    write_bytes(folder / STATE_FILE, content)


def read_state(folder: Path, identity: str) -> TrainingState | None:
    """Return the state that a killed training left, or None if there is none.

    Raises:
        CorruptArtifact: The file is damaged.
        ConflictError: It belongs to a training with other data, model or recipe.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            described = orjson.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if described.pop("schema_version") != STATE_SCHEMA:
            raise CorruptArtifact(
                path,
                "the state of a training by another version of Glassbox",
                remedy="Go on with that version, or delete it to begin anew.",
            )
        state = TrainingState(tensors=tensors, **described)
    except (SafetensorError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CorruptArtifact(
            path, f"the state of a training is damaged ({error})", remedy="Delete it to begin anew."
        ) from error
    if state.identity != identity:
        raise ConflictError(
            f"{path} belongs to a training with another model, other texts or another recipe. "
            "Give another folder, or delete it to begin anew."
        )
    return state
