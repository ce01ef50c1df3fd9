"""Headers that trickle in are not waited for; slow bodies are."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from glassbox.server import patience

PATIENCE_S = 0.4


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(patience, "HEADERS_S", PATIENCE_S)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        _app, http=patience.PatientProtocol, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listener.close()


def _closed_after_s(connection: socket.socket, *, every_s: float) -> float:
    """Return when the other side closed, while a header trickles in."""
    begun = time.monotonic()
    connection.settimeout(every_s)
    while time.monotonic() - begun < 20 * PATIENCE_S:
        try:
            if connection.recv(100) == b"":
                break
        except TimeoutError:
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
        except ConnectionError:
            break
    return time.monotonic() - begun


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_headers_that_do_not_end_end_the_connection(port: int, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start)
        assert _closed_after_s(connection, every_s=0.05) < 10 * PATIENCE_S


def test_the_next_request_of_a_connection_gets_no_more_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in connection.recv(1000)
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert _closed_after_s(connection, every_s=0.05) < 10 * PATIENCE_S


def test_a_body_may_take_longer_than_headers(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(PATIENCE_S / 2)
            connection.sendall(b"x")
        answer = b""
        while not answer.endswith(b"4\r\n0\r\n\r\n") and (got := connection.recv(1000)):
            answer += got
        assert b"200" in answer.splitlines()[0]
