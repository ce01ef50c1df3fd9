"""The registry that the settings name, filled in where it is empty.

A fresh installation whose served model is the embedded one answers with the run that ships, under
the name ``default_model_v1``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from glassbox.artifacts import Classifier
from glassbox.rollout.prediction import Predictor
from glassbox.rollout.version import Version
from glassbox.rollout.versions.loaders import Loaders, standard_loaders
from glassbox.rollout.versions.registering import Charts, Offer, Registrar
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.seeding import ACTOR, seed
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.settings import Settings
from glassbox.storage.database import open_database
from glassbox.types import TINY

SHIPPED_RUN: Final = Path(__file__).parents[2] / "assets" / "run"
"""Finished run of the embedded model."""


SHIPPED: Final = "shipped"
"""Name under which it can be registered."""


def open_registrar(
    settings: Settings, registry: Registry, loaders: Loaders | None = None, *, charts: Charts
) -> Registrar:
    """Return what registers versions and keeps their files where the settings say.

    A run may be named as commands do: ``shipped``, or its name below the folder of runs.

    Args:
        settings: Folder of versions.
        registry: Where they are written down.
        loaders: Bring each to life once before it is registered; None leaves that out.
        charts: Numbers of a run's charts, where it has not drawn them itself.
    """

    def find(source: str) -> str:
        below = settings.paths.runs / source
        if source == SHIPPED:
            return str(SHIPPED_RUN)
        is_bare = ":" not in source and not Path(source).exists()
        return str(below) if is_bare and below.is_dir() else source

    store = VersionStore(settings.paths.versions)
    return Registrar(registry, store, loaders=loaders, charts=charts, find=find)


def open_loaders(settings: Settings, classifier: Callable[[str, Path], Predictor]) -> Loaders:
    """Return what brings the versions to life whose files are where the settings say.

    Args:
        settings: Folder of versions.
        classifier: Makes an LLM classifier of its base model's name and the folder with its
            manifest.
    """

    def on_base(version: Version, folder: Path) -> Predictor:
        base = version.metadata.get("base", {}).get("path")
        return classifier(str(base or Classifier.load(folder).base.path), folder)

    return standard_loaders(VersionStore(settings.paths.versions), on_base)


def open_registry(
    settings: Settings,
    runs: Sequence[Path] = (),
    *,
    is_strict: bool = True,
    charts: Charts | None = None,
) -> Registry:
    """Return the registry of the database that the settings name.

    Args:
        settings: Database, folder of versions, served model, first champion and challengers.
        runs: Runs that are served: the first of them is the first version of an empty registry.
        is_strict: Whether a version that the settings name must be there.
        charts: Numbers of a run's charts, where it has not drawn them itself.

    Raises:
        UnknownName: The settings name a version that is not registered; lists those that are.
        CapacityError: The database cannot be reached.
        DependencyMissing: SQLAlchemy or the driver is not installed.
    """
    registry = Registry(open_database(settings.storage.url))
    run = next(iter(runs), SHIPPED_RUN if settings.engine.model == TINY else None)

    def first() -> Version:
        # The server loads it in a moment and says what is wrong; here it is only kept.
        registrar = Registrar(registry, VersionStore(settings.paths.versions), charts=charts)
        return registrar.register(Offer(str(run)), actor=ACTOR).version

    seed(registry, settings.rollout, None if run is None else first, is_strict=is_strict)
    return registry
