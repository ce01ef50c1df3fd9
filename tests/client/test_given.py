"""What a script gives is sent as it was meant, or refused before anything is sent."""

import asyncio
import json
import pickle

import httpx
import numpy as np
import pytest

from glassbox.client import AsyncClient, Client, Retries
from glassbox.errors import GlassboxError, InvalidValue, UnknownName, UsageError
from tests.untyped import outcomes

ADDRESS = "http://127.0.0.1:8787"


@pytest.fixture
def sent():
    return []


@pytest.fixture
def client(sent):
    def answer(request):
        sent.append(request)
        return httpx.Response(500, json={"code": "glassbox-error", "detail": "no more"})

    with Client(transport=httpx.MockTransport(answer), retries=Retries(n=0)) as client:
        yield client


def body_of(sent, ask):
    with pytest.raises(GlassboxError, match="no more"):
        ask()
    return json.loads(sent[-1].content)


def test_an_option_that_nobody_reads_is_refused(client, sent):
    with pytest.raises(UnknownName, match=r"'max_token'\..*Did you mean 'max_tokens'"):
        client.generate("hello", max_token=3)
    with pytest.raises(UnknownName, match="'stream'"):
        client.chat([{"role": "user", "content": "hello"}], stream=True)
    with pytest.raises(UnknownName, match="'layers'"):
        client.invoke_with_hidden_states("hello", layers=[-1])
    assert not sent


@pytest.mark.parametrize(
    ("what", "ask"),
    [
        ("texts", lambda client: client.classify("one text")),
        ("texts", lambda client: client.states("one text")),
        ("prompts", lambda client: client.generate_many("one text")),
        ("probes", lambda client: client.generate("hello", probes="truth")),
        ("paraphrases", lambda client: client.verify("a", "b", paraphrases="other words")),
        ("responses", lambda client: client.states(["a"], responses="b")),
    ],
)
def test_a_text_is_not_taken_for_its_characters(client, sent, what, ask):
    with pytest.raises(InvalidValue, match=f"^{what} is .* allowed: a list"):
        ask(client)
    assert not sent


SCRIPT = """
import httpx, numpy as np
from glassbox.client import AsyncClient, Client, Retries

def answer(request):
    return httpx.Response(500, json={"detail": request.content.decode()})

client = Client(transport=httpx.MockTransport(answer), retries=Retries(n=0))
talk = {"role": "user", "content": "hello"}
"""
"""Whatever is sent comes back as the words of a ``GlassboxError``."""


def test_what_has_the_wrong_type_is_refused_by_name():
    cases = {
        "client.chat('hello')": "messages is 'hello'; allowed: a list",
        "client.chat(talk)": "messages is {'role'",
        "client.chat(['hello'])": "messages is 'hello'; allowed: a list of mappings",
        "client.invoke_with_hidden_states('a', target_layers=-1)": "target_layers is -1",
        "client.predict_batch({'age': 3})": "rows is {'age': 3}; allowed: a list",
        "client.predict_batch(['age', 'income'])": "features is 'age'; allowed: a mapping",
        "client.predict('text')": "features is 'text'; allowed: a mapping",
        "client.generate(['one', 'two'])": "prompt is ['one', 'two']; allowed: one text",
        "client.generate(None)": "prompt is None; allowed: one text",
        "client.lens(['one'])": "prompt is ['one']; allowed: one text",
        "client.generate('hello', capture='all')": "capture is 'all'; allowed: a glassbox.types",
        "Client(timeout_s='5')": "timeout_s is '5'; allowed: a number of seconds above 0",
        "Client(timeout_s=None)": "timeout_s is None; allowed: a number of seconds above 0",
        # 0 was taken for nothing given: four repetitions.
        "Client(retries=0)": "retries is 0; allowed: a glassbox.client.Retries, such as Retries(n=",
        "AsyncClient(retries=3)": "retries is 3; allowed: a glassbox.client.Retries",
        "Client(8787)": "url is 8787; allowed: an address",
        "AsyncClient(None)": "url is None; allowed: an address",
    }
    for (case, words), (kind, text) in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        assert (kind, text[: len(words)]) == ("InvalidValue", words), case


def test_a_key_that_is_no_text_is_refused_and_not_shown():
    refused = ("UsageError", "The API key is text, not of type bytes.")
    cases = ("Client(key=b'secret')", "AsyncClient(key=b'secret')")
    assert outcomes(SCRIPT, cases) == [refused, refused]


