"""Adapters while serving: loaded, listed, named by requests, unloaded; under vLLM's names too."""

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from glassbox.confidence.asking.classify import Labeller
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> TestClient:
    return TestClient(create_app(Serving(Speaker(engine, "fake"))))


def mean_loss(logprobs: object, targets: object) -> object:
    return logprobs.mean() * 0  # type: ignore[attr-defined]


@pytest.fixture
def folder(engine: FakeEngine, tmp_path: Path) -> Path:
    examples = [Example((5, 6), 0)]
    recipe = AdapterRecipe(epochs=1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    engine.fit_adapter(examples, examples, [(7,), (8,)], mean_loss, folder, recipe)
    return folder


def test_an_adapter_is_loaded_listed_used_and_unloaded(client: TestClient, folder: Path) -> None:
    assert client.get("/v1/adapters").json() == {"object": "list", "data": []}
    loaded = client.post("/v1/adapters", json={"name": "support", "path": str(folder)})
    assert loaded.status_code == 201
    assert client.get("/v1/adapters").json()["data"] == [loaded.json()]
    asked = {"prompt": "a", "max_tokens": 2, "temperature": 0, "glassbox": {"entropies": True}}
    answer = client.post("/v1/completions", json={"model": "support", **asked}).json()
    base = client.post("/v1/completions", json={"model": "fake", **asked}).json()
    assert answer["choices"][0]["glassbox"]["adapter_digest"] == loaded.json()["digest"]
    assert not np.allclose(
        answer["choices"][0]["glassbox"]["entropies"], base["choices"][0]["glassbox"]["entropies"]
    )
    assert client.delete("/v1/adapters/support").status_code == 204
    gone = client.post("/v1/completions", json={"model": "support", **asked})
    assert gone.status_code == 404
    assert gone.json()["error"]["code"] == "model_not_found"


def test_vllms_names_work(client: TestClient, folder: Path) -> None:
    asked = {"lora_name": "support", "lora_path": str(folder)}
    loaded = client.post("/v1/load_lora_adapter", json=asked)
    assert loaded.status_code == 200
    assert loaded.text == "Success: LoRA adapter 'support' added successfully."
    again = client.post("/v1/load_lora_adapter", json={**asked, "load_inplace": True})
    assert again.status_code == 200
    unloaded = client.post("/v1/unload_lora_adapter", json={"lora_name": "support"})
    assert unloaded.text == "Success: LoRA adapter 'support' removed successfully."
    assert client.get("/v1/adapters").json()["data"] == []


def test_what_is_no_adapter_is_refused_and_nothing_changes(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    missing = client.post("/v1/adapters", json={"name": "a", "path": str(tmp_path / "nothing")})
    assert missing.status_code in (404, 422)
    for long in ("x" * 256, "/x" * 2000):
        refused = client.post("/v1/adapters", json={"name": "a", "path": long})
        assert refused.status_code == 400
        assert "too long for a path" in refused.json()["detail"]
    (folder / "fake_adapter.json").write_text("{")
    damaged = client.post("/v1/adapters", json={"name": "a", "path": str(folder)})
    assert damaged.status_code == 422
    assert damaged.json()["code"] == "corrupt-artifact"
    base = client.post("/v1/adapters", json={"name": "fake", "path": str(folder)})
    assert base.status_code == 409
    assert client.delete("/v1/adapters/nobody").status_code == 404
    assert client.get("/v1/adapters").json()["data"] == []


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a" * 201])
def test_a_name_that_would_trouble_somebody_is_refused(client: TestClient, name: str) -> None:
    answer = client.post("/v1/adapters", json={"name": name, "path": "/x"})
    assert answer.status_code == 400
    assert "name" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["fake", "Fake-Base", "digest", "classifier"])
def test_a_name_that_something_else_answers_to_is_refused(
    engine: FakeEngine, folder: Path, name: str
) -> None:
    labeller = Labeller(LabelModel(engine, default_labels(["positive", "negative"])))
    serving = Serving(Speaker(engine, "Fake-Base"), {"classifier": labeller})
    client = TestClient(create_app(serving))
    first = client.post("/v1/adapters", json={"name": "first", "path": str(folder)}).json()
    taken = {"fake": engine.info.name, "digest": first["digest"]}.get(name, name)

    answer = client.post("/v1/adapters", json={"name": taken, "path": str(folder)})

    assert answer.status_code == 409
    assert "another name" in answer.json()["detail"]


def test_an_adapter_that_cannot_be_loaded_does_not_take_the_old_one_with_it(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    asked = {"lora_name": "support", "lora_path": str(folder)}
    client.post("/v1/load_lora_adapter", json=asked)
    before = client.get("/v1/adapters").json()
    broken = {**asked, "lora_path": str(tmp_path / "nothing"), "load_inplace": True}

    assert client.post("/v1/load_lora_adapter", json=broken).status_code in (404, 422)
    assert client.get("/v1/adapters").json() == before
    swapped = client.post("/v1/load_lora_adapter", json={**asked, "load_inplace": True})
    assert swapped.status_code == 200
    assert client.get("/v1/adapters").json() == before


def test_an_adapter_in_use_is_unloaded_and_said_to_be_in_use(
    client: TestClient, engine: FakeEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/v1/adapters", json={"name": "support", "path": str(folder)})
    waited: list[float | None] = []

    def in_use(_name: str, *, timeout_s: float | None = None) -> bool:
        waited.append(timeout_s)
        return False

    monkeypatch.setattr(engine, "unload_adapter", in_use)

    assert client.delete("/v1/adapters/support").status_code == 202
    assert waited[0] is not None
