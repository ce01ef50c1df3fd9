"""A server of its own for a demo, and somebody who takes its alerts. Both end with the demo."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import orjson

from glassbox.client import Client
from glassbox.errors import ConflictError, Unreachable
from glassbox.server.process.listening import bind
from glassbox.settings import environment_of

HOST: Final = "127.0.0.1"
"""Where all of a demo listens: nobody else reaches it."""

START_S: Final = 90.0
"""Seconds within which the server must be ready."""

STOP_S: Final = 15.0
"""Seconds that it gets to end."""

LOG_LINES: Final = 12
"""Lines of its log that are shown when it ended by itself."""

OnAlert = Callable[[Mapping[str, Any]], None]
"""Called with each alert as it comes in."""


@contextlib.contextmanager
def taking_alerts(on_alert: OnAlert) -> Iterator[str]:
    """Give the address at which alerts are taken, on this machine alone."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(204)
            self.end_headers()
            on_alert(orjson.loads(body))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the demo does."""

    server = ThreadingHTTPServer((HOST, 0), Taker)
    threading.Thread(target=server.serve_forever, name="alerts", daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_port}/alerts"
    finally:
        server.shutdown()
        server.server_close()


def check_port(port: int) -> None:
    """Refuse a port that somebody else has, who would be taken for the demo's own server.

    Raises:
        ConflictError: Another process has it.
        InvalidValue: There is no right to it.
    """
    try:
        bind(HOST, port).close()
    except ConflictError as error:
        raise ConflictError(
            f"Port {port} is taken, perhaps by a demo that still runs. End that one, or choose "
            "another with --port."
        ) from error


@contextlib.contextmanager
def serving(
    folder: Path, port: int, settings: Mapping[str, object], options: Sequence[str]
) -> Iterator[Client]:
    """Give a client of a server that has a folder, a database and settings of its own.

    Args:
        folder: Its log is written there.
        port: Where it listens.
        settings: Its settings by dotted name; those of this process are not its own.
        options: More words of its command line.

    Raises:
        Unreachable: It did not become ready; the message holds the end of its log.
    """
    log = folder / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "glassbox", "serve", "--port", str(port), *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env=environment_of(settings),
            # An interrupt at the terminal is the demo's, which ends the server in its own time.
            start_new_session=True,
        )
    try:
        with Client(f"http://{HOST}:{port}", timeout_s=60.0) as client:
            _wait(server, client, log)
            yield client
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", client: Client, log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and server.poll() is None:
        if client.health().ready:
            return
        time.sleep(0.2)
    end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
    raise Unreachable(f"The demo's server did not become ready. The end of its log:\n{end}")
