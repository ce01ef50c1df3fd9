"""Versions, rollouts, drift and alerts over HTTP: what is shown, who may change what."""

import pytest

from glassbox.server.access.guards import Guards
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.answers.rollout_serving import MOST_KEPT
from glassbox.server.routes import versions as routes
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from tests.server.model_worlds import model_server
from tests.waiting import until

PLAN = {"min_requests": 5, "min_distinct": 2, "consecutive_passes": 1, "step_s": 0.1}


@pytest.fixture
def world(tmp_path):
    with model_server(tmp_path, "steady", "other") as found:
        yield found


def test_versions_show_their_aliases_and_how_they_moved(world):
    client, _ = world
    shown = client.get("/versions").json()
    assert [(each["name"], each["aliases"]) for each in shown["versions"]] == [
        ("steady", ["champion"]),
        ("other", ["challenger"]),
    ]
    assert shown["aliases"] == {"default": {"champion": 1, "challenger": 2}}
    moves = client.get("/versions/history").json()
    assert [(each["alias"], each["before"], each["after"]) for each in moves] == [
        ("challenger", None, 2),
        ("champion", None, 1),
    ]


def test_a_version_registered_over_http_is_there_at_once(world, tmp_path):
    client, _ = world
    source = f"{tmp_path}/models.py:classes"
    made = client.post("/versions", json={"source": source, "name": "third"})
    assert made.status_code == 201, made.text
    assert made.json()["number"] == 3
    again = client.post("/versions", json={"source": source, "name": "third"})
    assert again.json()["digest"] == made.json()["digest"]
    assert "third" in client.get("/registry").json()["available_versions"]
    schema = {"features": [{"name": "x", "type": "number", "low": 0.0}]}
    named = {"source": f"{tmp_path}/models.py:picky", "input_schema": schema, "name": "checked"}
    refused = client.post("/versions", json={**named, "example": {"x": 0.75}})
    assert refused.status_code >= 400
    checked = client.post("/versions", json={**named, "example": {"x": 0.25}}).json()
    assert checked["metadata"]["load_check"] | {"load_s": 0} == {
        "load_s": 0,
        "features": {"x": 0.25},
        "prediction": 0.25,
    }
    assert checked["metadata"]["input_schema"]["features"][0]["name"] == "x"
    missing = client.post("/versions", json={"source": f"{tmp_path}/nothing.skops"})
    assert missing.status_code == 404
    odd = {"features": [{"name": "x", "low": "little"}]}
    for wrong in ({"source": "x" * 256}, {**named, "input_schema": odd, "name": "odd"}):
        refused = client.post("/versions", json=wrong)
        assert refused.status_code == 400, refused.text


def test_versions_are_written_down_once_until_something_changes(world, monkeypatch):
    client, _ = world
    made, show = [], routes.versions_shown

    def watched(*args):
        made.append(args)
        return show(*args)

    monkeypatch.setattr(routes, "versions_shown", watched)
    first = client.get("/versions")
    headers = {"if-none-match": first.headers["etag"]}
    assert [client.get("/versions", headers=headers).status_code for _ in range(3)] == [304] * 3
    assert client.get("/versions").content == first.content
    assert len(made) == 1

    assert client.get("/versions?model=nobody").json()["versions"] == []
    for number in range(2 * MOST_KEPT):
        client.get(f"/versions?model=other-{number}")
    assert len(client.app.state.versions._kept[1]) <= MOST_KEPT

    client.put("/versions/aliases/champion", json={"number": 2, "expected": 1, "reason": "try"})
    changed = client.get("/versions", headers=headers)
    assert changed.status_code == 200
    assert changed.json()["aliases"]["default"]["champion"] == 2


def test_an_alias_moves_only_from_where_it_is_expected(world):
    client, _ = world
    body = {"number": 2, "expected": None, "reason": "try"}
    answer = client.put("/versions/aliases/champion", json=body)
    assert answer.status_code == 409
    assert "default" in answer.json()["detail"]
    moved = client.put("/versions/aliases/champion", json={**body, "expected": 1})
    assert moved.json()["after"] == 2
    assert moved.json()["actor"].startswith("local:")
    answered = client.post("/predict", json={"features": {"x": 1}}).json()
    assert answered["model_version"] == "other", "the move is in force when it is answered"
    assert client.put("/versions/aliases/champion", json={"number": 9}).status_code in (404, 409)


def test_a_version_without_an_evaluation_has_no_curves(world):
    answer = world[0].get("/versions/steady/calibration")
    assert answer.status_code == 404
    assert "evaluat" in answer.json()["detail"]
    assert world[0].get("/versions/nobody/calibration").status_code == 404


def test_a_rollout_is_started_held_and_aborted(world):
    client, _ = world
    assert client.get("/rollouts").json() == {"current": None, "rollouts": []}
    started = client.post("/rollouts", json={"challenger": "other", "plan": PLAN})
    assert started.status_code == 201, started.text
    rollout = started.json()["id"]
    assert client.get("/rollouts").json()["current"]["id"] == rollout
    second = client.post("/rollouts", json={"challenger": "other"})
    assert second.status_code == 409
    assert client.post(f"/rollouts/{rollout}/pause", json={"reason": "wait"}).json()["paused"]
    assert client.post(f"/rollouts/{rollout}/pause", json={}).status_code == 409
    assert not client.post(f"/rollouts/{rollout}/resume", json={}).json()["paused"]
    doubted = client.post(f"/rollouts/{rollout}/promote", json={})
    assert doubted.status_code == 409
    ended = client.post(f"/rollouts/{rollout}/abort", json={"reason": "enough"}).json()
    assert ended["phase"] == "Failed"
    assert "enough" in ended["transitions"][-1]["reason"]
    assert client.get("/rollouts").json()["current"] is None
    assert client.get(f"/rollouts/{rollout}").json()["phase"] == "Failed"


