"""Waiting until a server process answers. Imports no large library."""

import http.client
import subprocess
import time
from pathlib import Path

STARTS_S = 90.0


def wait_for(
    server: "subprocess.Popen[bytes]",
    port: int,
    log: Path,
    *,
    path: str = "/readyz",
    body: str | None = None,
) -> None:
    """Wait until a server answers with status 200, or end with what it has logged.

    Args:
        server: Its process.
        port: Where it listens, on this machine.
        log: File of all that it says.
        path: What is asked.
        body: JSON to post there; None only asks.
    """
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and server.poll() is None:
        try:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            client.request(
                "GET" if body is None else "POST", path, body, {"Content-Type": "application/json"}
            )
            if client.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit("The server does not answer:\n" + log.read_text(encoding="utf-8")[-3000:])
