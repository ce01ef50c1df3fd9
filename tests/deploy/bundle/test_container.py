"""A bundle in SageMaker's container: a real model behind the platform's two routes."""

import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from fastapi.testclient import TestClient

from glassbox.deploy.bundle import Contents, make_bundle, opened
from glassbox.engine.model.finding import find_model
from glassbox.errors import CorruptArtifact
from glassbox.runtime import SHIPPED, Runtime
from glassbox.server.app import begin_serving
from glassbox.server.serving import Serving
from glassbox.server.start import assemble, sagemaker_app, whole_app
from glassbox.settings import ServerSettings
from glassbox.testing import FakeEngine
from glassbox.wire.invocation_attributes import ATTRIBUTES_HEADER, read_attributes
from glassbox.wire.tensors import from_safetensors
from tests.bundles import ADAPTER, a_probe, another_adapter, make
from tests.server.process.test_running import Served, served

LARGE_BYTES = 25 * 10**6
N_RUNNING = 4
TEXT = "a wonderful, wonderful day"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return make(folder, "bundle.tar.gz", probes=(a_probe(folder / "plain"),))[0]


@pytest.fixture(scope="module")
def serving(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    found = opened(packed, cache=tmp_path_factory.mktemp("cache"))
    serving = assemble(Runtime.load(found.overrides), found.wanted)
    yield serving
    serving.close()


def container(serving: Serving, **limits: object) -> TestClient:
    app = sagemaker_app(ServerSettings(**limits))
    begin_serving(app, serving)
    return TestClient(app)


def routed(client: TestClient | httpx.Client, path: str, body: object, **headers: str):
    headers = {ATTRIBUTES_HEADER: f"glassbox-path={path}", **headers}
    return client.post("/invocations", json=body, headers=headers)


def test_everything_in_the_bundle_answers(serving: Serving) -> None:
    client = container(serving)
    asked = {"inputs": TEXT, "parameters": {"max_new_tokens": 3, "temperature": 0}}
    entropies = set()
    for adapter in (None, "support", "other"):
        asked["parameters"]["adapter"] = adapter
        answer = client.post("/invocations", json=asked)
        assert answer.status_code == 200
        entropies.add(answer.json()["logits_entropy_raw"])
        said = read_attributes(answer.headers[ATTRIBUTES_HEADER])
        assert said["glassbox-bundle"] == serving.bundle_digest
        assert ("glassbox-adapter" in said) == (adapter is not None)
    assert len(entropies) == 3, "the base model and each adapter write in their own way"
    labels = routed(client, "/v1/classify", {"model": "sentiment", "texts": [TEXT]}).json()
    assert labels["calibrated"] is True
    assert labels["data"][0]["label"] == "positive"
    verdict = routed(client, "/v1/verify", {"prompt": "Where is it?", "response": "There."})
    assert verdict.status_code == 200
    asked = {"model": "tiny", "prompt": TEXT, "max_tokens": 2, "glassbox": {"probes": ["plain"]}}
    (text,) = routed(client, "/v1/completions", asked).json()["choices"]
    assert list(text["glassbox"]["probes"]) == ["plain"]


def test_a_classifier_labels_in_the_container_as_it_did_where_it_was_made(
    serving: Serving, tmp_path: Path
) -> None:
    texts = [TEXT, "a dreadful day", "the match ended in a draw", ""]
    body = {"model": "sentiment", "texts": texts[:3]}
    there = routed(container(serving), "/v1/classify", body).json()
    labeller = Runtime.load().labeller_on(serving.engine, Runtime.load().run_folder(SHIPPED))
    assert labeller.digest == there["classifier_digest"]
    for here, row in zip(labeller.classify(texts[:3]), there["data"], strict=True):
        assert here is not None
        assert row["confidence"] == pytest.approx(here.confidence, abs=2e-6)


def test_an_answer_of_25_megabytes_arrives_by_way_of_the_object_store(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3", reason="object stores need boto3 (extra 'sagemaker')")
    moto = pytest.importorskip("moto", reason="the object store of this test is moto's")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    n_texts, n_tokens = 12, 500
    capture = {"hidden_state_indices": list(range(9)), "pooling": ["none"]}
    body = {"input": [[5 + n for n in range(n_tokens)]] * n_texts, "capture": capture}
    accept = {"accept": "application/vnd.safetensors"}
    refused = routed(container(serving), "/v1/states", body, **accept)
    assert (refused.status_code, refused.json()["code"]) == (413, "answer-too-large")
    with moto.mock_aws():
        store = boto3.client("s3")
        store.create_bucket(Bucket="ours")
        client = container(serving, large_answers="s3://ours/answers/")
        answer = routed(client, "/v1/states", body, **accept)
        assert answer.status_code == 200
        found = answer.json()
        place = httpx.URL(found["location"])
        content = store.get_object(Bucket=place.host, Key=place.path[1:])["Body"].read()
    assert len(content) == found["n_bytes"] > LARGE_BYTES
    assert hashlib.sha256(content).hexdigest() == found["sha256"]
    arrays, _ = from_safetensors(content)
    assert sum(each.nbytes for each in arrays.values()) == n_texts * n_tokens * 9 * 128 * 4


def test_the_whole_server_over_a_bundle_predicts_with_its_classifier(
    packed: Path, tmp_path: Path
) -> None:
    found = opened(packed, cache=tmp_path / "cache")
    settings = {
        **found.overrides,
        "storage.url": f"sqlite:///{tmp_path}/glassbox.db",
        "paths.versions": tmp_path / "versions",
    }
    runtime = Runtime.load(settings)
    app = whole_app(runtime.settings.server, runtime.key_store())
    serving = assemble(runtime, found.wanted, app.state.guards)
    try:
        begin_serving(app, serving)
        client = TestClient(app, base_url="http://localhost")
        body = {"features": {"text": TEXT}}
        assert client.post("/api/v2/models/predict", json=body).json()["label_probs"]
        assert client.get("/api/v2/models/registry").json()["active_version"]
        names = [each["id"] for each in client.get("/v1/models").json()["data"]]
        assert names[0] == "tiny"
    finally:
        serving.close()


def test_a_bundle_on_another_base_model_than_its_own_is_not_served(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "open_engine", lambda *_, **__: FakeEngine())
    found = opened(packed, cache=tmp_path / "cache", base="another")
    with pytest.raises(CorruptArtifact, match="the bundle was made for"):
        assemble(Runtime.load(found.overrides), found.wanted)


def test_the_container_as_the_platform_starts_it(tmp_path: Path, warm: Path) -> None:
    """The folder layout, the environment, the two routes, and the end under load."""
    runtime = Runtime.load({"paths.bundles": tmp_path / "cache"})
    contents = Contents(
        base=str(find_model("tiny")),
        name="tiny",
        adapters={"support": ADAPTER, "other": another_adapter(tmp_path / "other")},
        classifiers={"sentiment": SHIPPED},
        settings={"engine.threads": 1},
    )
    model = tmp_path / "opt" / "ml" / "model"
    make_bundle(runtime, contents, model)
    environment = {
        "MODEL_PATH": str(model),
        "GLASSBOX_SERVER__HOST": "127.0.0.1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with served(tmp_path, "--sagemaker", python=warm / "python", **environment) as server:
        pings = [_ping(server.url)]
        with server.ready() as client:
            pings.append(client.get("/ping").status_code)
            assert pings[0] in (200, 503)
            assert pings[1] == 200
            _answers(client)
            ends = _under_load(server, client)
        assert ends == ["final"] * N_RUNNING, "a request that had begun was cut"
        log = "".join(server.log)
        assert f"draining: {N_RUNNING} requests" in log
        assert "unfinished" not in log


def _ping(url: str) -> int:
    return httpx.get(f"{url}/ping", timeout=60).status_code


def _answers(client: httpx.Client) -> None:
    asked = {"inputs": TEXT, "parameters": {"max_new_tokens": 2, "temperature": 0}}
    digests = set()
    for adapter in ("support", "other"):
        header = {ATTRIBUTES_HEADER: f"glassbox-adapter={adapter}"}
        answer = client.post("/invocations", json=asked, headers=header)
        digests.add(read_attributes(answer.headers[ATTRIBUTES_HEADER])["glassbox-adapter"])
    assert len(digests) == 2
    labels = routed(client, "/v1/classify", {"texts": [TEXT]}).json()
    assert labels["data"][0]["decision"] in ("automate", "review")
    assert client.get("/v1/models").status_code == 404


def _under_load(server: Served, client: httpx.Client) -> list[str]:
    """Return the last line's key of each request that ran when the process was told to end."""
    ends: list[str] = []
    begun = threading.Barrier(N_RUNNING + 1)

    def ask() -> None:
        # So hot that the model never comes to an end of its own.
        hot = {"max_new_tokens": 250, "temperature": 50, "target_layers": [], "stream": True}
        asked = {"inputs": TEXT, "parameters": hot}
        with client.stream("POST", "/invocations", json=asked) as answer:
            lines = answer.iter_lines()
            next(lines)
            begun.wait()
            *_, last = (line for line in lines if line)
        ends.extend(orjson.loads(last))

    askers = [threading.Thread(target=ask) for _ in range(N_RUNNING)]
    for each in askers:
        each.start()
    begun.wait()
    began_s = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    for each in askers:
        each.join()
    assert server.wait() == 0
    assert time.monotonic() - began_s < 30, "the platform kills after 30 s"
    return ends