def test_a_forced_promotion_is_in_force_for_the_next_request(world):
    client, _ = world
    rollout = client.post("/rollouts", json={"challenger": "other", "plan": PLAN}).json()["id"]
    answer = client.post(f"/rollouts/{rollout}/promote", json={"force": True, "reason": "now"})
    assert answer.status_code == 200, answer.text
    until(lambda: client.get("/registry").json()["active_version"] == "other")
    answered = client.post("/predict", json={"features": {"x": 1}}).json()
    assert answered["model_version"] == "other"
    baking = client.get(f"/rollouts/{rollout}").json()
    assert (baking["phase"], baking["weight"]) == ("Finalising", 1.0)
    again = client.post(f"/rollouts/{rollout}/promote", json={"force": True})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    ended = client.post(f"/rollouts/{rollout}/finish", json={"reason": "sure"}).json()
    assert (ended["phase"], ended["weight"], ended["verbs"]) == ("Succeeded", 1.0, [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"challenger": "nobody"}, 404),
        ({"challenger": "steady"}, 400),
        ({"challenger": "other", "plan": {"colour": 1}}, 404),
        ({"challenger": "other", "plan": {"step_weight": 7}}, 400),
        ({"challenger": "other", "plan": {"min_requests": 10**30}}, 400),
        ({}, 400),
    ],
)
def test_a_rollout_that_cannot_be_is_refused(world, body, status):
    assert world[0].post("/rollouts", json=body).status_code == status


def test_unknown_rollouts_are_not_found(world):
    assert world[0].get("/rollouts/nobody").status_code == 404
    assert world[0].post("/rollouts/nobody/abort", json={}).status_code == 404


def test_drift_is_compared_once_there_is_a_reference(world):
    client, _ = world
    assert client.get("/drift").json() == {"report": None, "reference": None}
    assert client.post("/drift/run").status_code == 409
    assert client.post("/drift/references", json={"last_n": 100}).status_code == 400
    for start in range(0, 300, 100):
        rows = [{"features": {"x": (start + each) / 300}} for each in range(100)]
        client.post("/predict/batch", json={"rows": rows})
    made = client.post("/drift/references", json={"last_n": 300})
    assert made.status_code == 201, made.text
    assert made.json()["n_rows"] == 300
    assert client.get("/drift/references").json()["references"][0]["is_current"] is True
    hurried = {"x-request-timeout": "0.01"}
    assert client.post("/drift/run", headers=hurried).status_code == 504
    assert client.post("/drift/references", json={}, headers=hurried).status_code == 504
    report = client.post("/drift/run")
    assert report.status_code == 200, report.text
    assert report.json()["verdict"] in ("no_drift", "not_enough_data")
    assert client.get("/drift").json()["report"]["report_id"] == report.json()["report_id"]
    assert isinstance(client.get("/drift/history").json(), list)


def test_alerts_fire_from_rules_over_the_servers_own_numbers(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rules]]\nname = "few requests"\nsignal = "summary.rolling_count"\n'
        'below = 3\nseverity = "warn"\nkeep_firing_for_s = 0\n'
    )
    with model_server(tmp_path, "steady", alerts__rules=str(rules)) as (client, _):
        until(lambda: client.get("/alerts").json()["firing"])
        for x in range(4):
            client.post("/predict", json={"features": {"x": x}})
        until(lambda: not client.get("/alerts").json()["firing"])
        states = [each["state"] for each in client.get("/alerts").json()["history"]]
        assert states == ["resolved", "firing"]


def test_scopes_divide_who_asks_who_looks_and_who_changes(tmp_path):
    store = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    keys = {scope: store.create(scope, (scope,))[1] for scope in ("predict", "observe", "admin")}
    with model_server(tmp_path, "steady", "other", guards=Guards(keys=KeyRing(store))) as (
        client,
        _,
    ):

        def status(scope, method, path, body=None):
            headers = {"authorization": f"Bearer {keys[scope]}"} if scope else {}
            return client.request(method, path, json=body, headers=headers).status_code

        predict = ("POST", "/predict", {"features": {"x": 1}})
        abort = ("POST", "/rollouts/nobody/abort", {})
        assert status(None, *predict) == 401
        assert status(None, "GET", "/audit/summary") == 401
        assert [status(each, *predict) for each in keys] == [200, 403, 200]
        assert [status(each, "GET", "/audit/summary") for each in keys] == [403, 200, 200]
        assert [status(each, *abort) for each in keys] == [403, 403, 404]
        moved = client.put(
            "/versions/aliases/challenger",
            json={"number": None, "expected": 2},
            headers={"authorization": f"Bearer {keys['admin']}"},
        )
        assert moved.json()["actor"] == "key:admin"
