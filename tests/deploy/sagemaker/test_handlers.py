"""SageMaker: the document's names and defaults, and its numbers by the library's own way."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from glassbox.deploy.sagemaker import (
    ShadowSelfModel,
    input_fn,
    model_fn,
    output_fn,
    predict_fn,
    shadow_self,
)
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import InvalidData, InvalidHookPoint, InvalidValue, UnknownName
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.routes import sagemaker
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine, tiny_engine
from tests.bundles import make

PROMPT = "The negative and the positive are in the way of it all"


@pytest.fixture(scope="module")
def engine() -> Iterator[ResidentEngine]:
    resident = tiny_engine()
    yield resident
    resident.close()


@pytest.fixture
def model(engine: ResidentEngine) -> ShadowSelfModel:
    return shadow_self(engine)


@pytest.fixture
def client(engine: ResidentEngine) -> TestClient:
    return TestClient(create_app(Serving(Speaker(engine, "tiny"))))


def ask(**parameters: object) -> dict[str, object]:
    return {"inputs": PROMPT, "parameters": parameters}


def test_the_answer_has_the_documents_fields(model: ShadowSelfModel) -> None:
    body = json.dumps(ask(target_layers=[-1, -2], max_new_tokens=4))
    answer = predict_fn(input_fn(body, "application/json"), model)
    assert set(answer) == {
        "generated_text",
        "hidden_states",
        "logits_entropy",
        "generation_probs",
        "logits_entropy_raw",
        "truncated",
    }
    assert set(answer["hidden_states"]) == {"layer_-1", "layer_-2"}
    for states in answer["hidden_states"].values():
        assert set(states) == {"mean", "last_token", "norm"}
        assert len(states["mean"]) == len(states["last_token"]) == model.engine.info.d_model
    assert len(answer["generation_probs"]) <= 4
    assert json.loads(output_fn(answer, "application/json")) == answer


def test_defaults_are_the_documents() -> None:
    asked = FakeEngine()
    wide = shadow_self(asked)
    with pytest.raises(InvalidHookPoint, match="There is no hidden state -8"):
        # Five hidden states: the document's third layer is outside, and is not skipped in silence.
        predict_fn({"inputs": "a"}, wide)
    answer = predict_fn({"inputs": "a", "parameters": {"target_layers": [-1, -4]}}, wide)
    assert len(answer["generation_probs"]) <= 256
    assert list(answer["hidden_states"]) == ["layer_-1", "layer_-4"]


def test_states_and_greedy_numbers_equal_the_librarys(
    model: ShadowSelfModel, engine: ResidentEngine
) -> None:
    layers = [-1, -2, -3, 0, 1, 2]
    answer = predict_fn(ask(target_layers=layers, max_new_tokens=6, temperature=0), model)
    (ids,) = engine.codec.encode([PROMPT])
    with engine.lend(lease_s=10) as lent, torch.no_grad():
        tokens = torch.tensor([ids])
        states = lent.model(tokens, output_hidden_states=True).hidden_states
        probs, entropies = [], []
        for _ in range(len(answer["generation_probs"])):
            logprobs = torch.log_softmax(lent.model(tokens).logits[0, -1].double(), -1)
            best = int(logprobs.argmax())
            probs.append(float(logprobs[best].exp()))
            entropies.append(float(-(logprobs.exp() * logprobs).sum()))
            tokens = torch.cat([tokens, torch.tensor([[best]])], 1)
    for index in layers:
        found, expected = answer["hidden_states"][f"layer_{index}"], states[index][0]
        np.testing.assert_allclose(found["mean"], expected.mean(0), atol=1e-4)
        np.testing.assert_allclose(found["last_token"], expected[-1], atol=1e-4)
        assert found["norm"] == pytest.approx(float(expected.norm(dim=-1).mean()), rel=1e-4)
    np.testing.assert_allclose(answer["generation_probs"], probs, atol=1e-4)
    assert answer["logits_entropy"] == pytest.approx(np.mean(entropies), abs=1e-3)
    assert answer["logits_entropy_raw"] == pytest.approx(np.mean(entropies), abs=1e-3)


def test_the_entropy_is_that_of_the_distribution_sampled_from(model: ShadowSelfModel) -> None:
    sharp = predict_fn(ask(target_layers=[], max_new_tokens=1, temperature=0.3), model)
    plain = predict_fn(ask(target_layers=[], max_new_tokens=1, temperature=1.0), model)
    assert sharp["logits_entropy"] < sharp["logits_entropy_raw"]
    assert plain["logits_entropy"] == pytest.approx(plain["logits_entropy_raw"], abs=1e-4)
    assert sharp["logits_entropy_raw"] == pytest.approx(plain["logits_entropy_raw"], abs=1e-4)
    assert sharp["hidden_states"] == {}


def test_without_probabilities_the_list_is_empty(model: ShadowSelfModel) -> None:
    answer = predict_fn(ask(target_layers=[-1], return_probs=False, max_new_tokens=2), model)
    assert answer["generation_probs"] == []
    assert answer["logits_entropy"] > 0


def test_a_long_prompt_keeps_its_beginning_and_says_so(engine: ResidentEngine) -> None:
    long = {"inputs": "he " * 3000, "parameters": {"max_new_tokens": 4, "target_layers": []}}
    answer = predict_fn(long, shadow_self(engine))
    assert answer["truncated"] is True
    assert len(answer["generation_probs"]) == 1
    assert (
        predict_fn(ask(max_new_tokens=1, target_layers=[]), shadow_self(engine))["truncated"]
        is False
    )


def test_2048_tokens_are_read_where_the_context_is_wider() -> None:
    wide = shadow_self(FakeEngine(context=4096))
    at_limit = "a" * 2047
    for text, truncated in ((at_limit, False), (at_limit + "a", True)):
        answer = predict_fn(
            {"inputs": text, "parameters": {"max_new_tokens": 1, "target_layers": []}}, wide
        )
        assert answer["truncated"] is truncated


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": 7}, "inputs"),
        ({"inputs": "a", "parameter": {}}, "parameter"),
        ({"inputs": "a", "parameters": {"max_new_tokens": 0}}, "max_new_tokens"),
        ({"inputs": "a", "parameters": {"temperature": -1}}, "temperature"),
        ({"inputs": "a", "parameters": {"target_layers": "all"}}, "target_layers"),
    ],
)
def test_what_is_wrong_is_named(
    model: ShadowSelfModel, client: TestClient, content: dict[str, object], match: str
) -> None:
    with pytest.raises(InvalidValue, match=match):
        predict_fn(content, model)
    answer = client.post("/invocations", json=content)
    assert answer.status_code == 400
    assert match in answer.json()["detail"]


def test_a_layer_out_of_range_names_the_range(client: TestClient) -> None:
    answer = client.post("/invocations", json=ask(target_layers=[-4]))
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid-hook-point"
    assert "0 (embeddings) to 2 (after the final norm), or -1 to -3" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/x-npy", ""])
def test_anything_but_json_is_refused(client: TestClient, kind: str) -> None:
    with pytest.raises(InvalidValue, match="content type"):
        input_fn(json.dumps(ask()), kind)
    answer = client.post("/invocations", content=json.dumps(ask()), headers={"content-type": kind})
    assert answer.status_code == 415


def test_the_route_and_the_functions_answer_alike(
    client: TestClient, model: ShadowSelfModel
) -> None:
    asked = ask(target_layers=[-1, 0], max_new_tokens=5, temperature=0)
    by_route, by_function = client.post("/invocations", json=asked).json(), predict_fn(asked, model)
    assert by_route["generated_text"] == by_function["generated_text"]
    np.testing.assert_allclose(by_route["generation_probs"], by_function["generation_probs"])


def test_ping_answers_once_the_model_is_there(engine: ResidentEngine) -> None:
    waiting = TestClient(create_app(None))
    assert waiting.get("/ping").status_code == 503
    ready = TestClient(create_app(Serving(Speaker(engine, "tiny"))))
    assert ready.get("/ping").status_code == 200


def test_the_containers_app_has_two_routes_and_asks_for_no_key(engine: ResidentEngine) -> None:
    app = create_app(Serving(Speaker(engine, "tiny")), Guards(), routers=[sagemaker.router])
    client = TestClient(app)
    assert client.get("/ping").status_code == 200
    asked = ask(target_layers=[-1], max_new_tokens=1)
    assert client.post("/invocations", json=asked).status_code == 200
    for path in ("/v1/models", "/metrics", "/livez", "/v1/adapters", "/playground"):
        assert client.get(path).status_code == 404


def test_a_body_that_is_no_object_is_refused() -> None:
    for body in ("[1]", "{", '"a"'):
        with pytest.raises(InvalidData, match="no JSON"):
            input_fn(body, "application/json")


def test_another_answer_type_is_refused() -> None:
    assert output_fn({"a": 1}, "*/*") == '{"a":1}'
    with pytest.raises(InvalidValue, match="accept"):
        output_fn({"a": 1}, "text/csv")


def test_a_body_without_a_type_and_a_large_wrong_value_are_told_in_a_few_words(
    model: ShadowSelfModel,
) -> None:
    with pytest.raises(InvalidValue, match="content type"):
        input_fn(b"{}", None)
    with pytest.raises(InvalidValue) as caught:
        predict_fn({"inputs": ["a" * 10**6]}, model)
    assert len(str(caught.value)) < 400


def test_the_functions_of_a_bundle_answer_by_adapter_or_not_at_all(tmp_path: Path) -> None:
    place, bundle = make(tmp_path, classifiers={}, verifier=None)
    model = model_fn(str(place))
    try:
        asked = ask(max_new_tokens=2, temperature=0, target_layers=[])
        base = predict_fn(asked, model)
        tuned = predict_fn(ask(**asked["parameters"], adapter="support"), model)
        assert tuned["adapter_digest"] == bundle.adapters["support"].digest
        assert tuned["logits_entropy_raw"] != base["logits_entropy_raw"]
        with pytest.raises(UnknownName, match="'third'"):
            predict_fn(ask(adapter="third"), model)
        with pytest.raises(InvalidValue, match="in one piece"):
            predict_fn(ask(stream=True), model)
    finally:
        model.engine.close()
