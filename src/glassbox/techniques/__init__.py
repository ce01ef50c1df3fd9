"""Your own function beside the resident model: shipped, run, and everything it touched put back."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassbox.techniques.calls import Limits
    from glassbox.techniques.client.blocking import InterpClient
    from glassbox.techniques.client.concurrent import AsyncInterpClient
    from glassbox.techniques.client.folders import load_techniques_from_dir
    from glassbox.techniques.conversion.standalone import convert_technique_to_standalone
    from glassbox.techniques.remote.modal_image import base_image

_HOMES = {
    "AsyncInterpClient": "client.concurrent",
    "InterpClient": "client.blocking",
    "Limits": "calls",
    "base_image": "remote.modal_image",
    "convert_technique_to_standalone": "conversion.standalone",
    "load_techniques_from_dir": "client.folders",
}

__all__ = [
    "AsyncInterpClient",
    "InterpClient",
    "Limits",
    "base_image",
    "convert_technique_to_standalone",
    "load_techniques_from_dir",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'glassbox.techniques' has no attribute {name!r}")
    return getattr(importlib.import_module(f"glassbox.techniques.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
