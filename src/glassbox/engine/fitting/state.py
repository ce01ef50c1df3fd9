"""The state of a fit on disk, so that a killed one goes on where it last validated.

One safetensors file holds the tensors (weights, AdamW's moments, the best weights so far) and, in
its header, everything else as JSON: one rename puts all of it in place or none. No random state is
kept because batches and dropout are functions of the seed and the step. Knows nothing of models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from glassbox.artifacts import digest_json, write_bytes
from glassbox.engine.protocol import FitPoint
from glassbox.errors import CorruptArtifact

STATE_SCHEMA = 1
"""Version of the layout of the state file."""

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Fingerprint:
    """What a fit depends on, as digests (hex), so that a changed input is found and named."""

    base: str
    """Base model."""
    recipe: str
    """Recipe."""
    training_examples: str
    """Training prompts and targets, in order."""
    validation_examples: str
    """Validation prompts and targets, in order."""
    continuations: str
    """Continuations, in order."""
    loss: str
    """Loss, as far as it can be told."""

    @property
    def digest(self) -> str:
        """All of it in one digest (hex)."""
        return digest_json(asdict(self))

    def changed(self, other: "Fingerprint") -> list[str]:
        """Return the names of the parts that differ."""
        mine, theirs = asdict(self), asdict(other)
        return [name.replace("_", " ") for name in mine if mine[name] != theirs[name]]


@dataclass
class FitState:
    """Where a fit is, right after a validation."""

    step: int = 0
    """Steps of the optimiser done."""
    n_worse: int = 0
    """Validations since the best one."""
    best_step: int = 0
    """Step of the lowest validation loss; 0 before the first validation."""
    curve: list[FitPoint] = field(default_factory=list)
    """Points so far."""
    weights: Tensors = field(default_factory=dict)
    """Adapter weights at this step."""
    best: Tensors = field(default_factory=dict)
    """Adapter weights at the best step."""
    first_moments: Tensors = field(default_factory=dict)
    """AdamW's running mean of the gradient."""
    second_moments: Tensors = field(default_factory=dict)
    """AdamW's running mean of its square."""


_GROUPS = ("weights", "best", "first_moments", "second_moments")


def write_state(path: Path, state: FitState, fingerprint: Fingerprint) -> None:
    """Write the state whole or not at all.

    Raises:
        NoDiskSpace: The device is full; the previous state stays.
    """
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group in _GROUPS
        for name, tensor in getattr(state, group).items()
    }
    described = {
        "schema_version": STATE_SCHEMA,
        "step": state.step,
        "n_worse": state.n_worse,
        "best_step": state.best_step,
        "curve": [asdict(point) for point in state.curve],
        "fingerprint": asdict(fingerprint),
    }
    write_bytes(path, save(tensors, metadata={"fit": orjson.dumps(described).decode()}))


def read_state(path: Path) -> tuple[FitState, Fingerprint]:
    """Return a written state and the fingerprint of its fit.

    Raises:
        CorruptArtifact: The file is damaged or of another version.
    """
    remedy = "Delete it to fit from the start."
    try:
        with safe_open(path, framework="pt") as file:
            described = orjson.loads((file.metadata() or {}).get("fit", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, orjson.JSONDecodeError) as error:
        raise CorruptArtifact(
            path, f"the state of a fit is damaged ({error})", remedy=remedy
        ) from error
    if described.get("schema_version") != STATE_SCHEMA:
        found = described.get("schema_version")
        raise CorruptArtifact(
            path, f"schema_version is {found!r}; this Glassbox reads {STATE_SCHEMA}", remedy=remedy
        )
    try:
        state = FitState(
            step=described["step"],
            n_worse=described["n_worse"],
            best_step=described["best_step"],
            curve=[FitPoint(**point) for point in described["curve"]],
            **{group: _under(group, tensors) for group in _GROUPS},
        )
        return state, Fingerprint(**described["fingerprint"])
    except (KeyError, TypeError) as error:
        raise CorruptArtifact(
            path, f"the state of a fit is incomplete ({error})", remedy=remedy
        ) from error


def _under(group: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    prefix = f"{group}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
