"""From something on the disk to a registered version: looked at, loaded once, kept, written down.

A run of ``glassbox evaluate`` brings its classifier, adapter, figures and curves; a skops file its
model; a function the file that it stands in. Knows nothing of the command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import orjson

from glassbox.artifacts import (
    CLASSIFIER_FILE,
    RUN_SCHEMA,
    Classifier,
    Part,
    digest_files,
    indented_json,
    read_object,
)
from glassbox.engine.model.files import ADAPTER_FILES
from glassbox.errors import CorruptArtifact, GlassboxError, InvalidValue, UnknownName
from glassbox.rollout.version import DEFAULT_MODEL, Version, VersionKind
from glassbox.rollout.versions.input_schema import InputSchema
from glassbox.rollout.versions.kinds.callable_kind import file_function, import_function
from glassbox.rollout.versions.kinds.labelled import TEXT, TEXT_SCHEMA
from glassbox.rollout.versions.kinds.sklearn_kind import (
    MODEL_FILE,
    check_model,
    libraries,
    load_skops,
    schema_for,
)
from glassbox.rollout.versions.loaders import Loaders
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import Contents, VersionStore

ADAPTER: Final = "adapter"
"""Folder of the adapter beside a classifier: in a run that tuned one, and in the store."""

EXAMPLE_TEXT: Final = "A text that is read once to see that the version answers."
"""Asked of a classifier when it is registered."""

# The held-out texts stay in the run: a registry is no place for people's words.
_RUN_FILES: Final = ("results.json", "calibrators.json", "run.json")
_FIGURES: Final = ("accuracy", "ece", "brier", "nll", "auroc", "mean_confidence", "smooth_ece")

Charts = Callable[[Path], Mapping[str, Any]]
"""Returns the numbers of a run's charts by name."""


