"""``/v1/states`` sends what the engine captured, whatever the form."""

import numpy as np
import pytest
from safetensors.numpy import load

from glassbox.engine.requests import Request
from glassbox.testing.tiny import tiny_engine
from glassbox.types import Capture, HookPoint
from glassbox.wire.states import SAFETENSORS_TYPE, StatesListAnswered
from tests.server.worlds import fake_server, http_client, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def engine():
    engine = tiny_engine()
    yield engine
    engine.close()


async def test_json_and_safetensors_hold_what_the_engine_captured(engine):
    texts, responses = ["the positive", "a"], [" negative", " on"]
    body = {
        "input": texts,
        "responses": responses,
        "capture": {
            "points": [{"layer": -1}, {"layer": 0, "site": "resid_pre"}],
            "scope": "generated",
        },
    }
    async with http_client(serve(engine)) as client:
        plain = (await client.post("/v1/states", json=body)).content
        answer = await client.post("/v1/states", json=body, headers={"accept": SAFETENSORS_TYPE})

    assert answer.headers["content-type"] == SAFETENSORS_TYPE
    told, arrays = StatesListAnswered.from_json(plain), load(answer.content)
    capture = Capture(
        (HookPoint(1), HookPoint(0, "resid_pre")), ("mean", "last", "norm"), "generated"
    )
    encode = engine.codec.encode
    for index, (text, response) in enumerate(zip(texts, responses, strict=True)):
        (prompt,), (given,) = encode([text]), encode([response], special=False)
        (expected,) = engine.generate([Request(prompt, response=given, capture=capture)])
        assert told.data[index].n_tokens == len(prompt) + len(given)
        for ours, theirs in zip(told.data[index].states, expected.states, strict=True):
            assert (ours.layer, ours.site) == (theirs.point.layer, theirs.point.site)
            assert ours.n_positions == len(given)
            assert ours.norm == pytest.approx(theirs.norm, rel=1e-4)
            for form in ("mean", "last"):
                name = f"{index}.layer_{ours.layer}.{ours.site}.{form}"
                np.testing.assert_allclose(getattr(ours, form), getattr(theirs, form), atol=1e-4)
                np.testing.assert_allclose(arrays[name], getattr(theirs, form), atol=1e-4)


async def test_an_index_of_the_library_names_the_same_place(engine):
    n = engine.info.n_layers
    body = {"input": "the", "capture": {"hidden_state_indices": list(range(n + 1))}}
    async with http_client(serve(engine)) as client:
        states = (await client.post("/v1/states", json=body)).json()["data"][0]["states"]

    assert [each["hidden_state_index"] for each in states] == list(range(n + 1))
    assert (states[0]["layer"], states[0]["site"]) == (0, "resid_pre")
    assert (states[-1]["layer"], states[-1]["site"]) == (n - 1, "final_norm")


async def test_every_position_comes_as_safetensors_or_on_request(engine):
    body = {"input": "the positive", "capture": {"layers": [0], "pooling": ["none"]}}
    async with http_client(serve(engine)) as client:
        refused = await client.post("/v1/states", json=body)
        as_json = await client.post("/v1/states", json={**body, "raw_as_json": True})
        tensors = await client.post("/v1/states", json=body, headers={"accept": SAFETENSORS_TYPE})

    assert refused.status_code == 400
    assert "safetensors" in refused.json()["detail"]
    (states,) = as_json.json()["data"][0]["states"]
    array = load(tensors.content)["0.layer_0.resid_post.none"]
    assert array.shape == (states["n_positions"], engine.info.d_model)
    np.testing.assert_allclose(states["none"], array, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": "a", "capture": {"layers": [2]}}, 400, "layers 0 to 1"),
        ({"input": "a", "capture": {"layers": [-3]}}, 400, "-1 to -2"),
        ({"input": "a", "capture": {"layers": [-1, 1]}}, 400, "twice"),
        ({"input": "a", "capture": {"hidden_state_indices": [3]}}, 400, "-1 to -3"),
        ({"input": "a", "capture": {"pooling": ["max"]}}, 400, "'mean'"),
        ({"input": "", "capture": {"layers": [0]}}, 400, "empty"),
        ({"input": "a", "model": "gpt-9", "capture": {"layers": [0]}}, 404, "gpt-9"),
        (
            {
                "input": [[5] * 250] * 40,
                "capture": {"layers": "all", "pooling": ["none"]},
                "raw_as_json": True,
            },
            200,
            "",
        ),
    ],
)
async def test_a_wrong_request_names_what_is_allowed(engine, body, status, words):
    async with http_client(serve(engine)) as client:
        answer = await client.post("/v1/states", json=body)

    assert answer.status_code == status
    if words:
        assert words in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


async def test_more_states_than_one_answer_holds_are_refused(monkeypatch):
    monkeypatch.setattr("glassbox.server.routes.states.MAX_JSON_STATES_BYTES", 2**20)
    body = {
        "input": [[5] * 200] * 200,
        "capture": {"layers": "all", "pooling": ["none"]},
        "raw_as_json": True,
    }
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.post("/v1/states", json=body)

    assert answer.status_code == 400
    assert "at most 1 MiB" in answer.json()["detail"]
