"""The client gives back what the server says, as values and as our own errors."""

import asyncio
import inspect

import httpx
import numpy as np
import pytest

from glassbox.client import AsyncClient, Client, calls
from glassbox.client.problems import Retries
from glassbox.confidence.asking.classify import Labeller
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.errors import (
    AccessDenied,
    DeadlineExceeded,
    GlassboxError,
    IntegrityError,
    InvalidHookPoint,
    InvalidValue,
    QueueFull,
    TextTooLong,
    UnknownName,
    Unreachable,
    UnsupportedModel,
    UsageError,
)
from glassbox.testing import FakeEngine, tiny_engine
from glassbox.types import Capture, HookPoint
from glassbox.wire.extension import CaptureAsked
from glassbox.wire.lens import LensAsked
from tests.server.worlds import serve


class InThisProcess(httpx.BaseTransport):
    """Lets a blocking client talk to an app without a socket."""

    def __init__(self, app):
        self.inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request):
        async def ask():
            answer = await self.inner.handle_async_request(request)
            return answer.status_code, answer.headers, await answer.aread()

        status, headers, content = asyncio.run(ask())
        return httpx.Response(status, headers=headers, content=content, request=request)


@pytest.fixture
def engine():
    engine = FakeEngine()
    yield engine
    engine.close()


@pytest.fixture
def client(engine):
    labeller = Labeller(LabelModel(engine, default_labels(["a", "b"])), digest="d")
    app = serve(engine, labellers={"mine": labeller})
    with Client("http://test", transport=InThisProcess(app)) as client:
        yield client


def answering(*answers):
    """Return a transport that gives these answers, and how often it was asked."""
    asked = []

    def handle(request):
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1]

    return httpx.MockTransport(handle), asked


def test_a_text_comes_with_what_the_model_thought(client, engine):
    answer = client.generate("hello", max_tokens=5, seed=1, top_logprobs=2)

    n = len(answer.token_ids)
    assert n
    assert answer.text == engine.codec.continuation(
        engine.codec.encode(["hello"])[0], answer.token_ids
    )
    for values in (
        answer.logprobs,
        answer.entropies,
        answer.sampled_logprobs,
        answer.sampled_entropies,
    ):
        assert values.shape == (n,)
        assert values.dtype == np.float32
    assert len(answer.tokens) == len(answer.top_logprobs) == n
    assert answer.mean_entropy == pytest.approx(answer.entropies.mean(), rel=1e-5)
    assert answer.n_prompt == len(engine.codec.encode(["hello"])[0])
    assert answer.adapter_digest is None


def test_many_prompts_are_answered_in_order(client):
    many = client.generate_many(["hello", "a", [5, 6]], max_tokens=4, temperature=0)

    assert [each.text for each in many] == [
        client.generate(prompt, max_tokens=4, temperature=0).text
        for prompt in ("hello", "a", [5, 6])
    ]


def test_a_stream_ends_with_all_of_it(client):
    options = {"max_tokens": 6, "seed": 4, "capture": CaptureAsked(layers="all")}
    pieces = list(client.stream("hello", **options))
    whole = client.generate("hello", **options)

    last = pieces[-1].whole
    assert all(piece.whole is None for piece in pieces[:-1])
    assert "".join(piece.text for piece in pieces) == last.text == whole.text
    assert sum((piece.token_ids for piece in pieces), ()) == last.token_ids == whole.token_ids
    np.testing.assert_array_equal(last.entropies, whole.entropies)
    np.testing.assert_array_equal(
        np.concatenate([piece.logprobs for piece in pieces]), whole.logprobs
    )
    for ours, theirs in zip(last.states, whole.states, strict=True):
        np.testing.assert_array_equal(ours.mean, theirs.mean)
    assert last.n_prompt == whole.n_prompt


def test_a_conversation_is_answered_whole_and_in_parts(client):
    messages = [{"role": "user", "content": "hello"}]
    whole = client.chat(messages, max_tokens=5, seed=2, top_logprobs=1)
    pieces = list(client.stream_chat(messages, max_tokens=5, seed=2))

    assert "".join(piece.text for piece in pieces) == whole.text
    assert pieces[-1].whole.token_ids == whole.token_ids
    assert len(whole.top_logprobs) == len(whole.token_ids)


