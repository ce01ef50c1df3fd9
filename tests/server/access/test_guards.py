"""What stands between the network and the model: keys, sizes, types, errors, names, the log."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from glassbox.errors import InvalidValue, QueueFull, TextTooLong, UnknownName
from glassbox.server.access.dependencies import Administering, Deadline, Observing, Predicting
from glassbox.server.access.entrance import ACCESS_LOG, MOST_OPENED, FaultFormatter
from glassbox.server.access.guards import Guards
from glassbox.server.access.key_ring import REMEMBER_S, KeyRing
from glassbox.server.app import create_app
from glassbox.server.routes import health
from glassbox.server.serving import Served, Serving
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.database import Database, open_database
from glassbox.storage.keys import KeyStore
from glassbox.testing import FakeEngine
from glassbox.wire.headers import ERROR_HEADER
from glassbox.wire.shapes import Asked

router = APIRouter()


class Trial(Asked):
    text: str
    n: int = 1


@router.post("/trial")
async def trial(asked: Trial, serving: Served, caller: Predicting) -> dict[str, str]:
    return {"text": asked.text, "client": caller.client, "model": serving.name}


@router.get("/numbers")
async def numbers(_caller: Observing) -> int:
    return 1


@router.get("/change")
async def change(_caller: Administering) -> int:
    return 2


@router.get("/time")
async def time_left(deadline_s: Deadline) -> float:
    return deadline_s


RAISED: dict[str, Exception] = {
    "queue": QueueFull(7, 3.2),
    "name": UnknownName("model", "gpt-9", ["tiny"]),
    "long": TextTooLong(300, 256),
    "fault": RuntimeError("the prompt was: my secret diary"),
}


@router.get("/fail/{what}")
async def fail(what: str) -> None:
    raise RAISED[what]


@router.get("/v1/models/{what}")
async def fail_as_openai(what: str) -> None:
    raise RAISED[what]


@router.post("/v1/completions")
async def completion(asked: Trial, _caller: Predicting) -> str:
    return asked.text


def app_of(guards: Guards | None = None, *, is_loaded: bool = True) -> FastAPI:
    serving = Serving(Speaker(FakeEngine(), "fake")) if is_loaded else None
    return create_app(serving, guards, routers=[health.router, router])


@pytest.fixture
def client() -> TestClient:
    return TestClient(app_of(), raise_server_exceptions=False)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


@pytest.fixture
def locked(keys: KeyStore, clock: Clock) -> TestClient:
    guards = Guards(keys=KeyRing(keys, clock=clock))
    return TestClient(app_of(guards), raise_server_exceptions=False)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_without_keys_everyone_may_do_everything(locked: TestClient) -> None:
    assert locked.get("/change").status_code == 200
    assert locked.post("/trial", json={"text": "a"}).json()["client"] == "testclient"


def test_once_there_is_a_key_every_route_but_health_needs_one(
    locked: TestClient, keys: KeyStore
) -> None:
    keys.create("someone")
    for path in ("/numbers", "/change", "/metrics", "/openapi.json"):
        answer = locked.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == 'Bearer realm="glassbox"'
        assert answer.headers["x-glassbox-error"] == "access-denied"
        assert answer.json()["code"] == "access-denied"
    for path in ("/livez", "/readyz"):
        assert locked.get(path).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "gbx_abc", "Bearer é"])
def test_what_is_no_key_of_ours_is_refused(locked: TestClient, keys: KeyStore, header: str) -> None:
    keys.create("someone")
    answer = locked.get("/numbers", headers={"authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_a_key_opens_what_its_scopes_say(locked: TestClient, keys: KeyStore) -> None:
    _, observer = keys.create("graphs", ["observe"])
    _, admin = keys.create("boss", ["admin"])
    assert locked.get("/numbers", headers=bearer(observer)).status_code == 200
    refused = locked.get("/change", headers=bearer(observer))
    assert refused.status_code == 403
    assert "this call needs 'admin'" in refused.json()["detail"]
    assert observer not in refused.text
    for path in ("/numbers", "/change"):
        assert locked.get(path, headers=bearer(admin)).status_code == 200


def test_the_client_of_a_request_is_its_key(locked: TestClient, keys: KeyStore) -> None:
    key, secret = keys.create("team")
    answer = locked.post("/trial", json={"text": "a"}, headers=bearer(secret))
    assert answer.json()["client"] == key.id


def test_a_revoked_key_works_a_few_seconds_longer_and_then_no_more(
    locked: TestClient, keys: KeyStore, clock: Clock
) -> None:
    key, secret = keys.create("team", ["observe"])
    assert locked.get("/numbers", headers=bearer(secret)).status_code == 200
    keys.revoke(key.id)
    clock.now += REMEMBER_S + 1
    assert locked.get("/numbers", headers=bearer(secret)).status_code == 401


def test_revoking_the_last_key_does_not_open_a_running_server(
    locked: TestClient, keys: KeyStore, clock: Clock
) -> None:
    key, _ = keys.create("team")
    assert locked.get("/numbers").status_code == 401
    keys.revoke(key.id)
    clock.now += REMEMBER_S + 1
    assert locked.get("/numbers").status_code == 401


def test_a_database_that_does_not_answer_lets_nobody_in(
    locked: TestClient, database: Database
) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE api_keys")
    answer = locked.get("/numbers")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_before_the_model_is_there_the_server_lives_and_is_not_ready() -> None:
    client = TestClient(app_of(is_loaded=False))
    assert client.get("/livez").json() == {"status": "alive"}
    for answer in (client.get("/readyz"), client.post("/trial", json={"text": "a"})):
        assert answer.status_code == 503
        assert answer.json()["code"] == "not-ready"
        assert int(answer.headers["retry-after"]) >= 1


def test_a_server_that_drains_takes_no_new_requests(client: TestClient) -> None:
    client.app.state.guards.lifecycle.drain()  # type: ignore[attr-defined]
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.post("/trial", json={"text": "a"}).status_code == 503


def small(n_bytes: int = 2048) -> Guards:
    return Guards(limits=ServerSettings(max_body_bytes=n_bytes))


def test_a_body_up_to_the_limit_is_read_and_one_byte_more_is_not() -> None:
    client = TestClient(app_of(small()))
    frame = len('{"text": ""}')
    for n, status in ((2048 - frame, 200), (2049 - frame, 413)):
        content = f'{{"text": "{"a" * n}"}}'
        headers = {"content-type": "application/json"}
        assert client.post("/trial", content=content, headers=headers).status_code == status


def test_ten_megabytes_are_refused_by_default(client: TestClient) -> None:
    answer = client.post("/trial", json={"text": "a" * 10_000_000})
    assert answer.status_code == 413
    assert answer.json()["code"] == "body-too-large"
    assert "at most" in answer.json()["detail"] or "the most" in answer.json()["detail"]


@pytest.mark.parametrize("bracket", ["[", "{"])
def test_a_body_of_too_many_parts_is_refused(client: TestClient, bracket: str) -> None:
    headers = {"content-type": "application/json"}
    for n, status in ((MOST_OPENED - 1, 200), (MOST_OPENED, 413)):
        content = f'{{"text": "{bracket * n}"}}'
        answer = client.post("/trial", content=content, headers=headers)
        assert answer.status_code == status
    assert answer.json()["code"] == "body-too-large"
    assert "more than 262,144 brackets" in answer.json()["detail"]


def test_a_body_that_does_not_say_how_large_it_is_is_counted() -> None:
    client = TestClient(app_of(small()))
    n_sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal n_sent
        for _ in range(100):
            n_sent += 1
            yield b"a" * 1024

    answer = client.post("/trial", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is needed"),
        (b"{", "no JSON"),
        (b'{"text": "a"', "no JSON"),
        (b'{"text": "\xff\xfe"}', "no JSON in UTF-8"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_json_is_said_so(client: TestClient, content: bytes, match: str) -> None:
    answer = client.post("/trial", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert match in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_is_not_called_json_is_refused(client: TestClient, kind: str) -> None:
    answer = client.post("/trial", content=b'{"text": "a"}', headers={"content-type": kind})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported-media-type"
    assert "application/json" in answer.json()["detail"]


def test_unknown_and_wrong_fields_are_named(client: TestClient) -> None:
    answer = client.post("/trial", json={"text": 7, "txet": "a"})
    assert answer.status_code == 400
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {each["field"] for each in problem["errors"]} == {"text", "txet"}
    assert "txet: unknown field" in problem["detail"]
    assert "it is 7" in problem["detail"]
    assert problem["instance"] == f"/trial#{answer.headers['x-request-id']}"
    assert problem["status"] == 400
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_openai_routes_answer_in_openais_shape(client: TestClient) -> None:
    answer = client.post("/v1/completions", json={"text": 7})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "text"
    unknown = client.get("/v1/models/name")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert unknown.headers["x-glassbox-error"] == "unknown-name"
    busy = client.get("/v1/models/queue")
    assert busy.status_code == 429
    assert busy.json()["error"]["type"] == "rate_limit_error"
    assert busy.headers["retry-after"] == "3"
    assert client.get("/v1/models/long").json()["error"]["code"] == "context_length_exceeded"


def test_a_full_queue_says_when_to_come_back(client: TestClient) -> None:
    answer = client.get("/fail/queue")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "3"
    assert answer.json()["retry_after_s"] == 3.2


def test_unknown_routes_and_methods_say_so(client: TestClient) -> None:
    unknown = client.get("/nothing")
    assert unknown.status_code == 404
    assert unknown.json()["code"] == "no-such-route"
    wrong = client.get("/trial")
    assert wrong.status_code == 405
    assert wrong.json()["code"] == "method-not-allowed"
    assert "allowed: POST" in wrong.json()["detail"]


def test_what_is_allowed_instead_is_said_of_all_routes_of_a_path() -> None:
    client = TestClient(create_app())
    for path, allowed in (
        ("/v1/adapters", "GET, POST"),
        ("/v1/adapters/x", "DELETE"),
        ("/api/v2/models/audit/records/x", "GET, DELETE"),
        ("/", "GET, HEAD"),
    ):
        wrong = client.patch(path)
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == allowed
        assert f"allowed: {allowed}." in wrong.json()["detail"]


def test_a_fault_of_ours_tells_nothing_of_what_was_asked(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "glassbox"):
        answer = client.get("/fail/fault")
    assert answer.status_code == 500
    assert answer.json()["code"] == "unexpected"
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "diary" not in answer.text
    assert "diary" not in caplog.text


def test_a_fault_in_the_log_has_its_place_and_not_its_words() -> None:
    try:
        raise RAISED["fault"]
    except RuntimeError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 1, "failed", None, (type(error), error, error.__traceback__)
        )
    shown = FaultFormatter().format(record)
    assert "diary" not in shown
    assert "RuntimeError" in shown
    assert "test_guards.py" in shown


def test_the_log_has_a_line_for_each_request_and_no_word_of_it(
    locked: TestClient, keys: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    key, secret = keys.create("team")
    with caplog.at_level(logging.INFO, ACCESS_LOG):
        locked.post("/trial?q=private", json={"text": "my diary"}, headers=bearer(secret))
        locked.get("/livez")
    lines = [record.getMessage() for record in caplog.records if record.name == ACCESS_LOG]
    assert len(lines) == 1
    assert lines[0].startswith("POST /trial 200 ")
    assert f"key={key.id}" in lines[0]
    assert not any(word in caplog.text for word in ("diary", "private", secret))


def test_a_line_of_the_log_says_why_a_request_was_refused(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, ACCESS_LOG):
        code = client.get("/nowhere").headers[ERROR_HEADER]
        client.post("/trial", json={"text": "a"})
    refused, answered = [each.getMessage() for each in caplog.records if each.name == ACCESS_LOG]
    assert refused.endswith(f" error={code}")
    assert answered.endswith(" error=-")


def test_a_harmless_request_id_is_kept_and_another_replaced(client: TestClient) -> None:
    kept = client.get("/livez", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    replaced = client.get("/livez", headers={"x-request-id": "a b\tc"})
    assert replaced.headers["x-request-id"].startswith("req-")


def test_a_request_may_ask_for_less_time_and_not_for_more(client: TestClient) -> None:
    most = ServerSettings().max_deadline_s
    assert client.get("/time").json() == most
    assert client.get("/time", headers={"x-request-timeout": "2.5"}).json() == 2.5
    assert client.get("/time", headers={"x-request-timeout": "1e9"}).json() == most
    for wrong in ("0", "-1", "soon", "nan"):
        answer = client.get("/time", headers={"x-request-timeout": wrong})
        assert answer.status_code == 400, wrong
        assert answer.json()["code"] == InvalidValue.code


def test_metrics_count_requests_by_route(client: TestClient) -> None:
    for _ in range(3):
        client.get("/numbers")
    client.get("/nothing")
    shown = client.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain")
    line = 'glassbox:http_requests_total{method="GET",route="/numbers",status="200"} 3.0'
    assert line in shown.text
    assert 'glassbox:num_requests_running{model_name="fake"} 0.0' in shown.text
    assert "/nothing" not in shown.text


def test_two_apps_count_apart(client: TestClient) -> None:
    client.get("/numbers")
    other = TestClient(app_of())
    assert "/numbers" not in other.get("/metrics").text


def test_the_description_of_the_routes_needs_nothing_from_elsewhere(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert "/trial" in described["paths"]
    assert client.get("/docs").status_code == 404
