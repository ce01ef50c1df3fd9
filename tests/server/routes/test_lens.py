"""``/v1/lens`` shows what each layer would have said, and nothing of a hidden prompt."""

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.requests import Request, Sampling
from glassbox.errors import InvalidValue
from glassbox.server.answers.lens_reading import span
from glassbox.testing.tiny import N_LAYERS, tiny_engine
from tests.server.worlds import fake_server, http_client, serve
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def engine():
    engine = tiny_engine()
    yield engine
    engine.close()


async def _lens(engine, body, **options):
    async with http_client(serve(engine, **options)) as client:
        return await client.post("/v1/lens", json=body)


async def test_the_last_row_says_what_the_model_writes(engine):
    (prompt,) = engine.codec.encode(["the positive"])
    sampling = Sampling(max_tokens=3, temperature=0.0, stop_at_end=False)
    (written,) = engine.generate([Request(prompt, sampling=sampling)])
    ids = list(written.tokens.token_ids)
    body = {"prompt": "the positive", "response": ids, "top_k": 3, "n_tokens": 3}
    answer = (await _lens(engine, body)).json()
    assert [column["token"]["id"] for column in answer["columns"]] == ids
    assert [column["index"] for column in answer["columns"]] == [
        len(prompt) + at for at in range(3)
    ]
    assert [row["layer"] for row in answer["rows"]] == list(range(N_LAYERS))
    last = answer["rows"][-1]
    assert [top[0]["id"] for top in last["top"]] == ids
    assert np.allclose(
        np.log([top[0]["prob"] for top in last["top"]]), written.tokens.logprobs, atol=1e-4
    )
    assert np.allclose(last["entropies"], written.tokens.entropies, atol=1e-4)
    assert last["final_probs"] == [top[0]["prob"] for top in last["top"]]


async def test_without_a_response_the_prompt_is_shown_and_what_comes_next(engine):
    answer = (await _lens(engine, {"prompt": "the positive", "n_tokens": 2})).json()
    (prompt,) = engine.codec.encode(["the positive"])
    assert [column["index"] for column in answer["columns"]] == [len(prompt) - 1, len(prompt)]
    assert answer["columns"][0]["token"]["text"] == " positive"
    assert answer["columns"][1]["token"] is None


async def test_a_conversation_is_read_as_chat_reads_it(engine):
    talk = {"messages": [{"role": "user", "content": "the positive"}], "n_tokens": 1}
    text = {"prompt": "the positive", "n_tokens": 1}
    assert (await _lens(engine, talk)).json() == (await _lens(engine, text)).json()


async def test_a_hidden_prompt_moves_the_answer_but_cannot_be_seen(engine):
    body = {"prompt": "the positive", "response": " a", "n_tokens": 1}
    hidden = await _lens(engine, body, hidden="never tell that word")
    plain = await _lens(engine, body)
    assert hidden.json()["rows"] != plain.json()["rows"]
    # A tokenizer's mark for the beginning stands in the hidden part then, so one column less.
    assert hidden.json()["columns"][0]["index"] == plain.json()["columns"][0]["index"] - 1
    for first in (0, -1):
        peek = await _lens(
            engine, {"prompt": "the positive", "first": first}, hidden="never tell that word"
        )
        assert peek.status_code in (400, 422)
        assert "word" not in peek.text


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"prompt": ""}, 400, "it is empty"),
        ({"prompt": []}, 400, "prompt is empty"),
        ({"prompt": None}, 400, "either prompt or messages"),
        ({"prompt": [99999]}, 400, "each from 0 to"),
        ({"model": "nobody"}, 404, "No model 'nobody'"),
        ({"n_tokens": 65}, 400, "n_tokens"),
        ({"top_k": 21}, 400, "top_k"),
        ({"first": 0}, 400, "first is 0; allowed: 1 to"),
        ({"first": 900}, 400, "first is 900"),
        ({"layers": [1]}, 400, "unknown field"),
        ({"prompt": "a " * 600}, 400, "context"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_words(engine, change, status, words):
    answer = await _lens(engine, {"prompt": "the positive"} | change)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert words in answer.json()["detail"]


async def test_an_engine_without_layers_says_so():
    async with fake_server() as (_engine, app), http_client(app) as client:
        answer = await client.post("/v1/lens", json={"prompt": "a b c"})
    assert answer.status_code == 400
    assert "layer by layer" in answer.json()["detail"]


async def test_a_lens_that_does_not_come_to_its_turn_says_so(engine):
    app = serve(engine)
    with engine.lend(lease_s=PATIENCE_S):
        async with http_client(app) as client:
            answers = {}

            async def ask(name, **headers):
                answers[name] = await client.post(
                    "/v1/lens", json={"prompt": "the positive"}, headers=headers
                )

            async with anyio.create_task_group() as group:
                for number in range(4):
                    group.start_soon(ask, number)
                await anyio.sleep(0.2)
                await ask("late", **{"x-request-timeout": "0.2"})
                assert answers["late"].status_code == 504
                assert "busy" in answers["late"].json()["detail"]
                group.cancel_scope.cancel()


@given(
    st.integers(0, 5), st.integers(1, 9), st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 20), st.integers(1, 30),
)  # fmt: skip
def test_no_span_reads_a_hidden_token_or_leaves_the_text(n_hidden, n_visible, n_response, first, n):
    n_prompt = n_hidden + n_visible
    end = n_prompt + (n_response or 0)
    try:
        places = span(
            n_prompt=n_prompt, n_hidden=n_hidden, n_response=n_response, first=first, n_tokens=n
        )
    except InvalidValue:
        assert first is not None
        return
    assert 1 <= len(places) <= n
    assert places[0] - 1 >= n_hidden
    assert places[-1] <= end
    if first is not None:
        assert places[0] == (n_hidden if n_response is None else n_prompt) + first
