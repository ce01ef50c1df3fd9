"""From a registered version to something that answers: its files checked first, then its kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

from glassbox.errors import UnsupportedModel
from glassbox.rollout.prediction import Predictor
from glassbox.rollout.version import Version, VersionKind
from glassbox.rollout.versions.input_schema import schema_of
from glassbox.rollout.versions.kinds.callable_kind import (
    CallablePredictor,
    file_function,
    loaded_function,
)
from glassbox.rollout.versions.kinds.sklearn_kind import (
    MODEL_FILE,
    SklearnPredictor,
    guessed_schema,
    load_skops,
)
from glassbox.rollout.versions.store_of_versions import VersionStore

Maker = Callable[[Version], Predictor]
"""Brings a version to life."""


class Loaders:
    """Brings versions to life, each by its kind.

    Args:
        makers: One for each kind.
    """

    def __init__(self, makers: Mapping[VersionKind, Maker]) -> None:
        self._makers = dict(makers)

    def load(self, version: Version) -> Predictor:
        """Return a version brought to life; close it after use.

        Raises:
            CorruptArtifact: Its files are not what was registered.
            UnsupportedModel: Nothing here brings its kind to life.
            GlassboxError: It cannot be loaded: says why.
        """
        maker = self._makers.get(version.kind)
        if maker is None:
            raise UnsupportedModel(
                f"{version.name!r} is of kind {version.kind!r}, which cannot be loaded here."
            )
        return maker(version)


def standard_loaders(
    store: VersionStore, classifier: Callable[[Version, Path], Predictor] | None = None
) -> Loaders:
    """Return the loaders of all kinds.

    Args:
        store: Where versions' files are.
        classifier: Makes an LLM classifier of its version and the folder with its manifest, which
            was checked; None where no model can be had.
    """

    def sklearn(version: Version) -> Predictor:
        folder = store.checked(version)
        model = load_skops(folder / MODEL_FILE, version.metadata.get("trusted_types", ()))
        return SklearnPredictor(model, schema_of(version) or guessed_schema(model))

    def function(version: Version) -> Predictor:
        if not version.metadata.get("is_file"):
            found = loaded_function(version.source, version.digest)
        else:
            path, _, name = version.source.rpartition(":")
            found = file_function(store.checked(version) / Path(path).name, name)
        return CallablePredictor(found, schema_of(version))

    makers: dict[VersionKind, Maker] = {"sklearn": sklearn, "callable": function}
    if classifier is not None:
        makers["llm-classifier"] = lambda version: classifier(version, store.checked(version))
    return Loaders(makers)
