"""What a model will be once it is loaded, told from its files alone.

Knows files and number formats; loads nothing.
"""

from typing import NamedTuple

from glassbox.engine.model.devices import choose_device, choose_dtype, dtype_name
from glassbox.engine.model.files import model_digest
from glassbox.engine.model.finding import find_model
from glassbox.types import ModelSpec


class Identity(NamedTuple):
    """What decides a model's answers; as ``EngineInfo`` has it of a loaded one."""

    digest: str
    """SHA-256 (hex) over configuration, tokenizer and weights."""
    dtype: str
    """Number format of the weights."""


def identity_of(spec: ModelSpec) -> Identity:
    """Return what a model will be on this machine; its weights are read once, and not kept.

    Args:
        spec: Which model, and how; without quantization.

    Raises:
        UnknownName: No such folder, hub name, revision or embedded model.
        UnsupportedModel: This machine has no such device.
    """
    dtype = choose_dtype(choose_device(spec.device), spec.dtype)
    return Identity(model_digest(find_model(spec.model, spec.revision)), dtype_name(dtype))
