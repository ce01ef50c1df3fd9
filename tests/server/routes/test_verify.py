"""``/v1/verify`` says what the verifier says."""

from dataclasses import asdict

import pytest

from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.introspection.verifier.verify import Verifier
from glassbox.runtime import Runtime
from glassbox.server.routes.verify import HIDDEN_NOTE
from glassbox.testing.fake import FakeEngine
from tests.server.worlds import fake_server, http_client, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_the_verdict_is_that_of_the_verifier():
    engine = FakeEngine()
    verifier = Verifier(engine)
    async with http_client(serve(engine, verifier=verifier)) as client:
        body = {"prompt": "hello", "response": "the positive", "k": 3}
        told = (await client.post("/v1/verify", json=body)).json()
    expected = asdict(verifier.verify("hello", "the positive", k=3))
    engine.close()

    assert told.pop("object") == "verdict"
    assert told["method"] == "heuristic"
    assert told["validated"] is False
    assert told["response"] == "the positive"
    assert [each["name"] for each in told["checks"]] == [
        each["name"] for each in expected["checks"]
    ]
    for name in ("uncertainty", "decision", "spans", "samples", "notes", "origin", "tokens"):
        assert (
            told[name] == pytest.approx(expected[name])
            if name == "uncertainty"
            else list(told[name]) == list(expected[name])
        )


async def test_without_a_response_the_model_writes_one_and_it_is_judged():
    async with fake_server() as (_, app), http_client(app) as client:
        told = (await client.post("/v1/verify", json={"prompt": "hello", "k": 0})).json()

    assert told["origin"] == "written"
    assert told["response"]
    assert 0 <= told["uncertainty"] <= 1


async def test_a_verdict_names_the_adapter_that_judged(tmp_path):
    async with fake_server() as (engine, app), http_client(app) as client:
        examples = [Example((1, 2), 0)]
        engine.fit_adapter(
            examples, examples, [(3,)], lambda _values, _targets: 0.0, tmp_path, AdapterRecipe()
        )
        engine.load_adapter(tmp_path, name="tuned")
        (adapter,) = engine.adapters
        body = {"prompt": "hello", "response": "the positive", "k": 2}
        plain = (await client.post("/v1/verify", json=body)).json()
        tuned = (await client.post("/v1/verify", json={**body, "model": "tuned"})).json()

    assert (plain["adapter_digest"], tuned["adapter_digest"]) == (None, adapter.digest)
    assert plain["uncertainty"] != tuned["uncertainty"]


async def test_a_hidden_prompt_is_not_in_a_verdict():
    async with fake_server(hidden="Secretum quince") as (_, app), http_client(app) as client:
        answer = await client.post(
            "/v1/verify", json={"prompt": "hello", "response": "the", "k": 2}
        )

    assert answer.status_code == 200
    assert b"quince" not in answer.content


async def test_a_promise_that_was_made_without_the_hidden_prompt_says_so():
    runtime, notes = Runtime.load(), {}
    engine = runtime.open_engine(runtime.model_spec("tiny"))
    for hidden in (None, "Secretum quince"):
        app = serve(engine, hidden=hidden, verifier=runtime.verifier(engine))
        async with http_client(app) as client:
            body = {"prompt": "Where does Niene Foub live?", "response": "Zurich", "k": 0}
            notes[hidden] = (await client.post("/v1/verify", json=body)).json()["notes"]
    engine.close()

    assert notes["Secretum quince"] == [*notes[None], HIDDEN_NOTE]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"prompt": ""}, 400, "empty"),
        ({"prompt": "a", "response": ""}, 400, "empty"),
        ({"prompt": "a", "k": -1}, 400, "greater than or equal to 0"),
        ({"prompt": "a", "model": "gpt-9"}, 404, "gpt-9"),
        ({"prompt": "a " * 400, "response": "b"}, 400, "context"),
        ({"prompt": "a", "response": "b" * 10**5}, 400, "characters long"),
    ],
)
async def test_a_wrong_request_is_refused_in_words(body, status, words):
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.post("/v1/verify", json=body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


async def test_verdicts_and_their_tokens_are_counted():
    async with fake_server() as (_, app), http_client(app) as client:
        told = [
            (await client.post("/v1/verify", json={"prompt": "hi", "response": "the"})).json()
            for _ in range(2)
        ]
        lines = (await client.get("/metrics")).text.splitlines()

    def total(name: str) -> float:
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"glassbox:{name}"))

    assert total("verified_responses_total{") == 2
    assert total("verify_tokens_total{") == sum(each["n_tokens"] for each in told)
