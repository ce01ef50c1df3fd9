"""The registry told to MLflow: one run a version with its figures, versions, aliases.

One way, repeatable, and never while a request waits. What MLflow calls a version keeps MLflow's
own number; tags say which of ours it is, and the content's digest tells what is there already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glassbox.engine.model.attempt import attempt
from glassbox.errors import CapacityError, DependencyMissing, GlassboxError, InvalidValue
from glassbox.rollout.version import CHAMPION, PREVIOUS_CHAMPION, Version, is_challenger
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.settings import keep_mlflow_silent

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG: Final = "glassbox.digest"
"""Tag of an MLflow version with the content's SHA-256."""

LONGEST_PARAMETER: Final = 500
"""Characters of a parameter. Source: the limit of older MLflow servers."""


@dataclass(frozen=True)
class Exported:
    """What was written to MLflow."""

    uri: str
    """Where."""
    n_new: int
    """Versions that were not there before."""
    n_known: int
    """Versions that were."""
    aliases: Mapping[str, Mapping[str, int]]
    """For each model: alias to MLflow's version number."""


def export(
    registry: Registry, store: VersionStore, uri: str, *, model: str | None = None
) -> Exported:
    """Return what was written to an MLflow tracking server and registry.

    Args:
        registry: What is told.
        store: Files of the versions; those that are not there are left out.
        uri: As in ``https://mlflow.example.org`` or ``sqlite:///mlflow.db``.
        model: Only this registered model.

    Raises:
        DependencyMissing: MLflow is not installed.
        InvalidValue: MLflow does not take the address.
        CapacityError: It does not answer, or refused.
    """
    keep_mlflow_silent()
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise DependencyMissing(error.name or "mlflow", "mlflow") from error
    snapshot = registry.snapshot(is_fresh=True)
    models = sorted({each.model for each in snapshot.versions if model in (None, each.model)})
    if model is not None and not models:
        raise InvalidValue("model", model, ", ".join(sorted({e.model for e in snapshot.versions})))
    told = attempt(
        lambda: _Exporter(MlflowClient(tracking_uri=uri, registry_uri=uri), store).all(
            {name: [e for e in snapshot.versions if e.model == name] for name in models},
            snapshot.aliases,
            uri,
        )
    )
    if isinstance(told, Exception):
        raise _translated(told, uri) from told
    return told


class _Exporter:
    def __init__(self, client: "MlflowClient", store: VersionStore) -> None:
        self._client = client
        self._store = store
        self._n_new = 0
        self._n_known = 0

    def all(
        self,
        versions: Mapping[str, list[Version]],
        aliases: Mapping[str, Mapping[str, int]],
        uri: str,
    ) -> Exported:
        found = {}
        for model, own in versions.items():
            theirs = self._versions(model, own)
            wanted = {alias: theirs[number] for alias, number in aliases.get(model, {}).items()}
            self._aliases(model, wanted)
            found[model] = wanted
        return Exported(uri, self._n_new, self._n_known, found)

    def _versions(self, model: str, versions: list[Version]) -> dict[int, int]:
        """Return our numbers to theirs, once all versions are there."""
        # By its name: MLflow lists no more than a hundred models at once.
        if not self._client.search_registered_models(f"name='{model}'"):
            self._client.create_registered_model(model, tags={"glassbox": "true"})
        there = {
            str((each.tags or {}).get(DIGEST_TAG)): int(each.version)
            for each in self._client.search_model_versions(f"name='{model}'")
        }
        numbers = {}
        for version in versions:
            if version.digest in there:
                numbers[version.number] = there[version.digest]
                self._n_known += 1
                continue
            numbers[version.number] = self._add(version)
            self._n_new += 1
        return numbers

    def _add(self, version: Version) -> int:
        name = f"glassbox/{version.model}"
        experiment = self._client.get_experiment_by_name(name)
        ident = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run = self._client.create_run(
            ident, start_time=round(1000 * version.created_s), run_name=version.name
        )
        run_id = run.info.run_id
        for key, value in _parameters(version).items():
            self._client.log_param(run_id, key, str(value)[:LONGEST_PARAMETER])
        for key, number in _figures(version.metadata).items():
            self._client.log_metric(run_id, key, number)
        folder = self._store.folder / version.digest
        if folder.is_dir():
            self._client.log_artifacts(run_id, str(folder), "version")
        self._client.set_terminated(run_id)
        made = self._client.create_model_version(
            version.model,
            source=f"{run.info.artifact_uri}/version",
            run_id=run_id,
            tags={
                DIGEST_TAG: version.digest,
                "glassbox.version": str(version.number),
                "glassbox.name": version.name,
                "glassbox.kind": version.kind,
            },
            description=f"{version.name}, registered with Glassbox as {version.uri}",
        )
        return int(made.version)

    def _aliases(self, model: str, wanted: Mapping[str, int]) -> None:
        there = self._client.get_registered_model(model).aliases or {}
        for alias in set(there) - set(wanted):
            # Aliases that somebody gave in MLflow alone are theirs.
            if alias in (CHAMPION, PREVIOUS_CHAMPION) or is_challenger(alias):
                self._client.delete_registered_model_alias(model, alias)
        for alias, number in wanted.items():
            if int(there.get(alias, 0)) != number:
                self._client.set_registered_model_alias(model, alias, str(number))


def _parameters(version: Version) -> dict[str, Any]:
    wanted = ("calibrator", "labels", "made_from", "measured_on", "n_rows", "class", "run")
    base = version.metadata.get("base", {})
    data = version.metadata.get("data", {})
    threshold = version.metadata.get("threshold") or {}
    found = {
        "kind": version.kind,
        "digest": version.digest,
        "source": version.source,
        "base": base.get("path"),
        "base_digest": base.get("digest"),
        "data_digest": data.get("digest"),
        "threshold": threshold.get("value"),
        **{name: version.metadata.get(name) for name in wanted},
    }
    return {name: value for name, value in found.items() if value is not None}


def _figures(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return what was measured, with the bounds of each interval under names with dots."""
    found = dict(metadata.get("metrics", {}))
    for name, interval in metadata.get("intervals", {}).items():
        found |= {f"{name}.low": interval["low"], f"{name}.high": interval["high"]}
    numeric = {name: each for name, each in found.items() if isinstance(each, int | float)}
    return {name: float(each) for name, each in numeric.items()}


def _translated(error: Exception, uri: str) -> GlassboxError:
    if isinstance(error, GlassboxError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return DependencyMissing(error.name or "mlflow", "mlflow")
    words = str(error).partition("\n")[0][:300]
    if "maintenance mode" in words:
        return InvalidValue(
            "MLflow's address",
            uri,
            "a server, as https://HOST, or sqlite:///FILE",
            remedy="MLflow no longer writes to plain folders unless MLFLOW_ALLOW_FILE_STORE=true.",
        )
    if "Invalid" in type(error).__name__ or "Unsupported" in type(error).__name__:
        return InvalidValue("MLflow's address", uri, "a server, as https://HOST, or sqlite:///FILE")
    return CapacityError(f"MLflow at {Path(uri).name} did not take it: {words}")
