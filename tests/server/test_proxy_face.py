"""What Ray's proxies answer by themselves has our form; what replicas answer is left alone."""

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from glassbox.server.proxy_face import ProxyFace, middlewares


def ask(app, path="/v1/completions"):
    transport = httpx.ASGITransport(ProxyFace(app))

    async def work():
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            return await client.post(path, headers={"x-request-id": "r1"})

    import anyio

    return anyio.run(work)


def test_a_replica_that_went_away_is_a_problem_to_try_again():
    async def silent(scope, receive, send):
        """Answers nothing, as Ray's proxy does where a replica has died."""

    for path, place in (("/v1/completions", "error"), ("/v1/verify", None)):
        answer = ask(silent, path)
        body = answer.json()
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-request-id"] == "r1"
        assert answer.headers["x-glassbox-error"] == "replica-lost"
        assert "ask again" in (body[place]["message"] if place else body["detail"])


@pytest.mark.parametrize(
    ("status", "code", "waits"),
    [
        (404, "no-such-route", None),
        (408, "deadline-exceeded", None),
        (429, "not-ready", "1"),
        (503, "not-ready", "1"),
    ],
)
def test_plain_words_of_the_proxy_become_a_problem(status, code, waits):
    answer = ask(PlainTextResponse("Request dropped due to backpressure", status), "/v1/verify")
    assert answer.status_code == status
    assert answer.json()["code"] == code
    assert answer.headers.get("retry-after") == waits
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_wait_that_the_proxy_asks_for_is_kept():
    app = PlainTextResponse("full", 503, headers={"retry-after": "7"})
    assert ask(app, "/v1/verify").headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_answer_of_the_app_is_left_alone_and_has_one_id(status):
    app = JSONResponse({"a": 1}, status)
    app.raw_headers += [(b"x-request-id", b"ours"), (b"X-Request-ID", b"ray's")]
    answer = ask(app)
    assert (answer.status_code, answer.json()) == (status, {"a": 1})
    assert answer.headers.get_list("x-request-id") == ["ours"]


def test_rays_own_paths_are_left_alone():
    assert ask(PlainTextResponse("success", 503), "/-/healthz").text == "success"


def test_an_answer_that_breaks_off_is_left_to_break_off():
    async def breaks_off(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        ask(breaks_off)


def test_ray_takes_it_as_it_is():
    (wrapped,) = middlewares()
    assert wrapped.cls is ProxyFace
