"""``/v1/adapters``: load, list and unload LoRA adapters while serving."""

from typing import Annotated, Literal

from pydantic import Field

from glassbox.wire.shapes import Answered, Asked, FilledText, PathText

AdapterName = Annotated[FilledText, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
"""A name that an adapter may be given."""


class AdapterLoadAsked(Asked):
    """An adapter to load."""

    name: AdapterName
    """Name that requests will give as their model."""
    path: PathText
    """Folder on the server with PEFT's files, or an `s3://` address."""


class LoraLoadAsked(Asked):
    """An adapter to load, in vLLM's words."""

    lora_name: AdapterName
    """Name that requests will give as their model."""
    lora_path: PathText
    """Folder on the server with PEFT's files, or an `s3://` address."""
    load_inplace: bool = False
    """Whether another adapter of that name makes room."""


class LoraUnloadAsked(Asked):
    """An adapter to unload, in vLLM's words."""

    lora_name: FilledText
    """Its name."""
    lora_int_id: int | None = None
    """Ignored: here an adapter has a name and a digest."""


class AdapterAnswered(Answered):
    """One adapter that requests may name."""

    name: str
    """Name it was loaded under."""
    digest: str
    """SHA-256 over its configuration and weights (hex)."""
    rank: int
    """Largest rank among its layers."""
    n_bytes: int
    """Size of its weights in bytes."""
    tier: Literal["disk", "host", "device"]
    """Where its weights are now."""


class AdaptersAnswered(Answered):
    """All of them."""

    object: Literal["list"] = "list"
    """What this is."""
    data: list[AdapterAnswered]
    """Sorted by name."""
