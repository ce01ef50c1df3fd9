"""Base models in an object store: fetched once, whole or not at all, and named when they fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassbox.deploy.bundle import Contents, make_bundle, opened
from glassbox.deploy.bundle.model_store import fetch_model
from glassbox.engine.model.files import model_files
from glassbox.engine.model.finding import find_model
from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.runtime import Runtime

boto3 = pytest.importorskip("boto3", reason="object stores need boto3 (extra 'sagemaker')")
moto = pytest.importorskip("moto", reason="the object store of these tests is moto's")

URL = "s3://models/llama"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path in model_files(find_model("tiny")):
            client.put_object(Bucket="models", Key=f"llama/{path.name}", Body=path.read_bytes())
        client.put_object(Bucket="models", Key="llama/code.py", Body=b"print('never fetched')")
        yield client


def test_a_model_is_fetched_once_and_packed_by_its_address(s3: Any, tmp_path: Path) -> None:
    runtime = Runtime.load({"paths.bundles": tmp_path / "cache"})
    bundle = make_bundle(runtime, Contents(base=URL), tmp_path / "b")
    tiny = make_bundle(runtime, Contents(base="tiny"), tmp_path / "t")
    assert (bundle.base.kind, bundle.base.reference, bundle.name) == ("s3", URL, "llama")
    assert bundle.base.digest == tiny.base.digest
    assert not bundle.files
    (folder,) = (tmp_path / "cache").iterdir()
    assert not (folder / "code.py").exists(), "no code is fetched"
    for path in model_files(find_model("tiny")):
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert opened(tmp_path / "b", cache=tmp_path / "cache").wanted.model == str(folder)
    assert fetch_model(f"{URL}/", tmp_path / "cache") == folder


def test_a_changed_model_is_another_folder(s3: Any, tmp_path: Path) -> None:
    before = fetch_model(URL, tmp_path)
    s3.put_object(Bucket="models", Key="llama/config.json", Body=b"{}")
    assert fetch_model(URL, tmp_path) != before


def test_what_is_not_there_is_named(s3: Any, tmp_path: Path) -> None:
    for url in ("s3://models/nothing", "s3://nowhere/llama"):
        with pytest.raises(UnknownName, match=url):
            fetch_model(url, tmp_path)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_a_file_that_changes_midway_leaves_nothing_behind(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glassbox.deploy.bundle import model_store

    listed = model_store._listed

    def stale(*words: Any) -> Any:
        found = listed(*words)
        s3.put_object(Bucket="models", Key="llama/config.json", Body=b"{}")
        return found

    monkeypatch.setattr(model_store, "_listed", stale)
    with pytest.raises(CorruptArtifact, match="changed while it was fetched"):
        fetch_model(URL, tmp_path)
    assert not list(tmp_path.iterdir())
