"""A scikit-learn model as a version, read from a skops file: nothing in it is unpickled.

A skops file names the types that it would make. Those that skops does not know are made only if
whoever registered the version has listed them.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from glassbox.engine.model.attempt import attempt
from glassbox.errors import (
    CorruptArtifact,
    DependencyMissing,
    IntegrityError,
    InvalidData,
    NonFiniteOutput,
)
from glassbox.rollout.prediction import Features, Prediction
from glassbox.rollout.versions.input_schema import FeatureRule, InputSchema

MODEL_FILE: Final = "model.skops"
"""Name of the file in the store of versions."""

_LIBRARIES: Final = ("scikit-learn", "skops", "numpy")


def load_skops(path: Path, trusted: Sequence[str] = ()) -> Any:
    """Return the model in a skops file.

    Args:
        path: The file.
        trusted: Full names of the types that may be made beside those that skops trusts.

    Raises:
        DependencyMissing: skops is not installed.
        InvalidData: It would make types that nobody has listed.
        CorruptArtifact: It is damaged or no skops file.
    """
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise DependencyMissing("skops", "skops") from error
    unknown = attempt(lambda: skops.io.get_untrusted_types(file=path))
    if isinstance(unknown, Exception):
        raise CorruptArtifact(path, f"not a skops file that can be read ({unknown})") from unknown
    strangers = sorted(set(unknown) - set(trusted))
    if strangers:
        raise InvalidData(
            f"it would make objects of types that skops does not trust: {', '.join(strangers)}. "
            "Look at what they do; if you trust them, register with --trust TYPE for each.",
            source=str(path),
        )
    model = attempt(lambda: skops.io.load(path, trusted=list(trusted)))
    if isinstance(model, Exception):
        raise CorruptArtifact(path, f"it cannot be loaded ({model})") from model
    return model


def guessed_schema(model: Any) -> InputSchema:
    """Return what a fitted model takes as far as it tells itself: numbers under its own names.

    A model that was fitted without names takes ``x0``, ``x1``, …, which are scikit-learn's words.

    Raises:
        InvalidData: It does not say how many features it takes: is it fitted?
    """
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        # A property of a pipeline may raise where its first step knows nothing.
        n_features = attempt(lambda: int(model.n_features_in_))
        if isinstance(n_features, Exception):
            raise InvalidData(
                "the model does not say how many features it takes. Is it fitted? If it is, "
                "register it with --schema FILE.json."
            ) from n_features
        names = [f"x{place}" for place in range(n_features)]
    return InputSchema(tuple(FeatureRule(str(name)) for name in names))


def check_model(model: Any) -> None:
    """Let a model pass that answers with probabilities of classes, or with a number.

    Raises:
        InvalidData: It does neither.
    """
    if not hasattr(model, "predict"):
        raise InvalidData(f"a {type(model).__name__} has no predict(), so it is no model")
    if hasattr(model, "classes_") and not hasattr(model, "predict_proba"):
        raise InvalidData(
            f"a {type(model).__name__} tells classes but no probabilities. Wrap it before fitting, "
            "as in sklearn.calibration.CalibratedClassifierCV(model)."
        )


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that a model depends on, as installed here."""
    found = {}
    for name in _LIBRARIES:
        version = attempt(lambda name=name: importlib.metadata.version(name))  # type: ignore[misc]
        if isinstance(version, str):
            found[name] = version
    return found


class SklearnPredictor:
    """A scikit-learn model as a version.

    Args:
        model: The fitted model.
        schema: What it takes, in the order of its columns.
    """

    def __init__(self, model: Any, schema: InputSchema) -> None:
        check_model(model)
        self._model = model
        self._schema = schema
        self._named = getattr(model, "feature_names_in_", None) is not None
        classes = getattr(model, "classes_", None)
        self._labels = None if classes is None else [str(each) for each in classes]

    @property
    def labels(self) -> list[str] | None:
        """The classes; None for a model that answers with a number."""
        return self._labels

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        """Return one answer to each row; for classes, ``prediction`` is that of the first.

        Raises:
            UnknownName: A feature that it does not take.
            InvalidValue: A feature is missing, of another type, or out of range.
            IntegrityError: The model raised.
            NonFiniteOutput: It answered NaN or infinity.
        """
        if not rows:
            return []
        for row in rows:
            self._schema.check(row)
        table = self._table(rows)
        ask = self._model.predict if self._labels is None else self._model.predict_proba
        told = attempt(lambda: np.asarray(ask(table), dtype=np.float64))
        if isinstance(told, Exception):
            words = f"{type(told).__name__}: {told}"[:500]
            raise IntegrityError(f"{type(self._model).__name__} raised {words}") from told
        if told.shape[0] != len(rows) or told.size != len(rows) * len(self._labels or [0]):
            raise IntegrityError(
                f"{type(self._model).__name__} answered {told.shape} to {len(rows)} rows."
            )
        if not np.isfinite(told).all():
            raise NonFiniteOutput(f"{type(self._model).__name__} answered NaN or infinity.")
        if self._labels is None:
            return [Prediction(float(each)) for each in told.reshape(len(rows))]
        return [_classified(self._labels, probs) for probs in told.tolist()]

    def close(self) -> None:
        """Nothing is held."""

    def _table(self, rows: Sequence[Features]) -> Any:
        names = self._schema.names
        if not self._named:
            values = [[row.get(name) for name in names] for row in rows]
            is_numeric = all(each.type in ("number", "integer") for each in self._schema.features)
            return np.asarray(values, dtype=np.float64 if is_numeric else object)
        # A model that was fitted on named columns looks for them by name.
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise DependencyMissing("pandas", "skops") from error
        return pd.DataFrame({name: [row.get(name) for row in rows] for name in names})


def _classified(labels: Sequence[str], probs: Sequence[float]) -> Prediction:
    by_label = dict(zip(labels, probs, strict=True))
    best = max(by_label, key=lambda each: by_label[each])
    return Prediction(probs[0], by_label[best], best, by_label)


def schema_for(model: Any, given: Mapping[str, Any] | None) -> InputSchema:
    """Return the schema that was given, checked against the model, or the one it tells itself.

    Raises:
        InvalidValue: What was given is no schema.
        InvalidData: It names other features than the model was fitted on.
    """
    if given is None:
        return guessed_schema(model)
    schema = InputSchema.from_json(given)
    own = getattr(model, "feature_names_in_", None)
    if own is not None and list(schema.names) != [str(each) for each in own]:
        raise InvalidData(
            f"the schema names {', '.join(schema.names)}; the model was fitted on "
            f"{', '.join(map(str, own))}, in this order"
        )
    n_features = cast("int | None", getattr(model, "n_features_in_", None))
    if n_features is not None and n_features != len(schema.names):
        raise InvalidData(
            f"the schema names {len(schema.names)} features; the model takes {n_features}"
        )
    return schema
