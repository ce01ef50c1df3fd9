"""What is put together before a server is ready: adapters, probes, classifiers, a verifier."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from glassbox.cli.server.serve import for_platform
from glassbox.errors import InvalidSetting, UnknownName
from glassbox.runtime import SHIPPED, Runtime
from glassbox.server.app import begin_serving
from glassbox.server.process.running import LAST_ANSWERS_S
from glassbox.server.start import Wanted, assemble, sagemaker_app, whole_app
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.load({"engine.model": "tiny"})


def test_the_embedded_model_is_served_with_its_classifier(runtime: Runtime) -> None:
    wanted = Wanted(classifiers=(("mood", SHIPPED), ("same", SHIPPED)), hidden="Be kind.")
    serving = assemble(runtime, wanted)
    try:
        assert serving.name == "tiny"
        assert list(serving.labellers) == ["mood", "same"]
        labeller = serving.labellers["same"]
        (answer,) = labeller.classify(["a wonderful, wonderful day"])
        assert answer is not None
        assert 0 < answer.confidence <= 1
        assert serving.speaker.prompter.plain("a").n_hidden > 0
    finally:
        serving.engine.close()


def test_a_name_of_its_own_is_the_models(runtime: Runtime) -> None:
    serving = assemble(runtime, Wanted(name="house-model"))
    try:
        assert serving.name == "house-model"
        assert serving.speaker.adapter_of("house-model") is None
    finally:
        serving.engine.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(probes=(Path("nowhere"),)),
        Wanted(classifiers=(("mood", "nowhere"),)),
        Wanted(adapters=(("support", "nowhere"),)),
        Wanted(verifier=Path("nowhere")),
    ],
)
def test_what_is_not_there_is_named(runtime: Runtime, wanted: Wanted) -> None:
    with pytest.raises(UnknownName, match="nowhere"):
        assemble(runtime, wanted)


def test_a_fresh_server_answers_predictions_with_the_run_that_ships(tmp_path: Path) -> None:
    runtime = Runtime.load(
        {
            "engine.model": "tiny",
            "storage.url": f"sqlite:///{tmp_path}/fresh.db",
            "paths.versions": str(tmp_path / "versions"),
        }
    )
    app = whole_app(runtime.settings.server, runtime.key_store())
    serving = assemble(runtime, Wanted(), app.state.guards)
    try:
        begin_serving(app, serving)
        client = TestClient(app, base_url="http://localhost/api/v2/models")
        assert client.get("/registry").json() == {
            "available_versions": ["default_model_v1"],
            "active_version": "default_model_v1",
            "shadow_version": None,
            "shadow_enabled": False,
        }
        texts = [f"day {n} was wonderful" for n in range(8)]
        rows = [{"features": {"text": each}} for each in texts]
        answers = client.post("/predict/batch", json={"rows": rows}).json()["results"]
        one = client.post("/predict", json=rows[3]).json()
        assert one["prediction"] == pytest.approx(answers[3]["prediction"], abs=1e-4)
        assert one["label_probs"].keys() == {"negative", "positive"}
        assert one["prediction"] == one["label_probs"]["negative"], "that of the first label"
        refused = client.post("/predict", json={"features": {"test": 1.0}})
        assert refused.status_code == 400
        assert "one of text" in refused.json()["detail"]
        long = client.post("/predict", json={"features": {"text": "a" * 10**6}})
        assert long.json()["code"] == "text-too-long"
        assert client.get("/audit/summary").json()["rolling_count"] == 10
        assert client.get("/audit/summary").json()["error_count"] == 1
        curves = client.get("/versions/default_model_v1/calibration").json()["charts"]
        assert any("reliability" in name for name in curves)
    finally:
        serving.close()


def test_an_app_without_keys_answers_to_this_machines_names_only(tmp_path: Path) -> None:
    keys = KeyStore(open_database(f"sqlite:///{tmp_path}/glassbox.db"))
    client = TestClient(whole_app(ServerSettings(), keys))
    for host, status in (
        ("localhost", 200),
        ("localhost:8787", 200),
        ("127.0.0.1:8787", 200),
        ("[::1]:8787", 200),
        ("evil.example", 421),
        ("evil.example:8787", 421),
    ):
        assert client.get("/metrics", headers={"host": host}).status_code == status, host
    _, secret = keys.create("team")
    fresh = TestClient(whole_app(ServerSettings(), keys))
    headers = {"host": "evil.example", "authorization": f"Bearer {secret}"}
    assert fresh.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8787", 503),
        ("https://desk.example.org", 503),
        ("https://evil.example", 403),
        ("http://localhost:3000", 403),
        ("http://localhost", 403),
        ("null", 403),
    ],
)
def test_an_app_without_keys_does_nothing_for_pages_from_elsewhere(
    tmp_path: Path, origin: str, status: int
) -> None:
    keys = KeyStore(open_database(f"sqlite:///{tmp_path}/glassbox.db"))
    limits = ServerSettings(cors_origins="https://desk.example.org")
    asked = {"host": "localhost:8787", "origin": origin}
    client = TestClient(whole_app(limits, keys))
    # Without a body a browser sends this to another origin and asks nobody before.
    assert client.post("/api/v2/models/drift/run", headers=asked).status_code == status
    _, secret = keys.create("team", ("admin",))
    fresh = TestClient(whole_app(limits, keys))
    asked["authorization"] = f"Bearer {secret}"
    assert fresh.post("/api/v2/models/drift/run", headers=asked).status_code == 503


def test_the_platforms_app_knows_two_routes() -> None:
    client = TestClient(sagemaker_app(ServerSettings()))
    for path in ("/v1/models", "/livez", "/metrics", "/invocations/more", "/"):
        refused = client.get(path)
        assert refused.status_code == 404, path
        assert "GET /ping and POST /invocations" in refused.text
    assert client.get("/ping").status_code == 503, "no model yet"


def test_the_platforms_app_describes_no_further_routes() -> None:
    client = TestClient(sagemaker_app(ServerSettings()))

    assert client.get("/openapi.json").status_code == 404


def test_the_platforms_port_and_address_hold_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = {"server.host": None, "server.port": None, "engine.model": None}
    found = for_platform(nothing)
    assert (found["server.host"], found["server.port"]) == ("0.0.0.0", 8080)
    assert found["engine.model"] == "/opt/ml/model"
    assert found["server.max_deadline_s"] < 60, "the platform waits no longer"
    assert found["server.drain_s"] + 2 * LAST_ANSWERS_S < 30, "it kills what is still there then"
    assert "server.port" not in for_platform({**nothing, "server.port": 0})
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9009")
    monkeypatch.setenv("MODEL_PATH", "/elsewhere")
    assert for_platform(nothing)["server.port"] == 9009
    assert for_platform(nothing)["engine.model"] == "/elsewhere"
    monkeypatch.setenv("GLASSBOX_SERVER__PORT", "7000")
    assert "server.port" not in for_platform(nothing)
    monkeypatch.delenv("GLASSBOX_SERVER__PORT")
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "port")
    with pytest.raises(InvalidSetting, match="no port"):
        for_platform(nothing)