def test_states_come_as_arrays(client, engine):
    capture = Capture((HookPoint(-1), HookPoint(0)), ("mean", "last", "norm", "none"), "prompt")
    first, second = client.states(["hello", "the"], capture)

    assert (first.index, second.index) == (0, 1)
    for text in (first, second):
        assert [each.layer for each in text.states] == [engine.info.n_layers - 1, 0]
        for each in text.states:
            assert each.none.shape == (each.n_positions, engine.info.d_model)
            np.testing.assert_allclose(each.mean, each.none.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(each.last, each.none[-1], atol=1e-6)
            assert each.norm == pytest.approx(np.linalg.norm(each.none, axis=1).mean(), rel=1e-5)


def test_the_lens_reads_texts_and_tokens():
    engine = tiny_engine()
    try:
        with Client("http://test", transport=InThisProcess(serve(engine))) as client:
            read = client.lens("hello", "the", top_k=3)
            codec = engine.codec
            response = codec.encode(["the"], special=False)[0]
            again = client.lens(codec.encode(["hello"])[0], response, top_k=3)
            with pytest.raises(InvalidValue, match="first"):
                client.lens("hello", "the", first=99)
    finally:
        engine.close()

    assert read == again
    assert len(read.rows) == read.n_layers == engine.info.n_layers
    assert [each.token.id for each in read.columns[:-1]] == list(response)
    assert all(len(place) == 3 for row in read.rows for place in row.top)


def test_a_conversation_to_the_lens_travels_as_messages():
    asked = calls.lens([{"role": "user", "content": "a"}], [1, 2], first=0, n_tokens=2)

    assert asked.body == {
        "messages": [{"role": "user", "content": "a"}],
        "response": [1, 2],
        "first": 0,
        "n_tokens": 2,
    }
    LensAsked.model_validate(asked.body)


def test_labels_models_verdicts_and_health(client):
    labels = client.classify(["x", "y" * 2000])
    assert labels.model == "mine"
    assert labels.data[0].label in ("a", "b")
    assert labels.data[1].error.code == "text-too-long"

    assert [(each.id, each.glassbox.kind) for each in client.models()] == [
        ("fake", "base"),
        ("mine", "classifier"),
    ]
    verdict = client.verify("hello", "the", k=2)
    assert verdict.response == "the"
    assert 0 <= verdict.uncertainty <= 1
    assert client.adapters() == []
    assert client.health().ready


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda c: c.generate("a", model="gpt-9"), UnknownName, "No model 'gpt-9'"),
        (lambda c: c.generate("a b " * 300), TextTooLong, "context"),
        (lambda c: c.generate("a", temperature=-1), InvalidValue, "temperature"),
        (
            lambda c: c.generate("a", capture=Capture((HookPoint(99),))),
            InvalidHookPoint,
            "layers 0 to",
        ),
        (lambda c: c.states(["a"], Capture((HookPoint(99),))), InvalidHookPoint, "layers 0 to"),
        (lambda c: c.classify(["a"], model="other"), UnknownName, "No classifier 'other'"),
        (lambda c: c.classify([]), InvalidValue, "texts"),
        (lambda c: list(c.stream("")), InvalidValue, "empty"),
        (lambda c: c.verify(""), InvalidValue, "prompt"),
    ],
)
def test_errors_are_the_ones_of_our_tree(client, call, kind, words):
    with pytest.raises(kind, match=words) as caught:
        call(client)

    assert type(caught.value) is kind


def test_a_full_server_is_asked_again_when_it_says_so(monkeypatch):
    waits = []
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", waits.append)
    full = httpx.Response(
        429, headers={"retry-after": "2"}, json={"code": "queue-full", "detail": "Full."}
    )
    transport, asked = answering(full, full, httpx.Response(200, json={"data": []}))
    with Client("http://test", transport=transport) as client:
        assert client.models() == []

    assert len(asked) == 3
    assert all(2 <= wait <= 2.5 for wait in waits)
    assert len(waits) == 2


def test_a_server_that_names_no_wait_is_not_asked_again_at_once(monkeypatch):
    waits = []
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", waits.append)
    full = httpx.Response(
        429, headers={"retry-after": "0"}, json={"code": "queue-full", "detail": "Full."}
    )
    transport, _ = answering(full, full, full, httpx.Response(200, json={"data": []}))
    with Client("http://test", transport=transport) as client:
        assert client.models() == []

    assert [wait >= 0.25 * 2**done for done, wait in enumerate(waits)] == [True] * 3


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_has_no_word_for_are_refused(number):
    transport, asked = answering(httpx.Response(200, json={"data": []}))
    with Client("http://test", transport=transport) as client:
        with pytest.raises(InvalidValue, match=r"rows\[1\]\.features\.age .*finite.*None"):
            client.predict_batch([{"age": 3.0, "city": None}, {"age": number}])
        with pytest.raises(InvalidValue, match=r"temperature .*finite"):
            client.generate("Hello", temperature=number)
    assert not asked


