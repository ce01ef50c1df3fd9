"""Bundles of the embedded model: made, checked, verified, opened, and refused where they must."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from glassbox.artifacts import Classifier, Part, digest_files, indented_json, write_json
from glassbox.deploy.bundle import (
    BUNDLE_FILE,
    Bundle,
    Contents,
    Recorded,
    make_bundle,
    opened,
    read_bundle,
    verify_bundle,
)
from glassbox.deploy.bundle.archive import hash_of, opened_source
from glassbox.deploy.bundle.bases import find_base, locate_base
from glassbox.engine.lora.files import adapter_digest
from glassbox.engine.model.files import model_files
from glassbox.engine.model.finding import find_model
from glassbox.errors import (
    AdapterMismatch,
    ConflictError,
    CorruptArtifact,
    InvalidSetting,
    InvalidValue,
    UnknownName,
)
from glassbox.runtime import SHIPPED_RUN, SHIPPED_VERIFIER, Runtime
from tests.bundles import ADAPTER, a_probe, another_adapter, full_contents, make


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime.load({"paths.bundles": tmp_path / "cache", "paths.runs": tmp_path / "runs"})


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """Folder of a model that differs from the embedded one in its configuration."""
    folder = tmp_path / "other-model"
    shutil.copytree(find_model("tiny"), folder)
    config = orjson.loads((folder / "config.json").read_bytes())
    write_json(folder / "config.json", {**config, "note": "another one"})
    (folder / "LICENSE").write_text("Whose it is.")
    return folder


def test_a_folder_and_an_archive_of_the_same_content_share_their_digest(tmp_path: Path) -> None:
    folder, bundle = make(tmp_path)
    archive, packed = make(tmp_path, "bundle.tar.gz")
    _, again = make(tmp_path, "again.tar.gz")
    assert bundle == packed == again == read_bundle(folder) == read_bundle(archive)
    assert archive.read_bytes() == (tmp_path / "again.tar.gz").read_bytes()
    for place in (folder, archive):
        found = verify_bundle(place)
        assert found.is_whole
        assert (found.n_files, found.n_bytes) == (len(bundle.files), bundle.n_bytes)
    assert bundle.adapters["support"].digest == adapter_digest(ADAPTER)
    assert bundle.classifiers["sentiment"].digest == Classifier.load(SHIPPED_RUN).digest
    assert bundle.base.digest == digest_files(model_files(find_model("tiny")))
    assert not bundle.base.has_weights
    text = (folder / "bundle.json").read_text()
    assert str(tmp_path) not in text, "nothing tells of this machine"
    assert "test_set" not in text, "people's words stay behind"


def test_a_bundle_that_is_opened_says_what_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, bundle = make(tmp_path, "bundle.tar.gz")
    found = opened(archive, cache=tmp_path / "cache")
    assert found.overrides == {"engine.threads": 1, "server.drain_s": 20.0, "engine.model": "tiny"}
    wanted = found.wanted
    assert (wanted.model, wanted.name) == ("tiny", "tiny")
    assert (wanted.base_digest, wanted.bundle_digest) == (bundle.base.digest, bundle.digest)
    assert {name: adapter_digest(Path(path)) for name, path in wanted.adapters} == {
        name: part.digest for name, part in bundle.adapters.items()
    }
    assert [name for name, _ in wanted.classifiers] == ["sentiment"]
    assert wanted.verifier == found.folder / "verifier"
    monkeypatch.setenv("GLASSBOX_SERVER__DRAIN_S", "3")
    here = opened(archive, cache=tmp_path / "cache", base="elsewhere")
    assert here.overrides == {"engine.threads": 1, "engine.model": "elsewhere"}, "ours wins"
    assert here.wanted.model == "elsewhere"


@pytest.mark.parametrize(
    "setting",
    [
        {"storage.url": "sqlite:////tmp/theirs.db"},
        {"techniques.mode": "shared"},
        {"server.cors_origins": "https://evil.example"},
        {"engine.adapter_url_prefix": "s3://theirs/"},
    ],
)
def test_a_bundle_sets_nothing_of_the_machine_whoever_wrote_it(
    runtime: Runtime, tmp_path: Path, setting: dict[str, str]
) -> None:
    made = make_bundle(runtime, Contents(base="tiny"), tmp_path / "b")
    written = replace(made, settings=setting).to_json()
    (tmp_path / "b" / BUNDLE_FILE).write_bytes(indented_json(written))
    with pytest.raises(InvalidValue, match="belongs to each of them or holds a secret"):
        opened(tmp_path / "b")


def test_the_weights_of_a_folder_travel_with_their_licence(
    runtime: Runtime, tmp_path: Path, other_model: Path
) -> None:
    bundle = make_bundle(runtime, Contents(base=str(other_model), name="ours"), tmp_path / "b")
    assert bundle.base.has_weights
    assert (bundle.base.kind, bundle.base.reference) == ("folder", "other-model")
    assert "base/LICENSE" in bundle.files
    assert verify_bundle(tmp_path / "b").is_whole
    found = opened(tmp_path / "b")
    assert found.overrides["engine.model"] == str(tmp_path / "b" / "base")
    assert digest_files(model_files(Path(found.wanted.model or ""))) == bundle.base.digest
    (tmp_path / "b" / "base" / "merges.txt").write_text("one file more")
    with pytest.raises(CorruptArtifact, match=r"base/merges\.txt: it is not in the description"):
        opened(tmp_path / "b")


def test_a_classifier_finds_the_base_model_that_travels_with_it(tmp_path: Path) -> None:
    model = str(find_model("tiny"))
    place, _ = make(tmp_path, base=model, adapters={}, verifier=None)
    run = place / "classifiers" / "sentiment"
    assert Classifier.load(run).base_from(run) == str(place / "base")
    labeller = Runtime.load({"engine.threads": 1}).labeller(run)
    (found,) = labeller.classify(["a wonderful day"])
    labeller.model.engine.close()
    assert found is not None
    assert found.label == "positive"


def test_a_reference_without_weights_is_found_where_the_target_has_it(
    runtime: Runtime, tmp_path: Path, other_model: Path
) -> None:
    contents = Contents(base=str(other_model))
    bundle = make_bundle(runtime, contents, tmp_path / "b", with_weights=False)
    assert list(bundle.files) == []
    assert opened(tmp_path / "b").wanted.model == str(other_model)
    other_model.rename(tmp_path / "moved")
    with pytest.raises(UnknownName, match="--with-weights"):
        _ = opened(tmp_path / "b").wanted
    assert opened(tmp_path / "b", base=str(tmp_path / "moved")).wanted.base_digest


def test_a_hub_model_is_named_by_its_commit(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    found = find_base("org/model", commit, with_weights=None, cache=tmp_path)
    assert found.folder is None
    assert (found.base.kind, found.base.revision, found.base.digest) == ("hub", commit, "")
    said = find_base(f"org/model@{commit}", None, with_weights=None, cache=tmp_path)
    assert said == found
    for revision in (None, "main", commit[:39]):
        with pytest.raises(InvalidValue, match="a commit of 40 hexadecimal digits"):
            find_base("org/model", revision, with_weights=None, cache=tmp_path)
    with pytest.raises(UnknownName, match="org/model"):
        find_base("org/model", commit, with_weights=True, cache=tmp_path)
    with pytest.raises(InvalidValue, match="not on the hub"):
        find_base("tiny", commit, with_weights=None, cache=tmp_path)


def test_a_hub_model_that_is_here_is_named_by_its_commit_and_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--org--model"
    shutil.copytree(find_model("tiny"), home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = find_base("org/model", None, with_weights=None, cache=tmp_path)
    assert (found.base.revision, found.base.has_weights) == (commit, False)
    said = find_base(f"org/model@{commit}", None, with_weights=None, cache=tmp_path)
    assert said == found
    assert found.base.digest == digest_files(model_files(find_model("tiny")))
    runtime = Runtime.load({"paths.bundles": tmp_path / "cache"})
    bundle = make_bundle(runtime, Contents(base="org/model"), tmp_path / "b")
    located = locate_base(bundle, tmp_path / "b", cache=tmp_path)
    assert Path(located) == home / "snapshots" / commit


def test_parts_of_another_base_model_are_refused(
    runtime: Runtime, tmp_path: Path, other_model: Path
) -> None:
    base = str(other_model)
    for contents, what in (
        (Contents(base=base, adapters={"a": ADAPTER}), "The adapter in"),
        (Contents(base=base, classifiers={"c": "shipped"}), "The classifier of"),
        (Contents(base=base, verifier=SHIPPED_VERIFIER), "The verifier in"),
    ):
        with pytest.raises(AdapterMismatch, match=what):
            make_bundle(runtime, contents, tmp_path / "b")
        assert not (tmp_path / "b").exists()


def test_a_base_that_is_another_than_the_bundles_is_found_by_verify(
    runtime: Runtime, tmp_path: Path, other_model: Path
) -> None:
    """Files may all be whole and yet not belong together: a description put together by hand."""
    make_bundle(runtime, Contents(base=str(other_model)), tmp_path / "b")
    adapter = tmp_path / "b" / "adapters" / "a"
    shutil.copytree(ADAPTER, adapter, ignore=shutil.ignore_patterns("README.md", "training*"))
    forged = _described_anew(tmp_path / "b", {"a": adapter_digest(ADAPTER)})
    (fault,) = verify_bundle(tmp_path / "b").faults
    assert fault.path == "adapters/a"
    assert "it was made for a base model" in fault.reason
    _described_anew(tmp_path / "b", {"a": "0" * 64})
    assert "not the adapter with digest 000" in verify_bundle(tmp_path / "b").faults[0].reason
    assert forged != read_bundle(tmp_path / "b")


def _described_anew(folder: Path, adapters: dict[str, str]) -> Bundle:
    files = {}
    for each in sorted(folder.rglob("*")):
        if each.is_file() and each.name != BUNDLE_FILE:
            with opened_source(each) as content:
                files[each.relative_to(folder).as_posix()] = Recorded(*hash_of(content))
    parts = {name: Part(f"adapters/{name}", digest) for name, digest in adapters.items()}
    bundle = replace(read_bundle(folder), adapters=parts, files=files)
    write_json(folder / BUNDLE_FILE, bundle.to_json())
    return bundle


def test_an_adapter_of_unknown_origin_is_packed_as_it_is(runtime: Runtime, tmp_path: Path) -> None:
    folder = another_adapter(tmp_path / "foreign")
    bundle = make_bundle(runtime, Contents(base="tiny", adapters={"f": folder}), tmp_path / "b")
    assert bundle.adapters["f"].digest == adapter_digest(folder) != adapter_digest(ADAPTER)
    assert sorted(bundle.files) == [
        "adapters/f/adapter_config.json",
        "adapters/f/adapter_model.safetensors",
    ]


def test_every_fault_of_a_folder_is_listed_and_the_first_is_raised(tmp_path: Path) -> None:
    folder, bundle = make(tmp_path)
    weights = folder / "adapters" / "support" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    (folder / "verifier" / "verifier.json").unlink()
    (folder / "classifiers" / "sentiment" / "classifier.json").write_bytes(b"{}")
    (folder / "stray.txt").write_text("a stray file")
    found = verify_bundle(folder)
    assert [each.path for each in found.faults] == [
        "adapters/support/adapter_model.safetensors",
        "classifiers/sentiment/classifier.json",
        "stray.txt",
        "verifier/verifier.json",
    ]
    with pytest.raises(CorruptArtifact, match=r"adapter_model\.safetensors: .*and 3 more"):
        opened(folder)
    assert bundle == found.bundle


def test_making_the_same_again_changes_nothing_and_another_needs_leave(
    runtime: Runtime, tmp_path: Path
) -> None:
    folder, bundle = make(tmp_path)
    written = (folder / "bundle.json").stat().st_mtime_ns
    make(tmp_path)
    assert (folder / "bundle.json").stat().st_mtime_ns == written
    part = sorted(bundle.files)[0]
    (folder / part).write_bytes(b"something else")
    with pytest.raises(ConflictError, match=f"this bundle, damaged: {part}: .*--replace"):
        make(tmp_path)
    other = full_contents(tmp_path, verifier=None)
    with pytest.raises(ConflictError, match="--replace"):
        make_bundle(runtime, other, folder)
    assert read_bundle(folder) == bundle
    replaced = make_bundle(runtime, other, folder, replaces=True)
    assert read_bundle(folder) == replaced
    assert verify_bundle(folder).is_whole
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError, match="is no bundle"):
        make_bundle(runtime, other, tmp_path / "mine", replaces=True)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"settings": {"storage.url": "x"}}, InvalidValue, "GLASSBOX_STORAGE__URL there"),
        ({"settings": {"server.port": 1}}, InvalidValue, "belongs to each of them"),
        ({"settings": {"server.prot": 1}}, InvalidSetting, "Did you mean"),
        ({"settings": {"server.drain_s": "soon"}}, InvalidSetting, "drain_s"),
        ({"name": "a/b"}, InvalidValue, "name of the bundle"),
        ({"adapters": {"../x": ADAPTER}}, InvalidValue, "name of the adapter"),
        ({"adapters": {"a": Path("nowhere")}}, UnknownName, "adapter folder 'nowhere'"),
        ({"classifiers": {"c": "nowhere"}}, UnknownName, "finished run"),
        ({"verifier": Path("nowhere")}, UnknownName, "verifier"),
        ({"probes": (Path("nowhere"),)}, UnknownName, "probe"),
        ({"base": "no model here"}, UnknownName, "no model here"),
    ],
)
def test_what_cannot_be_packed_is_named(runtime, tmp_path, more, error, match) -> None:
    with pytest.raises(error, match=match):
        make_bundle(runtime, Contents(**{"base": "tiny", **more}), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_looking_at_a_bundle_needs_none_of_the_models_libraries(tmp_path: Path) -> None:
    archive, _ = make(tmp_path, "bundle.tar.gz")
    heavy = {"torch", "transformers", "fastapi", "peft"}
    code = (
        "import sys; from pathlib import Path; from glassbox.deploy.bundle import *\n"
        f"p = Path({str(archive)!r}); read_bundle(p); assert verify_bundle(p).is_whole\n"
        f"opened(p, cache=Path({str(tmp_path / 'cache')!r}))\n"
        f"assert not {heavy!r} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_probe_travels_if_its_adapter_does(runtime: Runtime, tmp_path: Path) -> None:
    plain, tuned = a_probe(tmp_path / "plain"), a_probe(tmp_path / "tuned", adapter=ADAPTER)
    bundle = make_bundle(runtime, Contents(base="tiny", probes=(plain,)), tmp_path / "b")
    assert list(bundle.probes) == ["plain"]
    assert verify_bundle(tmp_path / "b").is_whole
    with pytest.raises(AdapterMismatch, match="Pack that adapter too"):
        make_bundle(runtime, Contents(base="tiny", probes=(tuned,)), tmp_path / "c")
    both = Contents(base="tiny", probes=(tuned,), adapters={"a": ADAPTER})
    assert list(make_bundle(runtime, both, tmp_path / "c").probes) == ["tuned"]
