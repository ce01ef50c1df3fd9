"""Clients ask any route, page by page, again where it helps, and tell which request it was."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from glassbox.client import AsyncClient, Client, Retries
from glassbox.client.results import Change
from glassbox.errors import (
    CapacityError,
    GlassboxError,
    InvalidValue,
    QueueFull,
    Unreachable,
)
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine
from tests.client.test_client import InThisProcess, answering
from tests.rollout.side_world import open_side


def live():
    return httpx.Response(200, json={"data": []})


@pytest.fixture
def waits(monkeypatch):
    """How long was waited before each further try; nothing waits."""
    found = []

    async def wait(seconds):
        found.append(seconds)

    monkeypatch.setattr("glassbox.client.blocking.time.sleep", found.append)
    monkeypatch.setattr("glassbox.client.concurrent.asyncio.sleep", wait)
    return found


def refusing(n_times, reason):
    """Return a transport to which nobody answers at first, and how often it was asked."""
    asked = []

    def handle(request):
        asked.append(request)
        if len(asked) <= n_times:
            raise httpx.ConnectError("no connection") from reason
        return live()

    return httpx.MockTransport(handle), asked


def ask(kind, transport, call, **options):
    """Return what a client of either kind answers to a call."""

    async def inside():
        async with AsyncClient("http://test", transport=transport, **options) as client:
            return await call(client)

    if kind is AsyncClient:
        return asyncio.run(inside())
    with Client("http://test", transport=transport, **options) as client:
        return call(client)


KINDS = pytest.mark.parametrize("kind", [Client, AsyncClient])


@KINDS
def test_a_server_that_starts_anew_is_asked_again_whatever_it_is_asked(waits, kind):
    transport, asked = refusing(3, ConnectionRefusedError(111, "refused"))
    body = {"example": 1}
    assert ask(kind, transport, lambda each: each.call("POST", "/x", body=body)) == {"data": []}
    assert len(asked) == 4
    assert [low <= each <= 1.25 * low for each, low in zip(waits, (0.25, 0.5, 1.0), strict=True)]


@KINDS
@pytest.mark.parametrize(
    "reason",
    [socket.gaierror(socket.EAI_NONAME, "no such name"), ssl.SSLCertVerificationError("expired")],
)
def test_what_another_try_cannot_change_is_told_at_once(waits, kind, reason):
    transport, asked = refusing(9, reason)
    with pytest.raises(Unreachable):
        ask(kind, transport, lambda each: each.call("GET", "/x"))
    assert (len(asked), waits) == (1, [])


@KINDS
def test_nobody_is_asked_again_who_does_not_want_it(waits, kind):
    transport, asked = refusing(9, ConnectionRefusedError(111, "refused"))
    with pytest.raises(Unreachable):
        ask(kind, transport, lambda each: each.call("GET", "/x"), retries=Retries(n=0))
    assert (len(asked), waits) == (1, [])


def test_a_proxy_without_its_server_is_asked_again_unless_something_may_have_been_done(waits):
    gone = httpx.Response(502, text="Bad Gateway")
    transport, asked = answering(gone, live())
    assert ask(Client, transport, lambda each: each.call("GET", "/x")) == {"data": []}
    assert len(asked) == 2
    transport, asked = answering(gone, live())
    with pytest.raises(CapacityError, match="Bad Gateway"):
        ask(Client, transport, lambda each: each.call("POST", "/x"))
    assert len(asked) == 1


def test_a_wait_may_be_said_as_a_date(waits):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    full = httpx.Response(429, headers={"retry-after": until}, text="full")
    transport, _ = answering(full, live())
    ask(Client, transport, lambda each: each.call("GET", "/x"))
    assert 5 < waits[0] <= 9 * 1.25
    transport, _ = answering(httpx.Response(429, headers={"retry-after": "soon"}, text="full"))
    with pytest.raises(QueueFull) as caught:
        ask(Client, transport, lambda each: each.call("GET", "/x"), retries=Retries(n=0))
    assert caught.value.retry_after_s == 0.0


def test_an_error_says_which_request_it_was_and_what_the_server_called_it():
    headers = {"x-request-id": "r-7"}
    problem = {"detail": "The model is being loaded.", "code": "not-ready"}
    transport, _ = answering(httpx.Response(503, headers=headers, json=problem))
    with pytest.raises(CapacityError) as caught:
        ask(Client, transport, lambda each: each.call("GET", "/x"), retries=Retries(n=0))
    error = caught.value
    assert (error.code, error.status, error.request_id) == ("not-ready", 503, "r-7")
    assert GlassboxError.status is None
    # What cannot be read was answered all the same.
    transport, _ = answering(httpx.Response(200, headers=headers, text="<html>"))
    with pytest.raises(GlassboxError) as caught:
        ask(Client, transport, lambda each: each.models())
    assert caught.value.request_id == "r-7"


@KINDS
def test_any_route_is_asked_and_read_as_what_it_is(kind):
    answers = (
        (httpx.Response(200, json={"a": 1}), {"a": 1}),
        (httpx.Response(200, text="a page", headers={"content-type": "text/html"}), "a page"),
        (httpx.Response(200, content=b"\x00"), b"\x00"),
        (httpx.Response(204), None),
    )
    for answer, expected in answers:
        transport, asked = answering(answer)
        query = {"limit": 3, "names": ["a b", "c"], "left": None}
        found = ask(kind, transport, lambda each, query=query: each.call("get", "/x", query=query))
        assert found == expected
        assert (asked[0].method, str(asked[0].url)) == (
            "GET",
            "http://test/x?limit=3&names=a+b&names=c",
        )
    with pytest.raises(InvalidValue, match="server's root"):
        ask(kind, transport, lambda each: each.call("GET", "http://elsewhere/x"))


@KINDS
def test_one_call_may_be_waited_for_otherwise(kind):
    transport, asked = refusing(0, None)

    def call(client):
        return client.with_options(timeout_s=2.0, retries=Retries(n=0)).call("GET", "/x")

    ask(kind, transport, call, timeout_s=60.0)
    ask(kind, transport, lambda each: each.call("GET", "/x"), timeout_s=60.0)
    assert [each.extensions["timeout"]["read"] for each in asked] == [2.0, 60.0]
    with pytest.raises(InvalidValue):
        ask(kind, transport, lambda each: each.with_options(timeout_s=-1.0))


@KINDS
def test_changes_come_one_by_one_however_the_stream_is_cut(kind):
    said = (
        b': hello\r\n\r\nevent: rollout\r\ndata: {"id":\r\ndata: 1}\r\n\r\n'
        b'event: heartbeat\ndata: {}\n\ndata: [2]\n\nevent: lost\n\ndata: {"cut"'
    )

    async def parts():
        for at in range(0, len(said), 5):
            yield said[at : at + 5]

    headers = {"content-type": "text/event-stream"}
    expected = [Change("rollout", {"id": 1}), Change("heartbeat", {}), Change("message", [2])]
    if kind is AsyncClient:

        async def collected(client):
            return [each async for each in client.changes()]

        transport, _ = answering(httpx.Response(200, headers=headers, content=parts()))
        assert ask(kind, transport, collected) == expected
        return
    pieces = [said[at : at + 5] for at in range(0, len(said), 5)]
    transport, asked = answering(httpx.Response(200, headers=headers, content=iter(pieces)))
    assert ask(kind, transport, lambda each: list(each.changes())) == expected
    assert asked[0].headers["accept"] == "text/event-stream"


def test_every_prediction_is_told_once_page_by_page(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        app = create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side), Guards())
        with Client("http://test", transport=InThisProcess(app)) as client:
            for number in range(11):
                client.predict({"x": 1.0}, request_id=f"r{number}", wait_shadow_s=60)
            side.store.flush()
            expected = [f"r{number}" for number in reversed(range(11))]
            for limit in (1, 4, 11, 12):
                found = [each.request_id for each in client.iter_audit(limit=limit)]
                assert found == expected
            assert [each.request_id for each in client.iter_audit()] == expected
            assert list(client.iter_audit(status="error")) == []


def test_batches_have_a_segment_key_for_each_row():
    transport, asked = answering(httpx.Response(200, json={"results": []}))
    rows = [{"x": 1.0}, {"x": 2.0}]
    with pytest.raises(InvalidValue, match="1 key for 2 rows"):
        ask(Client, transport, lambda each: each.predict_batch(rows, segment_keys=["a"]))
    assert asked == []
