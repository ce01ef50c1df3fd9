"""What ``/v1/classify`` answers is kept like a prediction, and is nobody's traffic."""

import pytest
from fastapi.testclient import TestClient

from glassbox.confidence.asking.classify import Labeller
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing.fake import FakeEngine
from tests.rollout.side_world import open_side

DIGEST = "ab" * 32


@pytest.fixture(params=["group", "strict"])
def world(request, tmp_path):
    engine = FakeEngine()
    labeller = Labeller(LabelModel(engine, default_labels(["positive", "negative"])), digest=DIGEST)
    with open_side(tmp_path, "steady", audit__durability=request.param) as side:
        serving = Serving(Speaker(engine, "fake"), labellers={"mine": labeller}, rollout=side)
        yield TestClient(create_app(serving, Guards())), side
    engine.close()


def test_every_text_has_a_record_of_its_own(world):
    client, side = world
    texts = ["the positive", "a", "the positive " * 200]
    rows = client.post("/v1/classify", json={"texts": texts}).json()["data"]
    side.store.flush()
    found = [side.store.find(row["request_id"]).primary for row in rows]
    assert {each.model for each in found} == {"classify/mine"}
    assert {each.model_version for each in found} == {f"mine@{DIGEST[:12]}"}
    assert [each.status for each in found] == ["success", "success", "error"]
    assert found[2].error_code == rows[2]["error"]["code"]
    for event, row, text in zip(found[:2], rows, texts, strict=False):
        assert event.label == row["label"]
        assert event.confidence == pytest.approx(row["confidence"], abs=1e-6)
        assert event.feature_hash == side.recorder.hash({"text": text})
        assert not event.features


def test_it_is_found_labelled_and_erased_over_http(world):
    client, side = world
    (row,) = client.post("/v1/classify", json={"texts": ["a"]}).json()["data"]
    side.store.flush()
    base, name = "/api/v2/models", row["request_id"]
    told = client.post(f"{base}/labels", json={"labels": [{"request_id": name, "label": "x"}]})
    assert told.json()["unknown"] == []
    side.store.flush()
    assert client.get(f"{base}/audit/records/{name}").json()["true_label"] == "x"
    erased = client.request("DELETE", f"{base}/audit/records/{name}", json={"reason": "asked to"})
    assert erased.status_code == 200
    assert client.get(f"{base}/audit/records/{name}").status_code == 404
    assert client.get(f"{base}/audit/verification").json()["broken"] is None


def test_it_takes_no_place_in_the_window_of_the_traffic(world):
    client, side = world
    client.post("/api/v2/models/predict", json={"features": {"x": 0.5}})
    client.post("/v1/classify", json={"texts": ["a"] * 20})
    side.store.flush()
    assert client.get("/api/v2/models/audit/summary").json()["rolling_count"] == 1
    side.ring.fill(side.store.recent(100))
    assert len(side.ring.records()) == 1
    assert len(client.get("/api/v2/models/audit/recent").json()) == 21
