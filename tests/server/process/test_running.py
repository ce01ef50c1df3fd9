"""The server as a process: listens, loads, answers, drains, and says why when it cannot."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from glassbox.cli import main as shell
from tests.waiting import PATIENCE_S, until

SOURCE = Path(shell.__file__).parents[2]


class Served:
    """A running ``glassbox serve``, under an interpreter that may be warm."""

    def __init__(
        self, tmp_path: Path, *words: str, python: str | Path = sys.executable, **environment: str
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if "GLASSBOX" not in name}
        self.process = subprocess.Popen(
            [python, "-m", "glassbox", "serve", "--port", "0", *words],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={
                **clean,
                "PYTHONPATH": str(SOURCE),
                "GLASSBOX_STORAGE__URL": f"sqlite:///{tmp_path}/glassbox.db",
                **environment,
            },
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def until(self, pattern: str) -> re.Match[str]:
        return until(lambda: re.search(pattern, "".join(self.log)), (pattern, self.log))

    @property
    def url(self) -> str:
        return self.until(r"Listening on (http://\S+);").group(1)

    def ready(self) -> httpx.Client:
        self.until("Ready: ")
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextmanager
def served(
    tmp_path: Path, *words: str, python: str | Path = sys.executable, **environment: str
) -> Iterator[Served]:
    server = Served(tmp_path, *words, python=python, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        assert server.process.stderr is not None
        server.process.stderr.close()


@contextmanager
def manager(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(place))
        line.settimeout(PATIENCE_S)
        yield line


def long_request(client: httpx.Client, n_tokens: int) -> httpx.Response:
    asked = {"prompt": "Once upon a time", "max_tokens": n_tokens, "glassbox": {"entropies": True}}
    return client.post("/v1/completions", json={"model": "tiny", "temperature": 0, **asked})


def test_a_server_answers_and_running_requests_finish_when_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    techniques = tmp_path / "techniques"
    told = tmp_path / "told"
    environment = {"GLASSBOX_TECHNIQUES__FOLDER": str(techniques), "NOTIFY_SOCKET": str(told)}
    with (
        manager(told) as line,
        served(tmp_path, "--model", "tiny", **environment) as server,
        server.ready() as client,
    ):
        # As systemd hears it of a unit of type notify.
        assert line.recv(100) == b"READY=1"
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
        # It runs no functions unless it is told to, and leaves no secret for those who would send.
        refused = client.post("/v1/techniques/runs", content=b"")
        assert (refused.status_code, refused.json()["code"]) == (403, "techniques-off")
        assert "--techniques process" in refused.json()["detail"]
        assert not list(techniques.rglob("*.secret"))
        answers: list[httpx.Response] = []
        asker = threading.Thread(target=lambda: answers.append(long_request(client, 400)))
        asker.start()
        server.until(r"Ready")
        time.sleep(0.3)
        assert server.stop() == 0
        asker.join()
        # A short text may have ended before the signal; it must never be cut.
        assert [answer.status_code for answer in answers] == [200]
        assert answers[0].json()["choices"][0]["finish_reason"] in ("stop", "length")
        assert "Once upon" not in "".join(server.log).partition("Ctrl-C")[2]
        assert "Stopped." in "".join(server.log)


def test_sagemakers_server_answers_only_the_platform(tmp_path: Path, warm: Path) -> None:
    words = ("--sagemaker", "--model", "tiny", "--host", "127.0.0.1")
    with served(tmp_path, *words, python=warm / "python") as server, server.ready() as client:
        assert client.get("/ping").status_code == 200
        answer = client.post("/invocations", json={"inputs": "Once upon a time"})
        assert set(answer.json()["hidden_states"]) == {"layer_-1", "layer_-4", "layer_-8"}
        assert client.get("/v1/models").status_code == 404
        assert server.stop(signal.SIGINT) == 0


def test_a_model_that_cannot_be_loaded_ends_the_process_with_its_reason(
    tmp_path: Path, warm: Path
) -> None:
    words = ("--model", str(tmp_path / "nothing"))
    with served(tmp_path, *words, python=warm / "python") as server:
        assert server.wait() == 2
        assert "error[unknown-name]" in "".join(server.log)


def test_other_machines_are_not_let_in_without_a_key(tmp_path: Path) -> None:
    with served(tmp_path, "--host", "0.0.0.0") as server:
        assert server.wait() == 2
        assert "glassbox keys create" in "".join(server.log)
        assert "Listening" not in "".join(server.log)
