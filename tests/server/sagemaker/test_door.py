"""SageMaker's container over HTTP: two routes, and behind one of them those that predict."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.errors import NonFiniteOutput
from glassbox.server.app import begin_serving
from glassbox.server.sagemaker.door import PlatformDoor
from glassbox.server.sagemaker.invocations import _half
from glassbox.server.sagemaker.large_answers import LargeAnswers
from glassbox.server.serving import Serving
from glassbox.server.start import sagemaker_app
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.testing import FakeEngine
from glassbox.wire.invocation_attributes import ATTRIBUTES_HEADER, CARRIED, read_attributes
from tests.sagemaker_platform import MOST_BYTES
from tests.waiting import PATIENCE_S

PROMPT = "The negative and the positive are in the way of it all"
BUNDLE = "b" * 64
CAPTURE = {"layers": [-1], "pooling": ["mean"]}


def mean_loss(logprobs, targets):
    return logprobs.mean() * 0


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def engine(tmp_path):
    engine = FakeEngine()
    examples = [Example((5, 6), 0)]
    for number, name in enumerate(("one", "two")):
        folder = tmp_path / name
        folder.mkdir()
        recipe = AdapterRecipe(epochs=1, rank=number + 1)
        engine.fit_adapter(examples, examples, [(7,), (8,)], mean_loss, folder, recipe)
        engine.load_adapter(folder, name=name)
    yield engine
    engine.close()


@pytest.fixture
def client(engine):
    return container(engine)


def container(engine, **limits):
    app = sagemaker_app(ServerSettings(**limits))
    begin_serving(app, Serving(Speaker(engine, "fake"), bundle_digest=BUNDLE))
    return TestClient(app, raise_server_exceptions=False)


def ask(client, *, attributes="", accept="application/json", **parameters):
    given = {"target_layers": [-1, -2], "max_new_tokens": 4, "temperature": 0, **parameters}
    return client.post(
        "/invocations",
        json={"inputs": PROMPT, "parameters": given},
        headers={ATTRIBUTES_HEADER: attributes, "accept": accept},
    )


def routed(client, path, body=None, *, method="POST", attributes="", **headers):
    said = f"glassbox-path={path},glassbox-method={method}{attributes}"
    return client.post(
        "/invocations", json=body or {}, headers={ATTRIBUTES_HEADER: said, **headers}
    )


def said(answer):
    return read_attributes(answer.headers[ATTRIBUTES_HEADER])


def test_only_the_platforms_two_routes_are_there(client) -> None:
    assert client.get("/ping").json() == {"status": "ready"}
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", "/metrics")):
        refused = client.request(method, path, json={})
        assert refused.status_code == 404
        assert "which has GET /ping and POST /invocations" in refused.text
    assert client.get("/invocations").status_code == 405


def test_the_platform_hears_503_until_the_model_is_there(engine) -> None:
    app = sagemaker_app(ServerSettings())
    client = TestClient(app)
    assert client.get("/ping").status_code == 503
    assert ask(client).status_code == 503
    assert routed(client, "/v1/models", method="GET").status_code == 503
    begin_serving(app, Serving(Speaker(engine, "fake")))
    assert client.get("/ping").status_code == 200
    assert "glassbox-bundle" not in said(ask(client)), "there is none"


def test_every_route_that_is_carried_answers_as_it_would_itself(client) -> None:
    """The same bodies reach the same routes; refusals keep their status and shape."""
    models = routed(client, "/v1/models", method="GET").json()
    assert [each["id"] for each in models["data"]] == ["fake", "one", "two"]
    asked = {"model": "fake", "prompt": "a", "max_tokens": 3, "temperature": 0}
    text = routed(client, "/v1/completions", asked).json()
    assert text["object"] == "text_completion"
    states = routed(client, "/v1/states", {"input": "he", "capture": CAPTURE}).json()
    assert states["data"][0]["states"]
    for path, status, code in (
        ("/v1/classify", 404, "unknown-name"),
        ("/v1/verify", 400, "invalid-value"),
        ("/v1/lens", 400, "invalid-value"),
    ):
        refused = routed(client, path, {"texts": ["a"]} if path == "/v1/classify" else {})
        assert (refused.status_code, refused.json()["code"]) == (status, code), path
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-glassbox-error"] == code
    chat = routed(client, "/v1/chat/completions", {"model": "none", "messages": []})
    assert "message" in chat.json()["error"], "OpenAI's shape, as at that route"
    paths = {path for _, path in CARRIED}
    assert paths >= {"/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/classify"}


@pytest.mark.parametrize(
    ("attributes", "status", "match"),
    [
        ("glassbox-path=/metrics,glassbox-method=GET", 404, "route that SageMaker carries"),
        ("glassbox-path=/v1/adapters", 404, "Known: GET /v1/models"),
        ("glassbox-path=/v1/techniques/run", 404, "No route that"),
        ("glassbox-path=/v1/../metrics", 404, "No route that"),
        ("glassbox-path=/v1/states?x=1", 404, "No route that"),
        ("glassbox-path=/v1/models", 404, "'POST /v1/models'"),
        ("glassbox-method=GET", 400, "nothing without glassbox-path"),
        ("glassbox-path=/v1/completions,glassbox-adapter=one", 400, "model names the adapter"),
        ("glassbox-pth=/v1/states", 404, "Did you mean 'glassbox-path'"),
        ("glassbox-path=/a,glassbox-path=/b", 400, "given once"),
        ("glassbox-timeout=soon", 400, "a number of seconds"),
    ],
)
def test_what_is_not_carried_is_refused_in_words(client, attributes, status, match) -> None:
    refused = ask(client, attributes=attributes)
    assert refused.status_code == status
    assert match in refused.json()["detail"]


def test_attributes_of_others_are_passed_over(client) -> None:
    assert ask(client, attributes="trace=1,whatever,team=a=b").status_code == 200


def test_a_timeout_beside_the_request_is_its_deadline(engine, monkeypatch) -> None:
    deadlines = []
    submit = engine.submit

    def noted(request, listen=None):
        deadlines.append(request.deadline_s)
        return submit(request, listen)

    monkeypatch.setattr(engine, "submit", noted)
    client = container(engine, max_deadline_s=55.0)
    body = {"model": "fake", "prompt": "a", "max_tokens": 4}
    for timeout in ("", ",glassbox-timeout=7.5", ",glassbox-timeout=600"):
        assert routed(client, "/v1/completions", body, attributes=timeout).status_code == 200
    assert ask(client, attributes="glassbox-timeout=3").status_code == 200
    assert deadlines == [55.0, 7.5, 55.0, 3.0]


def test_two_adapters_answer_in_their_own_names(client, engine) -> None:
    digests = {each.name: each.digest for each in engine.adapters}
    base = ask(client)
    assert said(base).keys() == {"glassbox-version", "glassbox-bundle"}
    assert "adapter_digest" not in base.json()
    texts = set()
    for name, digest in digests.items():
        for answer in (
            ask(client, adapter=name),
            ask(client, adapter=digest),
            ask(client, attributes=f"glassbox-adapter={name}"),
            ask(client, attributes=f"glassbox-adapter={name}", adapter=name),
        ):
            assert answer.status_code == 200
            assert answer.json()["adapter_digest"] == said(answer)["glassbox-adapter"] == digest
            texts.add((name, answer.json()["logits_entropy"]))
    assert len(texts) == 2, "one answer for each adapter"
    assert base.json()["logits_entropy"] not in {entropy for _, entropy in texts}


def test_an_unknown_adapter_is_never_the_base_model(client) -> None:
    for refused in (
        ask(client, adapter="three"),
        ask(client, attributes="glassbox-adapter=three"),
    ):
        assert refused.status_code == 404
        assert "'three'" in refused.json()["detail"]
    both = ask(client, adapter="one", attributes="glassbox-adapter=two")
    assert both.status_code == 400
    assert "which the custom attributes name" in both.json()["detail"]


def test_half_precision_is_a_tenth_and_reads_back(client) -> None:
    exact, half = ask(client).json(), ask(client, encoding="float16").json()
    for key, states in exact["hidden_states"].items():
        packed = half["hidden_states"][key]
        for name in ("mean", "last_token"):
            vector = np.load(io.BytesIO(base64.b64decode(packed[name])), allow_pickle=False)
            assert vector.dtype == np.dtype("<f2")
            np.testing.assert_allclose(vector, states[name], rtol=1e-3, atol=1e-4)
        assert packed["norm"] == states["norm"]
    with pytest.raises(NonFiniteOutput, match="encoding 'json'"):
        _half(np.array([1.0, -7e4], np.float32))


@pytest.mark.parametrize("way", ["parameter", "accept"])
def test_an_answer_in_parts_ends_with_all_of_it(client, way) -> None:
    whole = ask(client, adapter="one").json()
    more = {"stream": True} if way == "parameter" else {}
    accept = "application/json" if way == "parameter" else "application/x-ndjson"
    answer = ask(client, adapter="one", accept=accept, **more)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert said(answer)["glassbox-adapter"] == whole["adapter_digest"]
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    *pieces, last = lines
    assert last == {"final": whole}
    assert "".join(each["text"] for each in pieces) == whole["generated_text"]
    probs = [prob for each in pieces for prob in each.get("generation_probs", ())]
    assert probs == whole["generation_probs"]
    assert len(pieces) > 1


def test_what_is_refused_before_a_stream_begins_has_its_status(client) -> None:
    assert ask(client, stream=True, adapter="three").status_code == 404
    assert ask(client, stream=True, target_layers=[99]).status_code == 400


def test_a_stream_that_breaks_off_says_why_in_its_last_line(client, engine) -> None:
    (prompt,) = engine.codec.encode([PROMPT])

    def breaks_off(tokens):
        if len(tokens) > len(prompt) + 2:
            raise NonFiniteOutput("The model answered NaN.")
        return np.arange(engine.info.d_vocab) * 1.0

    script = FakeEngine(breaks_off)
    answer = ask(container(script), stream=True, target_layers=[], max_new_tokens=9)
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    fault = {"code": "non-finite-output", "message": "The model answered NaN."}
    assert lines[-1] == {"error": fault}
    script.close()


def test_events_of_openais_routes_pass_however_many(engine) -> None:
    client = container(engine, max_answer_bytes=1024)
    body = {"model": "fake", "prompt": "a", "max_tokens": 60, "stream": True}
    answer = routed(client, "/v1/completions", body, accept="text/event-stream")
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    assert len(answer.content) > 1024
    assert said(answer)["glassbox-bundle"] == BUNDLE


def test_an_answer_that_the_platform_would_not_carry_is_refused_with_both_ways_out(engine) -> None:
    client = container(engine, max_answer_bytes=1024)
    body = {"input": [PROMPT] * 20, "capture": CAPTURE}
    answer = routed(client, "/v1/states", body)
    assert (answer.status_code, answer.json()["code"]) == (413, "answer-too-large")
    assert "float16" in answer.json()["detail"]
    assert "server.large_answers" in answer.json()["detail"]
    assert answer.headers["x-glassbox-error"] == "answer-too-large"


class Store:
    """An object store that keeps what it is given, or fails."""

    def __init__(self, error=None):
        self.kept = {}
        self._error = error

    def put_object(self, **given):
        if self._error is not None:
            raise self._error
        self.kept[given["Bucket"], given["Key"]] = given


def stored(engine, store, most_bytes=1024):
    app = sagemaker_app(ServerSettings())
    begin_serving(app, Serving(Speaker(engine, "fake"), bundle_digest=BUNDLE))
    (door,) = [each for each in app.user_middleware if each.cls is PlatformDoor]
    door.kwargs["store"] = LargeAnswers("s3://bucket/answers", lambda: store)
    door.kwargs["most_bytes"] = most_bytes
    return TestClient(app)


@pytest.mark.parametrize("kind", ["application/json", "application/vnd.safetensors"])
def test_a_large_answer_is_put_into_the_object_store_whole(engine, kind) -> None:
    store = Store()
    body = {"input": [PROMPT] * 20, "capture": CAPTURE}
    expected = routed(container(engine), "/v1/states", body, accept=kind)
    answer = routed(stored(engine, store), "/v1/states", body, accept=kind)
    assert answer.status_code == 200
    found = answer.json()
    attributes = said(answer)
    assert attributes["glassbox-location"] == found["location"]
    assert attributes["glassbox-type"] == found["content_type"] == kind
    assert attributes["glassbox-bundle"] == BUNDLE
    ((place, kept),) = store.kept.items()
    assert found["location"] == f"s3://{place[0]}/{place[1]}"
    assert place[1].startswith("answers/")
    assert kept["ContentType"] == kind
    assert found["n_bytes"] == len(kept["Body"]) > 1024
    if kind.endswith("safetensors"):
        assert kept["Body"] == expected.content
    else:
        assert len(json.loads(kept["Body"])["data"]) == 20


def test_a_store_that_does_not_take_it_is_said_with_what_the_role_needs(engine) -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError

    metadata = {"HTTPStatusCode": 403}
    response = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": metadata}
    denied = ClientError(response, "PutObject")
    for error in (denied, EndpointConnectionError(endpoint_url="https://s3")):
        answer = routed(
            stored(engine, Store(error)), "/v1/states", {"input": [PROMPT] * 20, "capture": CAPTURE}
        )
        assert (answer.status_code, answer.json()["code"]) == (502, "answer-not-stored")
        assert "s3:PutObject" in answer.json()["detail"]


@pytest.mark.parametrize("prefix", ["bucket/answers", "https://bucket", "s3://"])
def test_a_place_that_is_none_is_found_at_the_start(prefix) -> None:
    from glassbox.errors import InvalidValue

    with pytest.raises(InvalidValue, match="s3://bucket/prefix/"):
        sagemaker_app(ServerSettings(large_answers=prefix))


def test_the_log_and_the_counters_tell_of_the_route_that_answered(client, caplog) -> None:
    with caplog.at_level("INFO", "glassbox.access"):
        routed(client, "/v1/models", method="GET")
        ask(client)
    assert "GET /v1/models 200" in caplog.text
    assert "POST /invocations 200" in caplog.text


def test_a_body_over_the_limit_is_refused(engine) -> None:
    client = container(engine, max_body_bytes=2000)
    answer = client.post("/invocations", json={"inputs": "a" * 3000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


@pytest.mark.anyio
async def test_a_client_that_goes_away_ends_its_request() -> None:
    """The door keeps nothing back from the routes: they still hear that nobody waits."""
    slow = FakeEngine(step_s=0.05)
    app = sagemaker_app(ServerSettings())
    begin_serving(app, Serving(Speaker(slow, "fake")))
    # Drawn by chance, the answer may be over before anybody has gone away.
    parameters = {"max_new_tokens": 400, "target_layers": [], "temperature": 0}
    body = json.dumps({"inputs": "a", "parameters": parameters}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "root_path": "",
    }
    async with asyncio.timeout(PATIENCE_S):
        await app(scope, receive, send)
    slow.close()
    assert [each.get("status", 499) for each in sent] in ([], [499, 499])


def test_the_stand_in_of_the_platform_has_our_limit() -> None:
    assert ServerSettings().max_answer_bytes == MOST_BYTES
