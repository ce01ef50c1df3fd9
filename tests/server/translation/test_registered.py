"""A registered version may be named wherever a request names a model; what is loaded answers."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from glassbox.artifacts import Classifier
from glassbox.runtime import SHIPPED_RUN, Runtime
from glassbox.server.app import begin_serving
from glassbox.server.serving import Serving
from glassbox.server.start import Wanted, assemble, whole_app
from glassbox.wire.versions import RegisterAsked
from tests.server.worlds import fake_server, http_client

CHAMPION = "models:/default@champion"
TEXT = "The room was not clean."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Serving]]:
    """The embedded model with the shipped run as champion; two versions answer nobody."""
    folder = tmp_path_factory.mktemp("registered")
    runtime = Runtime.load(
        {
            "engine.model": "tiny",
            "storage.url": f"sqlite:///{folder}/glassbox.db",
            "paths.versions": str(folder / "versions"),
        }
    )
    app = whole_app(runtime.settings.server, runtime.key_store())
    serving = assemble(runtime, Wanted(), app.state.guards)
    begin_serving(app, serving)
    assert serving.rollout is not None
    (folder / "rules.py").write_text("def rule(features):\n    return 0.5\n")
    other = folder / "other"
    shutil.copytree(SHIPPED_RUN, other)
    replace(Classifier.load(other), threshold=None).save(other)
    for asked in (
        RegisterAsked(source=f"{folder}/rules.py:rule", model="rules", name="rule"),
        RegisterAsked(source=str(other), name="second"),
    ):
        serving.rollout.register(asked, "test")
    yield TestClient(app, base_url="http://localhost"), serving
    serving.close()


@pytest.fixture
def adapter(world: tuple[TestClient, Serving]) -> str:
    """Digest of the champion's adapter."""
    manifest = Classifier.load(SHIPPED_RUN)
    assert manifest.adapter is not None
    assert [each.digest for each in world[1].engine.adapters] == [manifest.adapter.digest]
    return manifest.adapter.digest


@pytest.mark.parametrize("model", [CHAMPION, "models:/default/1", "models:/default/2"])
def test_text_and_states_are_those_of_the_versions_adapter(
    world: tuple[TestClient, Serving], adapter: str, model: str
) -> None:
    client, _ = world
    body = {"prompt": TEXT, "max_tokens": 4, "temperature": 0}
    messages = [{"role": "user", "content": TEXT}]
    asked = {
        "/v1/completions": body,
        "/v1/chat/completions": {"messages": messages, "max_tokens": 4, "temperature": 0},
        "/v1/states": {"input": TEXT, "capture": {"layers": [-1], "pooling": ["norm"]}},
        "/v1/lens": {"prompt": TEXT, "n_tokens": 1},
    }
    for path, content in asked.items():
        answers = [
            client.post(path, json={**content, "model": each}).json() for each in (model, adapter)
        ]
        for each in answers:
            for name in ("id", "created", "model"):
                each.pop(name, None)
        assert answers[0] == answers[1], path
        assert adapter in str(answers[0]), path
    base = client.post("/v1/completions", json=body).json()
    assert adapter not in str(base)
    parameters = {"adapter": model, "max_new_tokens": 1, "target_layers": []}
    invoked = client.post("/invocations", json={"inputs": TEXT, "parameters": parameters}).json()
    assert invoked["adapter_digest"] == adapter
    judged = client.post("/v1/verify", json={"prompt": TEXT, "response": "yes", "model": model})
    assert judged.status_code == 400
    assert "on which this server's verifier was trained" in judged.json()["detail"]


def test_labels_are_those_of_the_champion(world: tuple[TestClient, Serving]) -> None:
    client, serving = world
    assert not serving.labellers
    told = client.post("/v1/classify", json={"texts": [TEXT], "model": CHAMPION}).json()
    predicted = client.post("/api/v2/models/predict", json={"features": {"text": TEXT}}).json()
    assert told["model"] == predicted["model_version"] == "default_model_v1"
    assert told["classifier_digest"] == Classifier.load(SHIPPED_RUN).digest
    assert told["calibrated"] is True
    (row,) = told["data"]
    assert row["label"] == predicted["label"]
    assert row["label_probs"] == pytest.approx(predicted["label_probs"], abs=1e-4)
    assert serving.rollout is not None
    serving.rollout.store.flush()
    kept = serving.rollout.store.find(row["request_id"])
    assert kept is not None
    assert kept.primary is not None
    assert kept.primary.model == "classify/default_model_v1"


@pytest.mark.parametrize(
    ("path", "model", "status", "words"),
    [
        ("/v1/states", "models:/default@nobody", 404, "No model 'models:/default@nobody'"),
        ("/v1/states", "models:/default/9", 404, "Known: models:/default/1"),
        ("/v1/states", "models:/", 404, "No model 'models:/'"),
        ("/v1/states", f"models:/default/{'1' * 5000}", 404, "Known: models:/default/1"),
        ("/v1/classify", "models:/nothing@champion", 404, "No model 'models:/nothing"),
        ("/v1/states", "models:/rules/1", 400, "rule is none. POST /api/v2/models/predict"),
        ("/v1/classify", "models:/rules/1", 400, "a classifier of texts on tiny"),
        ("/v1/classify", "models:/default/2", 409, "second answers no requests"),
    ],
)
def test_what_cannot_answer_is_refused_with_the_way_out(
    world: tuple[TestClient, Serving], path: str, model: str, status: int, words: str
) -> None:
    body = {"texts": [TEXT]} if path == "/v1/classify" else {"input": TEXT}
    answer = world[0].post(path, json={**body, "model": model})
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_a_version_without_its_adapter_is_never_the_base_model(
    world: tuple[TestClient, Serving], adapter: str
) -> None:
    client, serving = world
    serving.engine.unload_adapter(adapter)
    try:
        answer = client.post("/v1/states", json={"input": TEXT, "model": CHAMPION})
    finally:
        serving.engine.load_adapter(SHIPPED_RUN / "adapter")
    assert answer.status_code == 409
    assert f"adapter of default_model_v1 ({adapter[:12]}) is not loaded" in answer.json()["detail"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_without_versions_knows_no_address() -> None:
    async with fake_server() as (_, app), http_client(app) as client:
        asked = {"prompt": "a", "model": CHAMPION}
        answer = await client.post("/v1/completions", json=asked)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
