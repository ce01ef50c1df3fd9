"""Your own function beside the resident model: shipped, run, and everything it touched put back."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassbox.techniques.async_client import AsyncInterpClient
    from glassbox.techniques.calls import Limits
    from glassbox.techniques.client import InterpClient
    from glassbox.techniques.folders import load_techniques_from_dir
    from glassbox.techniques.modal_app import base_image
    from glassbox.techniques.standalone import convert_technique_to_standalone

_HOMES = {
    "AsyncInterpClient": "async_client",
    "InterpClient": "client",
    "Limits": "calls",
    "base_image": "modal_app",
    "convert_technique_to_standalone": "standalone",
    "load_techniques_from_dir": "folders",
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