@dataclass(frozen=True)
class Offer:
    """What is to be registered, and what nobody can tell by looking at it."""

    source: str
    """A run folder, a ``.skops`` file, ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``."""
    model: str = DEFAULT_MODEL
    """Registered model that it becomes a version of."""
    name: str | None = None
    """Unique name; None makes one."""
    kind: VersionKind | None = None
    """None finds it out."""
    input_schema: Mapping[str, Any] | None = None
    """What it takes, as ``InputSchema.to_json`` gives; None takes what it tells itself."""
    trusted_types: tuple[str, ...] = ()
    """Types in a skops file that may be made beside those that skops trusts."""
    example: Mapping[str, Any] | None = None
    """Features asked once before it is registered; None takes a text for a classifier."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """More to keep with it."""


@dataclass(frozen=True)
class Registered:
    """What came of it."""

    version: Version
    """The version."""
    is_new: bool
    """Whether it was registered now; the same content had been before otherwise."""


@dataclass(frozen=True)
class _Kept:
    kind: VersionKind
    source: str
    digest: str
    metadata: Mapping[str, Any]
    example: Mapping[str, Any] | None = None


class Registrar:
    """Registers versions.

    Args:
        registry: Where they are written down.
        store: Where their files are kept.
        loaders: Bring each to life once before it is registered; None leaves that out.
        charts: Numbers of a run's charts, where it has not drawn them itself.
        find: Returns the path that a source stands for, as a run's bare name; None takes each as
            it is.
    """

    def __init__(
        self,
        registry: Registry,
        store: VersionStore,
        *,
        loaders: Loaders | None = None,
        charts: Charts | None = None,
        find: Callable[[str], str] | None = None,
    ) -> None:
        self._find = find
        self._registry = registry
        self._store = store
        self._loaders = loaders
        self._charts = charts

    def register(self, offer: Offer, *, actor: str) -> Registered:
        """Return the version that something is from now on, or was already.

        Raises:
            UnknownName: There is nothing of that name.
            InvalidValue: It cannot be told what it is, or a name is none.
            InvalidData: It is no model that can answer here.
            CorruptArtifact: It is damaged.
            ConflictError: The name is another version's.
            GlassboxError: It cannot be loaded, or cannot answer the example.
        """
        if self._find is not None:
            offer = replace(offer, source=self._find(offer.source))
        kind = offer.kind or kind_of(offer.source)
        keep = {"llm-classifier": self._run, "sklearn": self._skops, "callable": self._function}
        kept = keep[kind](offer)
        versions = self._registry.snapshot(is_fresh=True).versions
        is_new = all((each.model, each.digest) != (offer.model, kept.digest) for each in versions)
        metadata = {**kept.metadata, **offer.metadata}
        if is_new and self._loaders is not None:
            try:
                metadata["load_check"] = self._tried(self._loaders, kept, offer, metadata)
            except GlassboxError:
                if all(each.digest != kept.digest for each in versions):
                    self._store.remove(kept.digest)
                raise
        version = self._registry.register(
            offer.model, kept.kind, kept.source, kept.digest, metadata, offer.name, actor
        )
        return Registered(version, is_new)

    def _tried(
        self, loaders: Loaders, kept: _Kept, offer: Offer, metadata: Mapping[str, Any]
    ) -> dict[str, Any]:
        version = Version(
            model=offer.model,
            number=0,
            name=offer.name or offer.source,
            kind=kept.kind,
            digest=kept.digest,
            source=kept.source,
            created_s=0.0,
            metadata=metadata,
        )
        began_s = perf_counter()
        predictor = loaders.load(version)
        try:
            found: dict[str, Any] = {"load_s": round(perf_counter() - began_s, 3)}
            example = offer.example or kept.example
            if example is not None:
                answer = predictor.predict([example])[0]
                found |= {"features": example, "prediction": answer.prediction}
                found |= {} if answer.label is None else {"label": answer.label}
            return found
        finally:
            predictor.close()

    def _run(self, offer: Offer) -> _Kept:
        folder = Path(offer.source)
        manifest = Classifier.load(folder)
        answering: dict[str, Path | bytes] = {CLASSIFIER_FILE: folder / CLASSIFIER_FILE}
        if manifest.adapter is not None:
            _check_adapter(folder / manifest.adapter.path, manifest.adapter.digest)
            answering |= _adapter_files(folder, manifest.adapter.path)
            if manifest.adapter.path != ADAPTER:
                # Of the version it is a part like any other, wherever the run found it.
                here = replace(manifest, adapter=Part(ADAPTER, manifest.adapter.digest))
                answering[CLASSIFIER_FILE] = indented_json(here.to_json())
        measured = _measured(folder, (manifest.calibrator or {}).get("kind", "identity"))
        digest = self._store.put(answering, self._evidence(folder))
        metadata = {
            "base": {"path": _base_path(manifest, folder), "digest": manifest.base.digest},
            "adapter_digest": None if manifest.adapter is None else manifest.adapter.digest,
            "classifier_digest": manifest.digest,
            "labels": list(manifest.labels.get("classes", ())),
            "calibrator": (manifest.calibrator or {}).get("kind"),
            "threshold": manifest.threshold,
            "made_from": manifest.made_from,
            "run": folder.resolve().name,
            "input_schema": TEXT_SCHEMA.to_json(),
            **measured,
        }
        return _Kept("llm-classifier", digest, digest, metadata, {TEXT: EXAMPLE_TEXT})

    def _evidence(self, folder: Path) -> Contents:
        found: dict[str, Path | bytes] = {
            name: folder / name for name in _RUN_FILES if (folder / name).is_file()
        }
        drawn = sorted((folder / "charts").rglob("*.json"))
        found |= {f"charts/{each.name}": each for each in drawn}
        # Of a run that came in a bundle only what was drawn is there.
        if not drawn and self._charts is not None and (folder / "run.json").is_file():
            values = self._charts(folder)
            found |= {f"charts/{name}.json": orjson.dumps(each) for name, each in values.items()}
        return found

    def _skops(self, offer: Offer) -> _Kept:
        path = Path(offer.source)
        model = load_skops(path, offer.trusted_types)
        check_model(model)
        schema = schema_for(model, offer.input_schema)
        digest = self._store.put({MODEL_FILE: path}, {})
        classes = getattr(model, "classes_", None)
        metadata = {
            "class": type(model).__name__,
            "labels": None if classes is None else [str(each) for each in classes],
            "libraries": libraries(),
            "trusted_types": list(offer.trusted_types),
            "input_schema": schema.to_json(),
            "file": path.name,
        }
        return _Kept("sklearn", f"{digest}/{MODEL_FILE}", digest, metadata)

    def _function(self, offer: Offer) -> _Kept:
        where, _, name = offer.source.rpartition(":")
        given = offer.input_schema
        metadata: dict[str, Any] = (
            {} if given is None else {"input_schema": InputSchema.from_json(given).to_json()}
        )
        if not where.endswith(".py"):
            _, digest = import_function(offer.source)
            return _Kept("callable", offer.source, digest, metadata)
        path = Path(where)
        if not path.is_file():
            raise UnknownName("Python file", where)
        file_function(path, name)
        # The function's name is a file of its own, so that it counts in the digest.
        digest = self._store.put({path.name: path, "function.txt": name.encode()}, {})
        metadata |= {"is_file": True, "file": path.name}
        return _Kept("callable", f"{digest}/{path.name}:{name}", digest, metadata)


def _adapter_files(folder: Path, path: str) -> dict[str, Path]:
    """Return the files of a run's adapter by where they are kept, which no manifest decides.

    Hidden ones are no part of it: a desktop's, or what a killed writer left.

    Args:
        folder: Of the run.
        path: The adapter's, as the manifest says it: its own, or one that lies anywhere.
    """
    place = folder / path
    files = place.rglob("*") if path == ADAPTER else (place / name for name in ADAPTER_FILES)
    return {
        f"{ADAPTER}/{each.relative_to(place)}": each
        for each in files
        if each.is_file() and not each.name.startswith(".")
    }


def _check_adapter(place: Path, digest: str) -> None:
    """Do nothing if an adapter is the one that its run was measured with.

    Loading would find the same of the copy that is kept, whose path nobody has given.

    Raises:
        CorruptArtifact: Its files are missing, damaged or another adapter's.
    """
    # Where it comes from, the third, is no part of what answers.
    files = [place / name for name in ADAPTER_FILES[:2]]
    absent = [each.name for each in files if not each.is_file()]
    if absent:
        raise CorruptArtifact(place, f"the adapter's {' and '.join(absent)} cannot be found")
    if (found := digest_files(files)) != digest:
        raise CorruptArtifact(
            place,
            f"the adapter has digest {found[:12]}, not {digest[:12]} with which the run was "
            "measured: it is damaged or another one",
            remedy="Restore it, or run 'glassbox evaluate' again.",
        )


def kind_of(source: str) -> VersionKind:
    """Return the kind of version that something on the disk, or an import path, would be.

    Raises:
        UnknownName: There is no such folder or file.
        InvalidValue: It is none of the three.
    """
    path = Path(source)
    if (path / CLASSIFIER_FILE).is_file():
        return "llm-classifier"
    if path.is_file() and path.suffix == ".skops":
        return "sklearn"
    if ":" in source and not path.exists():
        return "callable"
    if not path.exists():
        raise UnknownName("run folder, skops file or function", source)
    raise InvalidValue(
        "source",
        source,
        f"a run folder with {CLASSIFIER_FILE}, a file that ends with .skops, FILE.py:FUNCTION or "
        "MODULE:FUNCTION",
        remedy="A scikit-learn model is written with skops.io.dump(model, 'model.skops').",
    )


def _base_path(manifest: Classifier, folder: Path) -> str:
    path = Path(manifest.base_from(folder))
    # A relative folder would mean another one where the server runs.
    return str(path.resolve()) if path.is_dir() else manifest.base.path


def _measured(folder: Path, calibrator: str) -> dict[str, Any]:
    """Return what a run measured of its final model, for lists; all of it is in the evidence.

    Raises:
        CorruptArtifact: What it wrote is damaged, or a newer Glassbox wrote it.
    """
    try:
        return _read_figures(folder, calibrator)
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(
            folder,
            f"run.json or results.json is not what a run writes ({error})",
            remedy="Make the run again.",
        ) from error


def _read_figures(folder: Path, calibrator: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (folder / "run.json").is_file():
        data = read_object(folder / "run.json", schema=RUN_SCHEMA).get("data", {})
        found["data"] = {name: data[name] for name in ("source", "digest", "parts") if name in data}
    if (folder / "results.json").is_file():
        results = read_object(folder / "results.json", schema=RUN_SCHEMA)
        model = results.get("models", {}).get(results.get("final"), {})
        metrics = model.get("metrics", {}).get(calibrator, {})
        figures = {name: metrics[name] for name in _FIGURES if name in metrics}
        bounded = {name: each for name, each in figures.items() if isinstance(each, dict)}
        found["metrics"] = {**figures, **{name: each["estimate"] for name, each in bounded.items()}}
        found["intervals"] = {
            name: {key: each[key] for key in ("low", "high", "level")}
            for name, each in bounded.items()
        }
        found["measured_on"] = results.get("measured_on")
        found["n_rows"] = metrics.get("n_rows")
        found["results_digest"] = digest_files([folder / "results.json"])
    return found
