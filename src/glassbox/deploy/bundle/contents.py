"""What is to be packed, as its maker says it. Knows no file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from glassbox.deploy.bundle.description import Value
from glassbox.errors import InvalidSetting, InvalidValue
from glassbox.settings import known_settings, load_settings

BELONGS_TO_MACHINE: Final = frozenset(
    {
        "engine.model",
        "engine.adapter_url_prefix",
        "server.host",
        "server.port",
        "server.cors_origins",
        "server.large_answers",
    }
)
"""Settings of packed sections that say something of a place and not of what is served."""

PACKED_SECTIONS: Final = ("engine", "server")
"""Sections whose settings may travel: sizes and times. The others hold addresses, secrets, folders
and permissions, which are each target's own."""


@dataclass(frozen=True)
class Contents:
    """What a bundle is to hold."""

    base: str | None = None
    """Folder, hub name, ``s3://`` address or ``tiny``; None takes the model of the settings."""
    revision: str | None = None
    """Revision on the hub; None takes the one that is on this machine."""
    name: str | None = None
    """Name under which it is served; None takes the base model's own."""
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """Folders of LoRA adapters by the name that requests will give."""
    probes: tuple[Path, ...] = ()
    """Folders of trained probes."""
    classifiers: Mapping[str, str] = field(default_factory=dict)
    """Runs whose classifier is served, by the name that ``/v1/classify`` will take."""
    verifier: Path | None = None
    """Folder of a trained verifier."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Settings by dotted name that serving it wants."""


def packable_settings() -> tuple[str, ...]:
    """Return the names of the settings that may travel in a bundle."""
    keys = (info.key for info in known_settings())
    return tuple(
        key
        for key in keys
        if key.partition(".")[0] in PACKED_SECTIONS and key not in BELONGS_TO_MACHINE
    )


def checked_settings(given: Mapping[str, Value]) -> dict[str, Value]:
    """Return settings as they are packed, their values checked and in their own types.

    Raises:
        InvalidSetting: No such setting, or a value that is not allowed.
        InvalidValue: A setting that belongs to a machine, or holds a secret.
    """
    known = {info.key: info.variable for info in known_settings()}
    for key in given:
        if key not in known:
            raise InvalidSetting(key, "bundle", known)
        if key not in packable_settings():
            raise InvalidValue(
                "a bundle's setting",
                key,
                f"those of {' and '.join(PACKED_SECTIONS)} that say how to serve",
                remedy="A bundle is copied to many places, and this one belongs to each of them or "
                f"holds a secret: set {known[key]} there.",
            )
    sections = load_settings(given).model_dump(mode="json")
    return {key: _value(sections, key) for key in sorted(given)}


def _value(sections: Mapping[str, Mapping[str, Value]], key: str) -> Value:
    section, _, name = key.partition(".")
    return sections[section][name]
