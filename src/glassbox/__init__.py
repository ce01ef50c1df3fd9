"""Glassbox: an open-weights language model with its internals open.

The names below are the public Python interface; each is imported when it is first used, so that
``import glassbox`` is instant and works without torch. ``__version__`` is that of the installed
package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassbox.artifacts import Classifier
    from glassbox.client import AsyncClient, Client
    from glassbox.confidence.asking.classify import Labeller
    from glassbox.confidence.job import DataChoice, Job, Promise
    from glassbox.confidence.labels import LabelSet, default_labels, load_labels
    from glassbox.engine.protocol import Engine
    from glassbox.engine.resident import load_engine
    from glassbox.errors import GlassboxError
    from glassbox.runtime import Runtime
    from glassbox.settings import Settings
    from glassbox.stats.selective.threshold import choose_threshold
    from glassbox.techniques.client.blocking import InterpClient
    from glassbox.techniques.client.folders import load_techniques_from_dir
    from glassbox.techniques.conversion.standalone import convert_technique_to_standalone
    from glassbox.types import ModelSpec

    __version__: str

_HOMES = {
    "AsyncClient": "client",
    "Classifier": "artifacts",
    "Client": "client",
    "DataChoice": "confidence.job",
    "Engine": "engine.protocol",
    "GlassboxError": "errors",
    "InterpClient": "techniques.client.blocking",
    "Job": "confidence.job",
    "LabelSet": "confidence.labels",
    "Labeller": "confidence.asking.classify",
    "ModelSpec": "types",
    "Promise": "confidence.job",
    "Runtime": "runtime",
    "Settings": "settings",
    "choose_threshold": "stats.selective.threshold",
    "convert_technique_to_standalone": "techniques.conversion.standalone",
    "default_labels": "confidence.labels",
    "load_engine": "engine.resident",
    "load_labels": "confidence.labels",
    "load_techniques_from_dir": "techniques.client.folders",
}

__all__ = [
    "AsyncClient",
    "Classifier",
    "Client",
    "DataChoice",
    "Engine",
    "GlassboxError",
    "InterpClient",
    "Job",
    "LabelSet",
    "Labeller",
    "ModelSpec",
    "Promise",
    "Runtime",
    "Settings",
    "choose_threshold",
    "convert_technique_to_standalone",
    "default_labels",
    "load_engine",
    "load_labels",
    "load_techniques_from_dir",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # brings more than all the rest here

        return version("glassbox-llm")
    if name not in _HOMES:
        raise AttributeError(f"module 'glassbox' has no attribute {name!r}")
    return getattr(importlib.import_module(f"glassbox.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
