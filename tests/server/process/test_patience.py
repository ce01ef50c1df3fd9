"""Headers that trickle in are not waited for, nor readers that do not read; slow bodies are."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from glassbox.server.process import patience
from tests.waiting import PATIENCE_S, until

SHORT_S = 1.0

LARGE = 64_000_000
"""Bytes of an answer that no buffer of the system holds."""


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] in ("/whole", "/parts"):
        size = [(b"content-length", str(LARGE).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": size})
        n = 1 if scope["path"] == "/whole" else 64
        for number in range(n):
            body, more = bytes(LARGE // n), number < n - 1
            await send({"type": "http.response.body", "body": body, "more_body": more})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, uvicorn.Server]]:
    monkeypatch.setattr(patience, "HEADERS_S", SHORT_S)
    monkeypatch.setattr(patience, "UNREAD_S", SHORT_S)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        _app, http=patience.PatientProtocol, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1], server
    server.should_exit = True
    thread.join(PATIENCE_S)
    listener.close()


@pytest.fixture
def port(server: tuple[int, uvicorn.Server]) -> int:
    return server[0]


def _is_closed(connection: socket.socket) -> bool:
    """Let a header trickle in until the other side closes; each byte would buy it more time."""
    connection.settimeout(SHORT_S / 10)

    def closed() -> bool:
        try:
            return connection.recv(100) == b""
        except TimeoutError:
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
        except ConnectionError:
            return True
        return False

    return until(closed)


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_headers_that_do_not_end_end_the_connection(port: int, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start)
        assert _is_closed(connection)


def test_the_next_request_of_a_connection_gets_no_more_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in connection.recv(1000)
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert _is_closed(connection)


def test_a_body_may_take_longer_than_headers(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(SHORT_S / 2)
            connection.sendall(b"x")
        answer = b""
        while not answer.endswith(b"4\r\n0\r\n\r\n") and (got := connection.recv(1000)):
            answer += got
        assert b"200" in answer.splitlines()[0]


@pytest.mark.parametrize("path", ["/whole", "/parts"])
def test_an_answer_that_nobody_reads_is_not_kept_for_ever(
    server: tuple[int, uvicorn.Server], path: str
) -> None:
    port, running = server
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200" in connection.recv(100)
        until(lambda: not running.server_state.connections)


class _Reader:
    """The other end of a connection, which takes what it takes when the clock is wound."""

    def __init__(self, n_waiting: int) -> None:
        self.n_waiting = n_waiting
        self.is_aborted = False
        self.due: list[Any] = []

    def get_extra_info(self, _name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.n_waiting

    def abort(self) -> None:
        self.is_aborted = True

    def call_later(self, seconds: float, call: Any, *arguments: Any) -> Any:
        timer = asyncio.TimerHandle(seconds, call, arguments, self)  # type: ignore[arg-type]
        self.due.append(timer)
        return timer

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, timer: Any) -> None:
        self.due.remove(timer)

    def wind(self) -> None:
        due, self.due = self.due, []
        for timer in due:
            timer._run()


def test_a_reader_who_takes_his_time_gets_all_of_it() -> None:
    reader = _Reader(1_000_000)
    config = uvicorn.Config(_app, http=patience.PatientProtocol, lifespan="off", log_config=None)
    config.load()
    protocol = patience.PatientProtocol(config, ServerState(), {}, reader)  # type: ignore[arg-type]
    protocol.connection_made(reader)
    protocol._stop()
    protocol.pause_writing()
    for _ in range(5):
        reader.n_waiting -= 1
        reader.wind()
    assert len(reader.due) == 1
    protocol.resume_writing()
    assert not reader.due
    protocol.pause_writing()
    protocol.connection_lost(ConnectionResetError())

    assert not reader.due
    assert not reader.is_aborted
