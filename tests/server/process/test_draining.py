"""Draining: what runs is finished, what takes too long is ended and says so, nothing new begins."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
import uvicorn

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.lifecycle import Lifecycle
from glassbox.server.process import running as process
from glassbox.server.process.listening import address_of, bind
from glassbox.server.process.running import DrainingServer
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.testing import FakeEngine
from glassbox.testing.fake_generation import END_ID
from glassbox.testing.tiny import D_VOCAB
from tests.waiting import PATIENCE_S, until


class Running:
    """A server on a thread, which is told to stop as a signal would tell it.

    Its model writes once ``may_write`` is set, and never ends its text by itself.
    """

    def __init__(self, step_s: float, drain_s: float) -> None:
        self.may_write = threading.Event()
        self.engine = engine = FakeEngine(self._logits, step_s=step_s)
        guards = Guards(limits=ServerSettings(drain_s=drain_s))
        app = create_app(Serving(Speaker(engine, "fake")), guards)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=3)
        self.server = DrainingServer(config, guards, engine.close)
        self.listener = bind("127.0.0.1", 0)
        self.url = address_of(self.listener)
        self.guards = guards
        self.thread = threading.Thread(
            target=lambda: self.server.run(sockets=[self.listener]), daemon=True
        )

    def _logits(self, _tokens: object) -> np.ndarray:
        assert self.may_write.wait(2 * PATIENCE_S)
        logits = np.zeros(D_VOCAB)
        logits[END_ID] = -1e9
        return logits

    def stop(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)


@contextmanager
def running(*, step_s: float = 0.0, drain_s: float) -> Iterator[Running]:
    server = Running(step_s, drain_s)
    server.thread.start()
    until(lambda: server.server.started)
    try:
        yield server
    finally:
        if server.thread.is_alive():
            server.stop()
            server.stop()
        server.may_write.set()
        server.thread.join(PATIENCE_S)
        server.listener.close()
    assert not server.thread.is_alive()


def ask(url: str, answers: list[httpx.Response], n_tokens: int) -> threading.Thread:
    def work() -> None:
        asked = {"model": "fake", "prompt": "a", "max_tokens": n_tokens, "stop": None}
        answers.append(httpx.post(f"{url}/v1/completions", json=asked, timeout=PATIENCE_S))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_runs_is_finished_and_nothing_new_begins() -> None:
    answers: list[httpx.Response] = []
    with running(drain_s=PATIENCE_S) as server:
        asker = ask(server.url, answers, 20)
        until(lambda: server.engine._open)
        server.stop()
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
            assert client.get("/readyz").status_code == 503
            assert client.get("/livez").status_code == 200
            refused = client.post("/v1/completions", json={"model": "fake", "prompt": "a"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        server.may_write.set()
        asker.join(PATIENCE_S)
        server.thread.join(PATIENCE_S)
        assert not server.thread.is_alive()
    (answer,) = answers
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length")


def test_a_body_that_does_not_come_whole_is_not_waited_for() -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n"
    with running(drain_s=0.2) as server:
        with socket.create_connection(server.listener.getsockname()) as client:
            client.settimeout(PATIENCE_S)
            client.sendall(head + b'content-type: application/json\r\n\r\n{"mod')
            until(lambda: server.guards.lifecycle.n_running == 1)
            server.stop()
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        server.thread.join(PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the body has not come whole" in answer


def test_what_takes_too_long_is_ended_and_says_so() -> None:
    answers: list[httpx.Response] = []
    with running(step_s=0.2, drain_s=0.2) as server:
        asker = ask(server.url, answers, 200)
        server.may_write.set()
        until(lambda: server.engine._open)
        server.stop()
        asker.join(PATIENCE_S)
        server.thread.join(PATIENCE_S)
    (answer,) = answers
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["error"]["message"]


def test_a_second_signal_ends_it_at_once() -> None:
    answers: list[httpx.Response] = []
    with running(drain_s=2 * PATIENCE_S) as server:
        ask(server.url, answers, 100)
        until(lambda: server.engine._open)
        server.stop()
        server.stop()
        server.thread.join(PATIENCE_S)
        assert not server.thread.is_alive()


def test_a_second_signal_leaves_time_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[DrainingServer] = []

    class Kept(DrainingServer):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            made.append(self)

    monkeypatch.setattr(process, "DrainingServer", Kept)
    monkeypatch.setattr(process, "LAST_ANSWERS_S", PATIENCE_S)
    guards, ready = Guards(limits=ServerSettings(drain_s=2 * PATIENCE_S)), threading.Event()
    serving, listener = Serving(Speaker(FakeEngine(), "fake")), bind("127.0.0.1", 0)
    serve = process._serve(
        create_app(None, guards), listener, lambda: serving, lambda _: ready.set()
    )
    thread = threading.Thread(target=asyncio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    guards.lifecycle.enter()
    for _ in range(2):
        made[0].handle_exit(signal.SIGTERM, None)
    thread.join(1.0)
    assert thread.is_alive()
    assert made[0]._loop is not None
    made[0]._loop.call_soon_threadsafe(guards.lifecycle.leave)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_idle_is_reached_when_the_last_request_leaves() -> None:
    lifecycle = Lifecycle()
    lifecycle.enter()
    lifecycle.enter()
    lifecycle.leave()

    async def wait() -> tuple[bool, bool]:
        early = await lifecycle.idle(0.01)
        lifecycle.leave()
        return early, await lifecycle.idle(0.01)

    assert anyio.run(wait) == (False, True)


@pytest.mark.parametrize("stage", ["failed", "draining"])
def test_a_server_that_ends_does_not_turn_ready(stage: str) -> None:
    lifecycle = Lifecycle()
    if stage == "failed":
        lifecycle.fail("no such model")
    else:
        lifecycle.drain()
    lifecycle.ready()
    assert not lifecycle.is_ready
    assert lifecycle.stage == stage
