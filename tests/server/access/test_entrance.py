"""What the door lets through before anything is read: who, how much, how long, how many."""

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from glassbox.server.access import entrance
from glassbox.server.access.guards import Guards
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.testing import FakeEngine
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

PATH = "/v1/completions"

GONE = None
"""In place of a piece of a body: the client closes its connection."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def keys(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    yield KeyStore(database)
    database.close()


def app_with(guards, *, is_loaded=True):
    serving = Serving(Speaker(FakeEngine(), "fake")) if is_loaded else None
    return create_app(serving, guards)


async def post(app, pieces, headers=(), *, pause_s=0.0):
    """Return status, headers and how many pieces of the body were taken."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
            (b"host", b"test"),
            *headers,
        ],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    n_taken, sent = 0, []

    async def receive():
        nonlocal n_taken
        await asyncio.sleep(pause_s)
        n_taken += 1
        is_last = n_taken >= len(pieces)
        if pieces[n_taken - 1] is GONE:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces[n_taken - 1], "more_body": not is_last}

    async def send(message):
        sent.append(message)

    await asyncio.wait_for(app(scope, receive, send), PATIENCE_S)
    return sent[0]["status"], dict(sent[0]["headers"]), n_taken


async def test_a_strangers_body_is_not_read(keys):
    keys.create("somebody")
    app = app_with(Guards(keys=KeyRing(keys)))

    status, _, n_taken = await post(app, [b"{" * 1000] * 50)

    assert (status, n_taken) == (401, 0)


async def test_keys_that_cannot_be_looked_up_are_not_a_body_that_is_no_json(keys, monkeypatch):
    keys.create("somebody")
    ring = KeyRing(keys)
    assert await ring.needs_key()
    database = keys._database
    with database.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE api_keys")
    header = (b"authorization", b"Bearer gbx_" + b"a" * 43)

    status, headers, n_taken = await post(app_with(Guards(keys=ring)), [b"{}"], [header])

    assert (status, n_taken) == (503, 0)
    assert headers[b"x-glassbox-error"] == b"capacity"
    assert headers[b"retry-after"] == b"1"


async def test_a_body_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr(entrance, "BODY_S", 0.2)

    status, headers, n_taken = await post(app_with(Guards()), [b"a"] * 1000, pause_s=0.05)

    assert status == 408
    assert headers[b"x-glassbox-error"] == b"body-too-slow"
    assert n_taken < 20


@pytest.mark.parametrize("pieces", [[GONE], [b'{"prompt": "a', GONE]])
async def test_a_client_that_goes_away_before_its_body_is_whole_sent_no_bad_json(pieces):
    guards = Guards()

    status, headers, _ = await post(app_with(guards), pieces)

    assert status == 499
    assert b"x-glassbox-error" not in headers
    counted = guards.metrics.text().decode()
    assert f'route="{PATH}",status="499"}} 1.0' in counted
    assert 'status="400"' not in counted


def test_more_requests_than_connections_are_refused_in_our_words_and_health_is_not():
    guards = Guards(limits=ServerSettings(max_connections=2))
    client = TestClient(app_with(guards))
    guards.lifecycle.enter()
    guards.lifecycle.enter()
    refused = client.get("/v1/models")
    health = [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")]
    guards.lifecycle.leave()

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-glassbox-error"] == "too-many-connections"
    assert refused.headers["x-request-id"]
    assert health == [200, 200, 200]
    assert client.get("/v1/models").status_code == 200
    guards.lifecycle.leave()
    assert guards.lifecycle.n_running == 0


def test_methods_that_nobody_knows_are_counted_as_one():
    client = TestClient(app_with(Guards()))
    for number in range(5):
        client.request(f"FOO{number}", "/v1/models")
    text = client.get("/metrics").text

    assert "FOO" not in text
    assert 'method="other"' in text


def test_why_the_model_is_not_there_is_for_the_log_and_a_key_comes_first(keys):
    keys.create("somebody")
    guards = Guards(keys=KeyRing(keys))
    app: FastAPI = app_with(guards, is_loaded=False)
    client = TestClient(app)

    for method, path in (
        ("GET", "/v1/models"),
        ("GET", "/v1/adapters"),
        ("DELETE", "/v1/adapters/a"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/verify"),
        ("POST", "/invocations"),
    ):
        assert client.request(method, path).status_code == 401, path