def test_columns_arrays_and_whatever_can_be_gone_through_are_sent_as_lists():
    cases = {
        "client.classify(np.array(['a', 'b']))": ("texts", ["a", "b"]),
        "client.classify(iter(['a', 'b']))": ("texts", ["a", "b"]),
        "client.generate_many(np.array([[5, 6], [7, 8]]))": ("prompt", [[5, 6], [7, 8]]),
        "client.generate(np.array([5, 6]))": ("prompt", [[5, 6]]),
        "client.lens(np.array([5, 6]))": ("prompt", [5, 6]),
        "client.generate('a', max_tokens=np.int64(3))": ("max_tokens", 3),
        "client.generate('a', temperature=np.float32(0.5))": ("temperature", 0.5),
    }
    for (case, (field, value)), found in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        kind, body = found
        assert (kind, json.loads(body)[field]) == ("GlassboxError", value), case


def test_a_long_text_in_the_wrong_place_is_not_repeated_whole(client):
    with pytest.raises(InvalidValue, match="aaa…") as refused:
        client.classify("a" * 10_000)
    assert len(str(refused.value)) < 200


def test_numbers_of_numpy_are_numbers(client, sent):
    row = {"age": np.int64(41), "share": np.float64(0.25), "old": np.bool_(True), "x": np.ones(2)}
    assert body_of(sent, lambda: client.predict(row))["features"] == {
        "age": 41, "share": 0.25, "old": True, "x": [1.0, 1.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    "missing", [float("nan"), np.float32("nan"), np.array([1.0, np.inf])], ids=["own", "np", "row"]
)
def test_what_is_no_number_is_refused_however_it_comes(client, sent, missing):
    with pytest.raises(InvalidValue, match=r"^features\.age.*Give None"):
        client.predict({"age": missing})
    assert not sent


@pytest.mark.parametrize(
    "value",
    [object(), 2**70, "\ud800", {1: 2}],
    ids=["object", "huge", "surrogate", "int-key"],
)
def test_what_json_cannot_hold_is_our_error(client, sent, value):
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        client.predict({"age": value})
    assert not sent


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(kind, timeout_s):
    with pytest.raises(InvalidValue, match=r"^timeout_s is "):
        kind(timeout_s=timeout_s)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_with_a_password_is_refused_and_not_shown(kind):
    with pytest.raises(InvalidValue, match="without user name and password") as refused:
        kind("http://me:secret@example.org", key="gbx_1")
    assert "secret" not in str(refused.value)


def test_the_address_that_clients_of_openai_want_will_do(sent):
    def answer(request):
        sent.append(request)
        return httpx.Response(200, json={"object": "list", "data": []})

    with Client(f"{ADDRESS}/v1/", transport=httpx.MockTransport(answer)) as client:
        assert client.models() == []
    assert sent[-1].url == f"{ADDRESS}/v1/models"


def test_a_client_shows_its_address_and_no_key():
    assert repr(Client(f"{ADDRESS}/", key="gbx_1")) == f"Client('{ADDRESS}')"
    assert repr(AsyncClient(ADDRESS, key="gbx_1")) == f"AsyncClient('{ADDRESS}')"


def test_a_closed_client_says_so(client):
    client.close()
    with pytest.raises(UsageError, match=r"^Client\('http.*is closed"):
        client.models()
    with pytest.raises(UsageError, match="is closed"):
        list(client.stream("hello"))
    assert not client.health().live

    async def late():
        async with AsyncClient() as late:
            pass
        assert not (await late.health()).live
        await late.models()

    with pytest.raises(UsageError, match=r"^AsyncClient\('http.*is closed"):
        asyncio.run(late())


def test_an_error_of_the_client_comes_whole_out_of_another_process(client):
    with pytest.raises(InvalidValue, match="texts") as refused:
        client.classify("one text")
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
    assert (type(again), again.what) == (InvalidValue, "texts")


def test_errors_are_of_the_public_tree_whatever_else_is_imported():
    setup = """
import glassbox.engine.lora.tiers, glassbox.rollout.shadow.process
import glassbox.techniques.local.connections
import httpx
from glassbox.client import Client, Retries

def ask(code):
    answer = httpx.Response(500, json={"code": code, "detail": code})
    transport = httpx.MockTransport(lambda _: answer)
    Client(transport=transport, retries=Retries(n=0)).models()
"""
    expected = {
        "capacity": "CapacityError", "unreachable": "Unreachable",
        "deadline-exceeded": "DeadlineExceeded", "glassbox-error": "GlassboxError",
    }  # fmt: skip
    found = outcomes(setup, [f"ask({code!r})" for code in expected])
    assert found == [(kind, code) for code, kind in expected.items()]
