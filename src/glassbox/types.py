"""Small frozen values that every floor shares.

Knows nothing of torch, files or HTTP.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, get_args

TINY: Final = "tiny"
"""Means the embedded thing wherever a model, SAEs, texts or prompts are named."""

TokenIds = tuple[int, ...]
"""Vocabulary ids in reading order."""

Site = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "final_norm"]
"""Where inside a layer something is read or written; ``final_norm`` exists at the last layer only
and is the last layer's output after the norm that precedes the output head."""

Pooling = Literal["mean", "last", "norm", "none"]
"""How the positions of a span become one answer: the mean vector, the last position's vector, the
mean over positions of the L2 norm (one number), or every position's vector."""

Scope = Literal["prompt", "generated", "all"]
"""Which positions a capture covers; a hidden system prompt is never among them."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""All of them."""

Quantization = Literal["8bit", "4bit"]
"""Weight formats of bitsandbytes."""

FinishReason = Literal["stop", "length", "context", "given", "deadline", "cancelled"]
"""``stop``: end of text or a stop string; ``length``: ``max_tokens`` are written; ``context``: the
context is full before that; ``given``: the response was given and has been read; ``deadline``: time
ran out on the way."""

OverlongPolicy = Literal["error", "truncate", "skip"]
"""What happens to a text that does not fit the context."""

BadRows = Literal["error", "drop"]
"""What happens to a row that cannot be used: stop with its line, or leave it out and count it."""


@dataclass(frozen=True)
class ModelSpec:
    """Which model to make resident, and how."""

    model: str
    """Folder, hub name, ``NAME@REVISION`` of the hub, or ``tiny`` for the embedded model."""
    adapter: str | None = None
    """Folder of a PEFT LoRA adapter that is active from the start."""
    revision: str | None = None
    """Hub revision; None takes the default branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: bfloat16 where the hardware multiplies it natively, else float32."""
    device: str = "auto"
    """``auto`` (CUDA, then MPS, then CPU) or a torch device name."""
    quantization: Quantization | None = None
    """bitsandbytes weights; CUDA only."""


@dataclass(frozen=True)
class HookPoint:
    """A place in the model where a tensor is read or written."""

    layer: int
    """0-based layer; negative counts from the end."""
    site: Site = "resid_post"
    """Where inside the layer."""


@dataclass(frozen=True)
class Capture:
    """Which hidden states a request wants back, and in what form."""

    points: tuple[HookPoint, ...]
    """Places to read; distinct."""
    pooling: tuple[Pooling, ...] = ("mean", "last", "norm")
    """Forms wanted of each."""
    scope: Scope = "prompt"
    """Positions covered."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether what JSON or TOML says is a number; a truth value, an int to Python, is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
