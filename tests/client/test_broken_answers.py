"""Whatever a server or the way to it does, the client's errors are ours and say what to do."""

import httpx
import orjson
import pytest

from glassbox.client import AsyncClient, Client
from glassbox.errors import (
    GlassboxError,
    IntegrityError,
    InvalidValue,
    TextTooLong,
    Unreachable,
    UsageError,
)
from glassbox.wire.states import DETAILS_KEY
from glassbox.wire.tensors import to_safetensors


def answering(answer):
    """Return a transport that gives this answer, and what it was asked."""
    asked = []

    def handle(request):
        asked.append(request)
        return answer

    return httpx.MockTransport(handle), asked


COMPLETION = {"id": "x", "object": "text_completion", "created": 1, "model": "m",
              "system_fingerprint": "f"}  # fmt: skip
CHAT = COMPLETION | {"object": "chat.completion", "usage": {
    "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}  # fmt: skip
PLAIN_TEXT = COMPLETION | {"choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}]}
PLAIN_CHAT = CHAT | {"choices": [
    {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "content", "words"),
    [
        (lambda c: c.models(), b"<html>", "no JSON"),
        (lambda c: c.models(), b"[]", "Glassbox server"),
        (lambda c: c.models(), b'{"data": 1}', "data: "),
        (lambda c: c.generate("a"), COMPLETION | {"choices": []}, "0 texts; 1"),
        (lambda c: c.generate("a"), PLAIN_TEXT, "no 'glassbox' object"),
        (lambda c: c.generate_many(["a", "b"]), PLAIN_TEXT, "1 texts; 2"),
        (lambda c: c.chat([]), CHAT | {"choices": []}, "0 answers; 1"),
        (lambda c: c.chat([]), PLAIN_CHAT, "no 'glassbox' object"),
        (lambda c: c.states(["a"]), b"{}", "cannot be read"),
        (lambda c: c.states(["a"]), to_safetensors({}, {}), "no 'glassbox'"),
        (lambda c: c.states(["a"]), to_safetensors({}, {DETAILS_KEY: "<"}), "no JSON"),
        (lambda c: c.states(["a"]), b"\x16" + bytes(7) + b'{"__metadata__":[1,2]}', "cannot be"),
        (
            lambda c: c.classify(["a"]),
            {"model": "m", "classifier_digest": "", "calibrated": False, "threshold": None,
             "data": []},
            "0 labels; 1",
        ),
        (lambda c: c.verify("a"), b"null", "Glassbox server"),
        (lambda c: c.lens("a"), b'"x"', "Glassbox server"),
    ],
)  # fmt: skip
def test_another_servers_answer_is_an_error_of_ours(call, content, words):
    content = content if isinstance(content, bytes) else orjson.dumps(content)
    transport, _ = answering(httpx.Response(200, content=content))
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(IntegrityError, match=words),
    ):
        call(client)


CHUNK = COMPLETION | {"choices": [
    {"index": 0, "text": "h", "finish_reason": None, "glassbox": {"token_ids": [1]}}
]}  # fmt: skip
CHAT_CHUNK = COMPLETION | {"object": "chat.completion.chunk", "choices": [
    {"index": 0, "delta": {"content": "h"}, "finish_reason": None}
]}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([], Unreachable, "broke off"),
        (["[DONE]"], Unreachable, "broke off"),
        ([CHUNK], Unreachable, "ended before the text did"),
        ([CHUNK, "[DONE]"], Unreachable, "ended before the text did"),
        (["{"], IntegrityError, "no JSON"),
        (["[]"], IntegrityError, "no object"),
        ([{"object": "else"}], IntegrityError, "id: "),
        ([PLAIN_TEXT], IntegrityError, "no 'glassbox' object"),
        ([CHAT_CHUNK], IntegrityError, "no 'glassbox' object"),
        ([{"error": "words"}], GlassboxError, "words"),
        ([{"error": {"code": "text-too-long", "message": "long"}}], TextTooLong, "long"),
    ],
)
def test_a_stream_that_is_cut_or_foreign_does_not_end_silently(events, kind, words):
    lines = [each if isinstance(each, str) else orjson.dumps(each).decode() for each in events]
    transport, _ = answering(
        httpx.Response(200, text="".join(f"data: {line}\n\n" for line in lines))
    )
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(kind, match=words) as caught,
    ):
        list(client.stream("a"))

    assert type(caught.value) is kind


