"""Registering: what lies on the disk is looked at, loaded once, kept and written down."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from glassbox.artifacts import Classifier, Part
from glassbox.engine.model.files import ADAPTER_FILES
from glassbox.errors import (
    ConflictError,
    CorruptArtifact,
    InvalidData,
    InvalidValue,
    NonFiniteOutput,
    UnknownName,
)
from glassbox.rollout.versions.loaders import Loaders, standard_loaders
from glassbox.rollout.versions.opening import open_registry
from glassbox.rollout.versions.registering import Offer, Registrar, kind_of
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.runtime import SHIPPED_RUN, Runtime, load_version
from glassbox.settings import load_settings
from glassbox.storage.database import open_database


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry(open_database("sqlite://"))
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "versions")


@pytest.fixture
def loaders(store: VersionStore) -> Loaders:
    return standard_loaders(store)


@pytest.fixture
def registrar(registry: Registry, store: VersionStore, loaders: Loaders) -> Registrar:
    return Registrar(registry, store, loaders=loaders)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    data, labels = load_iris(return_X_y=True)
    path = tmp_path / "iris.skops"
    skops.io.dump(LogisticRegression(max_iter=500).fit(data, labels), path)
    return path


def test_a_skops_model_is_kept_with_what_it_tells_of_itself(
    registrar: Registrar, model_file: Path, loaders: Loaders
) -> None:
    example = {"x0": 5.1, "x1": 3.5, "x2": 1.4, "x3": 0.2}
    made = registrar.register(Offer(str(model_file), model="iris", example=example), actor="ann")
    assert made.is_new
    assert made.version.name == "iris_model_v1"
    assert made.version.metadata["labels"] == ["0", "1", "2"]
    assert made.version.metadata["libraries"]["scikit-learn"]
    assert made.version.metadata["load_check"]["label"] == "0"
    model_file.unlink()
    assert loaders.load(made.version).predict([example])[0].label == "0"


def test_registering_twice_gives_the_same_version(registrar: Registrar, model_file: Path) -> None:
    first = registrar.register(Offer(str(model_file)), actor="ann")
    again = registrar.register(Offer(str(model_file)), actor="bob")
    assert again.version == first.version
    assert (first.is_new, again.is_new) == (True, False)
    with pytest.raises(ConflictError, match="registered already, as 'default_model_v1'"):
        registrar.register(Offer(str(model_file), name="mine"), actor="bob")
    other = registrar.register(Offer(str(model_file), model="iris"), actor="bob")
    assert other.is_new
    assert other.version.digest == first.version.digest


def test_a_corrupt_model_is_refused_when_it_is_loaded(
    registrar: Registrar, model_file: Path, loaders: Loaders, store: VersionStore
) -> None:
    version = registrar.register(Offer(str(model_file)), actor="ann").version
    path = store.folder / version.source
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptArtifact, match=r"'default_model_v1' is not what was registered"):
        loaders.load(version)


def test_what_does_not_load_is_not_registered_and_leaves_nothing(
    registrar: Registrar, registry: Registry, store: VersionStore, tmp_path: Path
) -> None:
    path = tmp_path / "odd.py"
    path.write_text("def odd(row):\n    return float('nan')\n")
    with pytest.raises(NonFiniteOutput, match="nan"):
        registrar.register(Offer(f"{path}:odd", example={"a": 1}), actor="ann")
    (tmp_path / "bad.skops").write_bytes(b"nothing")
    with pytest.raises(CorruptArtifact, match=r"bad\.skops"):
        registrar.register(Offer(str(tmp_path / "bad.skops")), actor="ann")
    assert registry.snapshot(is_fresh=True).versions == ()
    assert [each for each in store.folder.glob("*")] == []


def test_a_function_in_a_file_is_kept_with_its_source(
    registrar: Registrar, tmp_path: Path, loaders: Loaders
) -> None:
    path = tmp_path / "rules.py"
    path.write_text("def one(row):\n    return 1\ndef two(row):\n    return 2\n")
    schema = {"features": [{"name": "a"}]}
    one = registrar.register(Offer(f"{path}:one", input_schema=schema), actor="ann").version
    two = registrar.register(Offer(f"{path}:two", input_schema=schema), actor="ann").version
    path.unlink()
    assert one.digest != two.digest
    assert [loaders.load(each).predict([{"a": 0}])[0].prediction for each in (one, two)] == [1, 2]
    with pytest.raises(UnknownName, match="No feature 'b'"):
        loaders.load(one).predict([{"b": 0}])


def test_a_function_by_import_path_is_an_address(registrar: Registrar, loaders: Loaders) -> None:
    version = registrar.register(
        Offer("tests.rollout.versions.test_registering:steady", example={"a": 2}), actor="ann"
    ).version
    assert version.source == "tests.rollout.versions.test_registering:steady"
    assert version.metadata["load_check"]["prediction"] == 4.0
    assert loaders.load(version).predict([{"a": 3}])[0].prediction == 6.0


def steady(row: dict[str, float]) -> float:
    return 2.0 * row["a"]


def test_it_is_told_what_a_source_would_be(
    registrar: Registrar, tmp_path: Path, model_file: Path
) -> None:
    assert kind_of(str(SHIPPED_RUN)) == "llm-classifier"
    assert kind_of(str(model_file)) == "sklearn"
    assert kind_of("a.b:c") == "callable"
    with pytest.raises(UnknownName, match="run folder, skops file or function"):
        kind_of("nowhere")
    (tmp_path / "model.pkl").write_bytes(b"")
    for wrong in (tmp_path, tmp_path / "model.pkl"):
        with pytest.raises(InvalidValue, match=r"skops\.io\.dump"):
            kind_of(str(wrong))
    with pytest.raises(UnknownName, match="Python file"):
        registrar.register(Offer(f"{tmp_path}/no.py:f"), actor="ann")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("registered")
    return Runtime.load(places(folder))


def places(folder: Path) -> dict[str, object]:
    return {"storage.url": f"sqlite:///{folder}/g.db", "paths.versions": str(folder / "versions")}


def test_the_run_that_ships_answers_as_classify_does(runtime: Runtime) -> None:
    texts = ["A wonderful, moving film.", "Dull and far too long.", "It was on a Tuesday."]
    labeller = runtime.labeller(SHIPPED_RUN)
    expected = labeller.classify(texts)
    registry = runtime.registry()
    version = registry.version("default_model_v1")
    loaders = runtime.version_loaders(labeller.model.engine)
    for predictor in (
        loaders.load(version),
        load_version(orjson.loads(orjson.dumps(vars(version))), places(_folder(runtime))),
    ):
        answers = predictor.predict([{"text": each} for each in texts])
        for answer, classification in zip(answers, expected, strict=True):
            assert answer.label == classification.label
            assert answer.confidence == classification.confidence
            assert answer.label_probs == classification.label_probs
            assert list(answer.label_probs) == ["negative", "positive"]
            assert answer.prediction == classification.label_probs["negative"]
            assert answer.summaries["n_tokens"] > 0
        with pytest.raises(UnknownName, match="No feature 'texts'"):
            predictor.predict([{"texts": "x"}])
        with pytest.raises(InvalidValue, match="feature 'text' is 3"):
            predictor.predict([{"text": 3}])
        predictor.close()
    charts = VersionStore(runtime.settings.paths.versions).charts(version)
    assert charts["reliability_raw_model_output"]["values"]
    labeller.model.engine.close()
    registry.close()


def test_an_evaluation_run_is_registered_without_its_held_out_texts(
    runtime: Runtime, tmp_path: Path
) -> None:
    registry = runtime.registry()
    version = registry.version("default_model_v1")
    folder = VersionStore(runtime.settings.paths.versions).checked(version)
    kept = {each.name for each in (folder / "evidence").rglob("*.json")}
    assert {"results.json", "calibrators.json", "run.json", "risk_coverage.json"} <= kept
    assert "test_set.json" not in kept
    copied = tmp_path / "mine"
    shutil.copytree(SHIPPED_RUN, copied)
    (copied / "charts" / "calibration").mkdir(parents=True)
    (copied / "charts" / "calibration" / "mine.json").write_text('{"values": 1}')
    again = runtime.registrar(registry).register(Offer(str(copied)), actor="ann")
    assert not again.is_new, "charts are no part of what answers"
    assert runtime.registrar(registry).register(Offer("shipped"), actor="ann") == again
    (copied / "classifier.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match="schema_version"):
        runtime.registrar(registry).register(Offer(str(copied)), actor="ann")
    registry.close()


@pytest.mark.parametrize(
    ("name", "change", "refusal"),
    [
        ("run.json", {"schema_version": 2}, "run.json: schema_version is 2; this Glassbox reads 1"),
        ("results.json", {"schema_version": 2}, "results.json: schema_version is 2"),
        ("run.json", {"data": None}, "not what a run writes .* Make the run again"),
        ("results.json", {"models": [1]}, "not what a run writes .* Make the run again"),
    ],
)
def test_a_run_whose_figures_another_glassbox_wrote_is_refused_and_leaves_nothing(
    registrar: Registrar, store: VersionStore, tmp_path: Path, name: str, change: Any, refusal: str
) -> None:
    copied = tmp_path / "mine"
    shutil.copytree(SHIPPED_RUN, copied)
    content = orjson.loads((copied / name).read_bytes())
    (copied / name).write_bytes(orjson.dumps(content | change))
    with pytest.raises(CorruptArtifact, match=refusal):
        registrar.register(Offer(str(copied)), actor="ann")
    assert not store.folder.exists() or not list(store.folder.iterdir())


@pytest.mark.parametrize("path", ["../../../beside/adapter", "{place}", "."])
def test_an_adapter_from_elsewhere_is_kept_with_the_version_and_nowhere_else(
    tmp_path: Path, path: str
) -> None:
    place, copied = tmp_path / "beside" / "adapter", tmp_path / "x" / "y" / "run"
    shutil.copytree(SHIPPED_RUN, copied)
    shutil.copytree(copied / "adapter", copied if path == "." else place, dirs_exist_ok=True)
    shutil.rmtree(copied / "adapter")
    manifest = Classifier.load(copied)
    assert manifest.adapter is not None
    part = Part(path.format(place=place), manifest.adapter.digest)
    replace(manifest, adapter=part).save(copied)
    home = tmp_path / "home" / "deep"
    runtime = Runtime.load(places(home))
    registry = open_registry(runtime.settings)
    store = VersionStore(runtime.settings.paths.versions)
    version = Registrar(registry, store).register(Offer(str(copied)), actor="ann").version
    kept = store.checked(version)
    written = {str(each.relative_to(kept)) for each in kept.rglob("*") if each.is_file()}
    assert {each for each in written if not each.startswith("evidence/")} == {
        "classifier.json",
        "files.json",
        *(f"adapter/{name}" for name in ADAPTER_FILES),
    }
    assert Classifier.load(kept).adapter == Part("adapter", manifest.adapter.digest)
    assert {each.name for each in (tmp_path / "home").iterdir()} == {"deep"}
    assert {each.name for each in home.iterdir() if each.is_dir()} == {"versions"}
    registry.close()


def test_what_a_killed_writer_left_makes_no_other_version(tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(SHIPPED_RUN, copied)
    runtime = Runtime.load(places(tmp_path / "home"))
    registry = open_registry(runtime.settings)
    registrar = Registrar(registry, VersionStore(runtime.settings.paths.versions))
    whole = registrar.register(Offer(str(copied)), actor="ann").version
    (copied / ".lock").touch()
    (copied / "adapter" / ".adapter_model.safetensors.0123abcd").write_bytes(b"half")
    assert registrar.register(Offer(str(copied)), actor="ann").version.digest == whole.digest
    registry.close()


@pytest.mark.parametrize("damage", ["half", "missing"])
def test_a_damaged_adapter_is_refused_where_it_lies_and_nothing_is_kept(
    tmp_path: Path, damage: str
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(SHIPPED_RUN, copied)
    weights = copied / "adapter" / "adapter_model.safetensors"
    if damage == "half":
        weights.write_bytes(weights.read_bytes()[:1000])
        refusal = f"{copied / 'adapter'}: the adapter has digest .* damaged or another one"
    else:
        weights.unlink()
        refusal = f"{copied / 'adapter'}: the adapter's {weights.name} cannot be found"
    runtime = Runtime.load(places(tmp_path / "home"))
    registry = open_registry(runtime.settings)
    store = VersionStore(runtime.settings.paths.versions)
    held = sorted(store.folder.iterdir())
    with pytest.raises(CorruptArtifact, match=refusal):
        Registrar(registry, store).register(Offer(str(copied)), actor="ann")
    assert sorted(store.folder.iterdir()) == held
    registry.close()


def test_a_damaged_adapter_is_found_before_a_model_is_loaded(tmp_path: Path) -> None:
    runtime = Runtime.load(places(tmp_path))
    registry = open_registry(runtime.settings)
    version = registry.version("default_model_v1")
    weights = runtime.settings.paths.versions / version.digest / "adapter"
    path = weights / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptArtifact, match="not what was registered"):
        load_version(vars(version), places(tmp_path))
    store = VersionStore(runtime.settings.paths.versions)
    healed = Registrar(registry, store).register(Offer(str(SHIPPED_RUN)), actor="ann")
    assert healed.version == version
    store.checked(version)
    registry.close()


def test_servers_that_start_at_once_seed_one_version(tmp_path: Path) -> None:
    open_database(str(places(tmp_path)["storage.url"])).close()
    problems: list[BaseException] = []

    def start() -> None:
        try:
            open_registry(load_settings(places(tmp_path))).close()
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert problems == []
    registry = open_registry(load_settings(places(tmp_path)))
    assert [each.name for each in registry.snapshot().versions] == ["default_model_v1"]
    assert len(registry.history()) == 1
    registry.close()


def test_a_schema_that_does_not_fit_is_refused(registrar: Registrar, model_file: Path) -> None:
    with pytest.raises(InvalidData, match="names 1 features; the model takes 4"):
        registrar.register(
            Offer(str(model_file), input_schema={"features": [{"name": "a"}]}), actor="ann"
        )


def _folder(runtime: Runtime) -> Path:
    return runtime.settings.paths.versions.parent
