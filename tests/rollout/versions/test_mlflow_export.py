"""The export to MLflow, with MLflow itself on a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glassbox.errors import CapacityError, InvalidValue
from glassbox.rollout.versions.mlflow_export import DIGEST_TAG, export
from glassbox.rollout.versions.opening import open_registry
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.settings import keep_mlflow_silent, load_settings


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "versions")


@pytest.fixture
def registry(tmp_path: Path, store: VersionStore) -> Iterator[Registry]:
    """A registry with the shipped run as champion and two more versions."""
    places = {"storage.url": f"sqlite:///{tmp_path}/g.db", "paths.versions": str(store.folder)}
    made = open_registry(load_settings(places))
    for name in ("enhanced_model_v2", "experimental_v3"):
        digest = store.put({"model.skops": name.encode()}, {})
        made.register("default", "sklearn", f"{digest}/model.skops", digest, name=name)
    yield made
    made.close()


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    keep_mlflow_silent()
    return f"file:{tmp_path}/mlruns"


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_runs_versions_and_aliases_arrive_and_follow(
    registry: Registry, store: VersionStore, uri: str
) -> None:
    move = {"actor": "ann", "reason": "try"}
    registry.move_alias("default", "challenger", 3, expected=None, **move)
    first = export(registry, store, uri)
    assert (first.n_new, first.n_known) == (3, 0)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    champion = client.get_model_version_by_alias("default", "champion")
    version = registry.version("default_model_v1")
    assert champion.tags[DIGEST_TAG] == version.digest
    assert champion.tags["glassbox.name"] == "default_model_v1"
    run = client.get_run(champion.run_id)
    assert run.data.metrics["accuracy"] == pytest.approx(0.85125)
    assert run.data.metrics["accuracy.low"] < 0.85 < run.data.metrics["accuracy.high"]
    assert run.data.params["calibrator"] == "platt"
    assert run.data.params["base"] == "tiny"
    assert run.info.status == "FINISHED"
    kept = [each.path for each in client.list_artifacts(champion.run_id, "version")]
    assert "version/classifier.json" in kept
    challenger = client.get_model_version_by_alias("default", "challenger")
    assert challenger.tags["glassbox.name"] == "experimental_v3"

    client.set_registered_model_alias("default", "theirs", champion.version)
    registry.promote("default", 3, expected_champion=1, **move)
    second = export(registry, store, uri, model="default")
    assert (second.n_new, second.n_known) == (0, 3)
    aliases = client.get_registered_model("default").aliases
    names = {
        alias: client.get_model_version("default", number).tags["glassbox.name"]
        for alias, number in aliases.items()
    }
    assert names == {
        "champion": "experimental_v3",
        "previous_champion": "default_model_v1",
        "theirs": "default_model_v1",
    }
    assert second.aliases == {
        "default": {each: int(aliases[each]) for each in ("champion", "previous_champion")}
    }


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_a_model_is_found_among_more_than_mlflow_lists_at_once(
    registry: Registry, store: VersionStore, uri: str
) -> None:
    export(registry, store, uri)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for place in range(101):
        client.create_registered_model(f"a{place:03d}")
    assert "default" not in [each.name for each in client.search_registered_models()]
    second = export(registry, store, uri)
    assert (second.n_new, second.n_known) == (0, 3)


def test_an_address_that_mlflow_does_not_take_is_named(
    registry: Registry, store: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_mlflow_silent()
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(InvalidValue, match="MLFLOW_ALLOW_FILE_STORE"):
        export(registry, store, f"file:{tmp_path}/other")
    with pytest.raises(InvalidValue, match="MLflow's address is 'ftpx://nowhere'"):
        export(registry, store, "ftpx://nowhere")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(CapacityError, match="did not take it"):
        export(registry, store, "http://127.0.0.1:9")
    with pytest.raises(InvalidValue, match="model is 'nothing'"):
        export(registry, store, f"file:{tmp_path}/other", model="nothing")
