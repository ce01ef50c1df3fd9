"""Predictions over HTTP: the specification's shapes, bad input, names of requests, labels."""

import json

import pytest

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine
from tests.server.model_worlds import client_of, model_server
from tests.waiting import until

SPEC_SUMMARY = {
    "rolling_count",
    "avg_latency_ms",
    "shadow_avg_diff",
    "prediction_mean",
    "confidence_histogram",
    "shadow_enabled",
    "active_model",
    "shadow_model",
    "success_rate",
    "error_count",
}
SPEC_ENTRY = {
    "request_id",
    "timestamp",
    "model_version",
    "feature_hash",
    "latency_ms",
    "prediction",
    "confidence",
    "shadow_version",
    "shadow_prediction",
    "shadow_diff",
    "shadow_latency_ms",
    "status",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with model_server(tmp_path_factory.mktemp("world"), "steady", "other") as found:
        yield found


def test_a_prediction_has_the_fields_of_the_specification(world):
    client, _ = world
    answer = client.post("/predict?wait_shadow_s=60", json={"features": {"x": 1.5}})
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {
        "prediction",
        "confidence",
        "model_version",
        "request_id",
        "shadow_diff",
    }
    assert body["prediction"] == 0.75
    assert body["confidence"] == 0.9
    assert body["model_version"] == "steady"
    assert body["shadow_diff"] == pytest.approx(0.1)
    assert answer.headers["x-request-id"] == body["request_id"]


def test_the_wait_for_the_challenger_is_bounded(world):
    client, _ = world
    for wait in ("-1", "nan", "soon"):
        answer = client.post(f"/predict?wait_shadow_s={wait}", json={"features": {"x": 1.5}})
        assert answer.status_code == 400, wait


def test_the_summary_has_the_fields_of_the_specification(world):
    client, side = world
    client.post("/predict?wait_shadow_s=60", json={"features": {"x": 1.5}})
    body = client.get("/audit/summary").json()
    assert body.keys() >= SPEC_SUMMARY
    assert body["confidence_histogram"].keys() == {
        "0.0-0.2",
        "0.2-0.4",
        "0.4-0.6",
        "0.6-0.8",
        "0.8-1.0",
    }
    assert body["shadow_enabled"] is True
    assert body["active_model"] == "steady"
    assert body["shadow_model"] == "other"
    assert body["success_rate"] == 1.0
    assert body["shadow_min_diff"] == pytest.approx(0.1)
    assert body["rolling_count"] == len(side.ring.records())


def test_recent_entries_have_the_fields_of_the_specification_newest_first(world):
    client, side = world
    for x in range(3):
        client.post("/predict?wait_shadow_s=60", json={"features": {"x": x}})
    side.store.flush()
    entries = client.get("/audit/recent?limit=2").json()
    assert [each["prediction"] for each in entries] == [1.0, 0.5]
    assert entries[0].keys() >= SPEC_ENTRY
    assert entries[0]["shadow_status"] == "ok"
    assert entries[0]["shadow_version"] == "other"
    older = client.get(f"/audit/recent?limit=1&before={entries[-1]['sequence']}").json()
    assert older[0]["prediction"] == 0.0


def test_recent_entries_can_be_filtered(world):
    client, side = world
    name = client.post("/predict", json={"features": {"x": 4}}).json()["request_id"]
    assert [
        each["request_id"] for each in client.get(f"/audit/recent?request_id={name}").json()
    ] == [name]
    side.store.flush()
    assert client.get("/audit/recent?status=error").json() == []
    assert client.get("/audit/recent?model_version=nobody").json() == []
    assert client.get("/audit/recent?model=nobody").json() == []
    of_model = client.get("/audit/recent?limit=1&model=default").json()
    assert [(each["request_id"], each["model"]) for each in of_model] == [(name, "default")]
    assert client.get("/audit/recent?min_diff=0.9").json() == []
    assert client.get("/audit/recent?label=positive").json() == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=100000",
        "status=odd",
        "before=x",
        f"before={2**63}",
        "min_diff=nan",
        "colour=red",
    ],
)
def test_a_filter_that_cannot_be_is_refused(world, query):
    answer = world[0].get(f"/audit/recent?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid-value"


def test_one_request_can_be_seen_in_full_at_once_and_on_the_disk(world):
    client, side = world
    name = client.post("/predict?wait_shadow_s=60", json={"features": {"x": 2}}).json()[
        "request_id"
    ]
    at_once = client.get(f"/audit/records/{name}").json()
    assert at_once["entry"]["prediction"] == 1.0
    side.store.flush()
    later = client.get(f"/audit/records/{name}").json()
    assert [each["kind"] for each in later["events"]] == ["primary", "shadow"]
    assert later["shadows"][0]["diff"] == pytest.approx(0.1)
    assert later["shadows"][0]["role"] == "challenger"
    assert later["features"] == {}


def test_the_registry_has_the_fields_of_the_specification(world):
    assert world[0].get("/registry").json() == {
        "available_versions": ["steady", "other"],
        "active_version": "steady",
        "shadow_version": "other",
        "shadow_enabled": True,
    }
    assert world[0].get("/registry?model=nobody").status_code == 404


def test_health_names_every_part(world):
    body = world[0].get("/health").json()
    assert body["status"] == "ok"
    assert body["components"].keys() >= {
        "registry",
        "primary",
        "shadow",
        "audit",
        "rollout",
        "drift",
        "alerts",
    }
    assert 0 <= body["components"]["audit"]["details"]["ring_utilisation"] <= 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"features": {"test": 1.0}}, "'test'; allowed: one of x"),
        ({"features": {"x": "one"}}, "a finite number"),
        ({"features": {"x": None}}, "a finite number"),
        ({"features": {"x": True}}, "a finite number"),
        ({"features": {"x": 10**400}}, "a finite number"),
        ({"features": {}}, "x"),
        ({"features": [1.0]}, "features"),
        ({"features": {"x": "a" * 10**6}}, "a finite number"),
        ({"features": {"x": 1.0}, "colour": "red"}, "unknown field"),
        ({}, "it is needed"),
        ({"features": {"\ud800": 1.0}}, "surrogate"),
        ({"features": {"x": [[]] * 10_000}}, "more than 10000 values"),
        ({"features": {str(number): 1.0 for number in range(10_001)}}, "more than 10000 values"),
    ],
)
def test_bad_input_is_refused_with_the_reason_and_not_recorded(world, body, said):
    client, side = world
    before = side.ring.lifetime().get("inferences", 0)
    content = json.dumps(body)
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]
    assert len(answer.content) < 3000, "what was sent is not sent back"
    assert side.ring.lifetime().get("inferences", 0) == before


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_infinity_are_refused(world, value):
    answer = world[0].post(
        "/predict",
        content=f'{{"features": {{"x": {value}}}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert "finite" in answer.json()["detail"]


@pytest.mark.parametrize("deep", ["[", '{"a":'])
@pytest.mark.parametrize("n", [50, 900, 100_000])
def test_a_bomb_of_nested_json_is_refused(world, deep, n):
    end = "]" if deep == "[" else "}"
    content = '{"features": {"x": ' + deep * n + "1" + end * n + "}}"
    answer = world[0].post(
        "/predict", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert world[0].post("/predict", json={"features": {"x": 1}}).status_code == 200


def test_unknown_models_and_versions_are_not_found(world):
    for model in ("nobody", "models:/default/9", "models:/default@nobody"):
        answer = world[0].post("/predict", json={"features": {"x": 1}, "model": model})
        assert answer.status_code == 404, model
    challenger = {"features": {"x": 1}, "model": "models:/default@challenger"}
    assert world[0].post("/predict", json=challenger).status_code == 409


def test_a_batch_has_an_answer_or_an_error_for_each_row(world):
    client, side = world
    rows = [{"features": {"x": 1}}, {"features": {"z": 1}}, {"features": {"x": 3}}]
    results = client.post("/predict/batch", json={"rows": rows}).json()["results"]
    assert results[0]["prediction"] == 0.5
    assert results[1]["error"]["code"] == "invalid-value"
    assert "prediction" not in results[1]
    assert results[2]["prediction"] == 1.5
    assert len({each["request_id"] for each in results}) == 3
    assert side.ring.find(results[2]["request_id"]) is not None
    assert client.post("/predict/batch", json={"rows": []}).status_code == 400


def test_an_answer_to_a_text_that_was_cut_says_so(tmp_path):
    with model_server(tmp_path, "cutting") as (client, _):
        rows = [{"features": {"x": x}} for x in (0.0, 1.0)]
        one = [client.post("/predict", json=row).json() for row in rows]
        batch = client.post("/predict/batch", json={"rows": rows}).json()["results"]
    for whole, cut in (one, batch):
        assert "truncated" not in whole
        assert cut["truncated"] is True


def test_a_callers_name_is_the_requests_own_unless_it_is_taken(world):
    client, side = world
    asked = {"json": {"features": {"x": 1}}, "headers": {"x-request-id": "order-7"}}
    first = client.post("/predict", **asked)
    assert first.json()["request_id"] == first.headers["x-request-id"] == "order-7"
    second = client.post("/predict", **asked)
    name = second.json()["request_id"]
    assert name.startswith("order-7.")
    assert second.headers["x-request-id"] == name
    assert side.ring.find("order-7") is not None
    assert side.ring.find(name) is not None


def test_labels_come_late_and_unknown_requests_are_named(world):
    client, side = world
    name = client.post("/predict", json={"features": {"x": 1}}).json()["request_id"]
    told = {"labels": [{"request_id": name, "label": 1.0}, {"request_id": "nobody", "label": "a"}]}
    assert client.post("/labels", json=told).json() == {"accepted": 1, "unknown": ["nobody"]}
    side.store.flush()
    assert client.get(f"/audit/records/{name}").json()["true_label"] == 1.0
    assert client.get(f"/audit/recent?request_id={name}").json()[0]["true_label"] == 1.0


def test_an_erased_request_is_gone_and_the_log_still_whole(world):
    client, side = world
    name = client.post("/predict?wait_shadow_s=60", json={"features": {"x": 1}}).json()[
        "request_id"
    ]
    side.store.flush()
    answer = client.request("DELETE", f"/audit/records/{name}", json={"reason": "asked to"})
    assert answer.json() == {"request_id": name, "erased_events": 2}
    assert client.get(f"/audit/records/{name}").status_code == 404
    assert client.get(f"/audit/recent?request_id={name}").json() == []
    verification = client.get("/audit/verification").json()
    assert verification["broken"] is None
    assert verification["n_erased"] >= 2
    assert client.request("DELETE", f"/audit/records/{name}", json={}).status_code == 400


@pytest.mark.parametrize("path", ["/registry", "/versions", "/rollouts", "/drift"])
def test_what_has_not_changed_is_not_sent_again(world, path):
    client, _ = world
    first = client.get(path)
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = client.get(path, headers={"if-none-match": '"another"'})
    assert other.status_code == 200


def test_requests_are_counted_by_role_and_version(world):
    client, _ = world
    client.post("/predict?wait_shadow_s=60", json={"features": {"x": 1}})
    text = client.get("http://test/metrics").text
    assert 'role="primary"' in text
    assert 'role="shadow"' in text
    assert 'version="steady"' in text


def test_a_server_without_versions_says_so():
    client = client_of(create_app(Serving(Speaker(FakeEngine(), "fake")), Guards()))
    for path in ("/registry", "/audit/summary", "/health"):
        assert client.get(path).status_code == 404


def test_while_the_model_is_loaded_everything_is_not_ready():
    client = client_of(create_app(None, Guards()))
    for path in ("/registry", "/audit/summary", "/health", "/rollouts"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers


def test_a_failing_challenger_degrades_and_is_no_error(tmp_path):
    with model_server(tmp_path, "steady", "deadly") as (client, _):
        for x in range(3):
            assert client.post("/predict", json={"features": {"x": x}}).status_code == 200
        until(lambda: client.get("/health").json()["status"] == "degraded")
        assert client.get("/health").status_code == 200
        assert client.get("/health").json()["components"]["primary"]["status"] == "ok"