def test_a_server_that_stays_full_is_an_error_with_its_wait(monkeypatch):
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", lambda _: None)
    full = httpx.Response(
        429, headers={"retry-after": "2"}, json={"code": "queue-full", "detail": "Full."}
    )
    transport, asked = answering(full)
    retries = Retries(n=3)
    with (
        Client("http://test", transport=transport, retries=retries) as client,
        pytest.raises(QueueFull, match="Full") as caught,
    ):
        client.models()

    assert len(asked) == 4
    assert caught.value.retry_after_s == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.move_alias("champion", 2, expected=1),
        lambda c: c.register_version("models.py:classes"),
        lambda c: c.start_rollout("b"),
        lambda c: c.promote_rollout("r1"),
        lambda c: c.finish_rollout("r1"),
        lambda c: c.make_reference(last_n=100),
        lambda c: c.run_drift(),
        lambda c: c.erase_record("r1", "asked for"),
        lambda c: c.unload_adapter("mood"),
    ],
)
@pytest.mark.parametrize(
    ("status", "code", "n_asked"),
    [
        (503, "replica-lost", 1),
        (503, "capacity", 1),
        (503, None, 1),
        (503, "not-ready", 2),
        (503, "too-many-connections", 2),
        (429, "too-many-requests", 2),
    ],
)
def test_what_may_have_been_done_is_not_done_again(monkeypatch, call, status, code, n_asked):
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", lambda _: None)
    away = httpx.Response(status, json={"code": code, "detail": "away"} if code else None)
    transport, asked = answering(away, httpx.Response(418, json={"detail": "a teapot"}))
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(GlassboxError, match="away|503" if n_asked == 1 else "teapot"),
    ):
        call(client)

    assert len(asked) == n_asked


def test_what_changes_nothing_is_asked_again_of_another_replica(monkeypatch):
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", lambda _: None)
    lost = httpx.Response(503, json={"code": "replica-lost", "detail": "away"})
    transport, asked = answering(lost, httpx.Response(200, json={"data": []}))
    with Client("http://test", transport=transport) as client:
        assert client.models() == []

    assert len(asked) == 2


def test_a_longer_wait_than_allowed_is_not_waited_for():
    transport, asked = answering(httpx.Response(503, headers={"retry-after": "3600"}))
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(GlassboxError, match="503"),
    ):
        client.models()

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(401, json={"detail": "no key"}), AccessDenied, "no key"),
        (httpx.Response(404, text="<html>nothing</html>"), UsageError, "404: <html>"),
        (httpx.Response(500, json={"code": "unexpected", "detail": "x"}), GlassboxError, "x"),
        (httpx.Response(504, json={"code": "deadline-exceeded", "detail": "late"}),
         DeadlineExceeded, "late"),
        (httpx.Response(400, json={"error": {"code": "text-too-long", "message": "long"}}),
         TextTooLong, "long"),
        (httpx.Response(400, headers={"x-glassbox-error": "text-too-long"},
                        json={"error": {"code": "context_length_exceeded", "message": "long"}}),
         TextTooLong, "long"),
    ],
)  # fmt: skip
def test_answers_of_any_server_become_errors(answer, kind, words):
    transport, _ = answering(answer)
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(kind, match=words),
    ):
        client.models()


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (httpx.ConnectError("refused"), Unreachable, "glassbox serve"),
        (httpx.ReadTimeout("slow"), DeadlineExceeded, "timeout_s"),
        (httpx.ReadError("reset"), Unreachable, "broke off"),
        (httpx.RemoteProtocolError("no end"), Unreachable, "broke off"),
        (httpx.DecodingError("no gzip"), IntegrityError, "no gzip"),
    ],
)
def test_no_answer_is_an_error_that_says_what_to_do(failure, kind, words):
    def fail(_request):
        raise failure

    with Client("http://test", transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(kind, match=words):
            client.models()
        assert not client.health().live


def test_a_key_travels_with_every_request():
    transport, asked = answering(httpx.Response(200, json={"data": []}))
    with Client("http://test", key="gbx_1", transport=transport) as client:
        client.models()

    assert asked[0].headers["authorization"] == "Bearer gbx_1"


def test_a_key_of_the_environment_is_taken_where_none_is_given(monkeypatch):
    monkeypatch.setenv("GLASSBOX_API_KEY", "gbx_2")
    transport, asked = answering(httpx.Response(200, json={"data": []}))
    with Client("http://test", transport=transport) as client:
        client.models()
    assert asked[0].headers["authorization"] == "Bearer gbx_2"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_other_client_says_the_same(engine):
    app = serve(engine)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    options = {"max_tokens": 4, "seed": 1}
    async with AsyncClient("http://test", transport=transport) as client:
        whole, other = await asyncio.gather(
            client.generate("hello", **options), client.generate("a", **options)
        )
        pieces = [piece async for piece in client.stream("hello", **options)]
        (states,) = await client.states(["hello"], Capture((HookPoint(0),)))
        with pytest.raises(UnsupportedModel, match="layer by layer"):
            await client.lens("hello")
        with pytest.raises(UnknownName, match="gpt-9"):
            await client.generate("a", model="gpt-9")
        assert (await client.health()).ready

    assert pieces[-1].whole.text == whole.text != other.text
    assert states.states[0].layer == 0


def test_both_clients_have_the_same_methods_and_options():
    def face(kind):
        return {
            name: [
                (each.name, each.default, each.kind)
                for each in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert face(Client) == face(AsyncClient)
    for name in face(Client):
        assert inspect.getdoc(getattr(Client, name)) == inspect.getdoc(getattr(AsyncClient, name))
