"""The registry in four functions: which version answers, whether one only sees, what there is.

Each looks at the registry of the settings in force, or at the one it is given.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, cast

from glassbox.rollout.prediction import Predictor
from glassbox.rollout.version import CHAMPION, DEFAULT_MODEL, DEFAULT_VERSION
from glassbox.rollout.versions.opening import open_registry
from glassbox.rollout.versions.registry import Registry
from glassbox.settings import load_settings

LOADER: Final = "glassbox.runtime:load_version"
"""What brings a version to life: the one place that knows all kinds' makers."""


def get_active_model_version(
    registry: Registry | None = None, *, model: str = DEFAULT_MODEL
) -> str:
    """Return the name of the version that answers; ``default_model_v1`` where none is set."""
    with _opened(registry) as opened:
        champion = opened.snapshot().aliased(CHAMPION, model)
    return DEFAULT_VERSION if champion is None else champion.name


def get_shadow_model_version(
    registry: Registry | None = None, *, model: str = DEFAULT_MODEL
) -> str | None:
    """Return the name of the first version that only sees requests, None where none does."""
    with _opened(registry) as opened:
        challengers = opened.snapshot().challengers(model)
    return challengers[0].name if challengers else None


def is_shadow_mode_enabled(registry: Registry | None = None, *, model: str = DEFAULT_MODEL) -> bool:
    """Whether there is a challenger; it is never the version that answers."""
    return get_shadow_model_version(registry, model=model) is not None


def list_available_versions(registry: Registry | None = None) -> list[str]:
    """Return the names of all registered versions, by model and number."""
    with _opened(registry) as opened:
        return [each.name for each in opened.snapshot().versions]


def load_model(version: str, registry: Registry | None = None) -> Predictor:
    """Return a version brought to life in this process; close it after use.

    Args:
        version: Name, number, alias, or address as in ``models:/default@champion``.
        registry: Where it is looked for; None is the one that the settings name.

    Raises:
        UnknownName: There is no such version; lists those that there are.
        CorruptArtifact: Its files are not what was registered.
        GlassboxError: It cannot be loaded: says why.
    """
    with _opened(registry) as opened:
        found = opened.version(version)
    module, _, name = LOADER.partition(":")
    load = getattr(importlib.import_module(module), name)
    return cast("Predictor", load(asdict(found)))


@contextmanager
def _opened(registry: Registry | None) -> Iterator[Registry]:
    if registry is not None:
        yield registry
        return
    opened = open_registry(load_settings())
    try:
        yield opened
    finally:
        opened.close()