ODD = "one\u2028two\u2029three\x85four\x1dfive"
"""A text with what Unicode takes for ends of lines; JSON holds most of it as it is."""

ENDING = {"token_ids": [], "final": {
    "finish_reason": "stop", "token_ids": [1], "mean_entropy": 0.5,
    "timing": {"queued_s": 0.0, "first_token_s": 0.1, "total_s": 0.2}}}  # fmt: skip


class InParts(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream with an odd text, in parts that end anywhere."""

    def __init__(self, n_bytes, end):
        texts = [({"token_ids": [1]}, ODD), (ENDING, "")]
        chunks = [
            COMPLETION
            | {"choices": [{"index": 0, "text": text, "finish_reason": None, "glassbox": shown}]}
            for shown, text in texts
        ]
        chunks.append(COMPLETION | {"choices": [], "usage": CHAT["usage"]})
        body = b"".join(b"data: " + orjson.dumps(each) + 2 * end for each in chunks)
        self.parts = [body[at : at + n_bytes] for at in range(0, len(body), n_bytes)]

    def __iter__(self):
        yield from self.parts

    async def __aiter__(self):
        for part in self.parts:
            yield part


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("n_bytes", [1, 7, 100_000])
async def test_a_text_with_odd_ends_of_lines_is_streamed_whole(n_bytes, end):
    transport, _ = answering(httpx.Response(200, stream=InParts(n_bytes, end)))
    with Client("http://test", transport=transport) as client:
        pieces = list(client.stream("a"))
    transport, _ = answering(httpx.Response(200, stream=InParts(n_bytes, end)))
    async with AsyncClient("http://test", transport=transport) as client:
        others = [piece async for piece in client.stream("a")]

    assert [each.text for each in pieces] == [each.text for each in others] == [ODD, ""]
    assert pieces[-1].whole.text == others[-1].whole.text == ODD


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off, and knows whether it was closed."""

    is_closed = False

    def __iter__(self):
        yield b"half"
        raise httpx.ReadError("reset")

    async def __aiter__(self):
        yield b"half"
        raise httpx.ReadError("reset")

    def close(self):
        self.is_closed = True

    async def aclose(self):
        self.is_closed = True


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_breaks_off_is_unreachable_and_closed(status):
    body = Broken()
    transport, _ = answering(httpx.Response(status, stream=body))
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(Unreachable, match="broke off"),
    ):
        list(client.stream("a"))

    assert body.is_closed


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_that_breaks_off_is_unreachable_and_closed_to_the_other_client(status):
    body = Broken()
    transport, _ = answering(httpx.Response(status, stream=body))
    async with AsyncClient("http://test", transport=transport) as client:
        with pytest.raises(Unreachable, match="broke off"):
            [piece async for piece in client.stream("a")]

    assert body.is_closed


def test_the_server_is_told_how_long_somebody_waits():
    transport, asked = answering(httpx.Response(200, json={"data": []}))
    with Client("http://test", timeout_s=2.5, transport=transport) as client:
        client.models()
        with pytest.raises(Unreachable, match="broke off"):
            list(client.stream("a"))

    # A stream goes on for as long as its parts come.
    assert [each.headers.get("x-request-timeout") for each in asked] == ["2.5", None]


def test_a_name_cannot_leave_its_place_in_an_address():
    transport, asked = answering(httpx.Response(204))
    with Client("http://test", transport=transport) as client:
        client.unload_adapter("../a b/c?d")

    assert asked[0].url.raw_path == b"/v1/adapters/..%2Fa%20b%2Fc%3Fd"


@pytest.mark.parametrize("url", ["localhost:8787", "", "http://a:b", "ftp://a", "http://"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InvalidValue, match="url is"):
        Client(url)


@pytest.mark.parametrize("key", ["gbx_1\n", "", "schlüssel"])
def test_a_key_that_is_none_is_refused_and_not_shown(key):
    with pytest.raises(UsageError, match="API key") as caught:
        AsyncClient(key=key)

    assert not key or key.strip() not in str(caught.value)
