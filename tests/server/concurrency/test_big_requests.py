"""Requests that ask for much: refused in words, and never at the cost of others."""

import json
import threading

import numpy as np
import pytest

from glassbox.engine.requests import Request
from glassbox.server.concurrency import tickets
from glassbox.server.concurrency.event_stream import WAITING
from glassbox.server.translation.readings import TokenTexts, chat_logprobs
from glassbox.testing.fake import FakeEngine
from glassbox.types import Capture, HookPoint
from glassbox.wire.shapes import Answered
from tests.server.worlds import fake_server, http_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_more_texts_than_one_request_may_ask_for_are_refused():
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.post("/v1/completions", json={"prompt": ["a"] * 64, "n": 5})

    assert answer.status_code == 400
    assert "320 texts" in answer.json()["error"]["message"]


async def test_more_states_than_json_holds_are_refused_beside_text_too(monkeypatch):
    monkeypatch.setattr("glassbox.server.translation.speech.MAX_JSON_STATES_BYTES", 1000)
    asked = {"glassbox": {"capture": {"layers": "all"}}}
    async with fake_server() as (_, app), http_client(app) as client:
        one = await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1, **asked})
        many = await client.post("/v1/completions", json={"prompt": ["a"] * 9, **asked})

    assert one.status_code == 200
    assert many.status_code == 400
    assert "in one answer" in many.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a", "glassbox": {"capture": {"layers": "all"}}}),
        ("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "a"}],
            "glassbox": {"capture": {"layers": "all"}},
        }),
        ("/invocations", {"inputs": "a", "parameters": {"target_layers": [-1], "stream": True}}),
    ],
)  # fmt: skip
async def test_states_at_the_end_of_a_stream_are_written_down_beside_the_event_loop(
    monkeypatch, path, body
):
    loop, threads = threading.get_ident(), []
    to_json = Answered.to_json

    def watched(self):
        content = to_json(self)
        if b'"final":' in content:
            threads.append(threading.get_ident())
        return content

    monkeypatch.setattr(Answered, "to_json", watched)
    if path != "/invocations":
        body = body | {"stream": True, "max_tokens": 2}
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.post(path, json=body)

    assert answer.status_code == 200
    assert len(threads) == 1
    assert loop not in threads


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([5] * (2**20 + 1), "1048577 token ids"),
        ([[5, True]], "no known kind"),
        ([5, "a"], "no known kind"),
        ([[5], ""], "empty"),
        ([], "empty"),
        ({"a": 1}, "no known kind"),
        (["a"] * 257, "257 prompts"),
    ],
)
async def test_a_prompt_of_no_known_kind_or_size_is_refused(prompt, words):
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1})

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_an_echo_without_writing_shows_the_states_of_the_whole_prompt():
    async with fake_server() as (engine, app), http_client(app) as client:
        shown = {"capture": {"layers": [0], "scope": "prompt"}}
        body = {"prompt": "the positive", "max_tokens": 0, "echo": True, "glassbox": shown}
        answer = await client.post("/v1/completions", json=body)
        wrong = {**body, "glassbox": {"capture": {"layers": [0], "scope": "generated"}}}
        refused = await client.post("/v1/completions", json=wrong)
        (prompt,) = engine.codec.encode(["the positive"])
        capture = Capture((HookPoint(0),), ("mean",), "prompt")
        (expected,) = engine.generate([Request(prompt, response=(), capture=capture)])

    (states,) = answer.json()["choices"][0]["glassbox"]["states"]
    assert states["scope"] == "prompt"
    assert states["n_positions"] == len(prompt)
    np.testing.assert_allclose(states["mean"], expected.states[0].mean, atol=1e-5)
    assert refused.status_code == 400


def test_half_a_character_has_no_bytes_rather_than_wrong_ones(monkeypatch):
    engine = FakeEngine()
    (answer,) = engine.generate([Request((5,), response=(1, 2))])
    texts = TokenTexts(engine.codec)
    engine.close()
    monkeypatch.setattr(texts, "shown", lambda token: {1: "é"}.get(token, "\ufffd"))
    shown = chat_logprobs(answer.tokens, texts)

    assert shown.content[0].bytes == [0xC3, 0xA9]
    assert shown.content[1].bytes is None


async def test_a_stream_that_waits_says_so_and_counts_at_its_end(monkeypatch):
    monkeypatch.setattr(tickets, "QUIET_S", 0.05)
    body = {
        "prompt": "a",
        "max_tokens": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "glassbox": {"stop_at_end": False},
    }
    async with fake_server(step_s=0.2) as (_, app), http_client(app) as client:
        answer = await client.post("/v1/completions", json=body)

    assert WAITING in answer.content
    chunks = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.split("\n\n")
        if line.startswith("data: {")
    ]
    assert all(each["usage"] is None for each in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] == 2
