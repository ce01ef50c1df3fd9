"""A client that goes away takes its request with it, and nobody else's."""

import asyncio
import json
from dataclasses import replace

import pytest

from glassbox.engine.requests import Generation, Request, Sampling
from glassbox.errors import NonFiniteOutput
from glassbox.testing.fake import FakeEngine
from tests.server.worlds import fake_server, http_client, serve
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Watched(FakeEngine):
    """An engine that remembers its tickets."""

    def __init__(self, **options):
        super().__init__(**options)
        self.tickets = []

    def submit(self, request, listen=None):
        self.tickets.append(super().submit(request, listen))
        return self.tickets[-1]


async def ask(app, path, body, *, leave_after):
    """Send a request by hand and go away after so many messages of the answer."""
    content = json.dumps(body).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    sent, has_left, is_first = [], asyncio.Event(), True

    async def receive():
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": content, "more_body": False}
        await has_left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if len(sent) >= leave_after:
            has_left.set()

    if leave_after == 0:
        asyncio.get_running_loop().call_later(0.05, has_left.set)
    await asyncio.wait_for(app(scope, receive, send), PATIENCE_S)
    return sent


@pytest.mark.parametrize("stream", [False, True])
async def test_the_engine_stops_writing(stream):
    engine = Watched(step_s=0.05)
    body = {"prompt": "hello", "max_tokens": 200, "stream": stream, "glassbox": {
        "stop_at_end": False}}  # fmt: skip
    app = serve(engine)
    await ask(app, "/v1/completions", body, leave_after=3 if stream else 0)
    (ticket,) = engine.tickets
    answer = await asyncio.to_thread(ticket.result, PATIENCE_S)
    engine.close()
    counted = app.state.guards.metrics.text().decode()

    assert isinstance(answer, Generation)
    assert answer.finish_reason == "cancelled"
    assert len(answer.tokens.token_ids) < 200
    assert 'finished_reason="abort",model_name="fake"} 1.0' in counted


async def test_all_choices_of_a_refused_request_are_taken_back():
    engine = Watched(step_s=0.05, max_waiting=3)
    other = engine.submit(Request((1, 2), sampling=Sampling(max_tokens=200)))
    async with http_client(serve(engine)) as client:
        answer = await client.post(
            "/v1/completions", json={"prompt": ["a", "b", "c"], "max_tokens": 200}
        )
    other.cancel()
    reasons = [ticket.result(PATIENCE_S).finish_reason for ticket in engine.tickets]
    engine.close()

    assert answer.status_code == 429
    assert reasons == ["cancelled"] * 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2, "max_tokens": 1}),
        ("/v1/states", {"input": ["a", "b", "c", "d"], "capture": {"layers": [0]}}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 4}),
    ],
)
async def test_more_than_may_ever_wait_is_refused_for_good(path, body):
    engine = Watched(max_waiting=3, chat_template="{{ messages[0].content }}")
    async with http_client(serve(engine)) as client:
        answer = await client.post(path, json=body)
    engine.close()

    assert answer.status_code == 400
    assert "retry-after" not in answer.headers
    assert "is 4; allowed: 1 to 3, as many as may wait (server.max_waiting)" in answer.text
    assert engine.tickets == []


async def test_an_error_in_the_middle_of_a_stream_is_told_and_ends_it(monkeypatch):
    async with fake_server() as (engine, app), http_client(app) as client:
        submit = engine.submit

        def failing(request, listen=None):
            ticket = submit(request, listen)

            def broken(timeout_s=None):
                raise NonFiniteOutput("The model answered NaN or infinity.")

            monkeypatch.setattr(ticket, "result", broken)
            return ticket

        monkeypatch.setattr(engine, "submit", failing)
        answer = await client.post(
            "/v1/completions", json={"prompt": "a", "max_tokens": 3, "stream": True}
        )

    events = [line for line in answer.text.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    error = json.loads(events[-2].removeprefix("data: "))["error"]
    assert error["code"] == "non-finite-output"


async def test_a_text_that_a_deadline_cut_short_says_so(monkeypatch):
    async with fake_server() as (engine, app), http_client(app) as client:
        submit, asked = engine.submit, []

        def late(request, listen=None):
            asked.append(request)
            ticket = submit(request, listen)
            result = ticket.result
            monkeypatch.setattr(
                ticket, "result", lambda t=None: replace(result(t), finish_reason="deadline")
            )
            return ticket

        monkeypatch.setattr(engine, "submit", late)
        for own, header, expected in ((None, "0.5", 0.5), (0.2, "9", 0.2), (9, "0.3", 0.3)):
            shown = {} if own is None else {"glassbox": {"deadline_s": own}}
            answer = await client.post(
                "/v1/completions",
                json={"prompt": "a", "max_tokens": 2, **shown},
                headers={"x-request-timeout": header},
            )
            (choice,) = answer.json()["choices"]
            assert asked[-1].deadline_s == expected
            assert choice["finish_reason"] == "length"
            assert choice["glassbox"]["finish_reason"] == "deadline"


async def test_hundreds_of_clients_at_once_are_all_answered():
    async with fake_server(max_waiting=2000) as (_, app), http_client(app) as client:

        async def one(number):
            body = {"prompt": [number % 256], "max_tokens": 1, "temperature": 0}
            answer = await client.post("/v1/completions", json=body)
            return answer.status_code, answer.json()["choices"][0]["text"]

        alone = [await one(number) for number in range(8)]
        answers = await asyncio.gather(*(one(number) for number in range(300)))

    assert {status for status, _ in answers} == {200}
    assert answers[:8] == alone
