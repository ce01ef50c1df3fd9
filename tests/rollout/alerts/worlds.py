"""A clock that is set, receivers that answer as they are told, and one that listens to HTTP."""

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.receivers import TAKEN, Outcome

START_S = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START_S

    def __call__(self) -> float:
        return self.now


class Told:
    """A receiver that remembers, and answers what it is told to."""

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self.got: list[AlertMessage] = []
        self.n_calls = 0
        self.outcome = TAKEN

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        self.n_calls += 1
        if not self.outcome.error:
            self.got.extend(messages)
        return self.outcome

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(each.rule, each.state) for each in self.got]


@dataclass
class Listener:
    """An HTTP receiver."""

    url: str
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.got.append((self.path, headers, content))
            status, extra = listener.answers.pop(0) if listener.answers else (200, {})
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def message(**values: object) -> AlertMessage:
    known = {
        "id": "alert-1",
        "rule": "challenger differs",
        "signal": "summary.shadow_avg_diff",
        "state": "firing",
        "severity": "warn",
        "time_s": START_S,
        "since_s": START_S,
        "value": 0.12,
        "limit": 0.05,
        "summary": "The challenger differs: summary.shadow_avg_diff is 0.12, above 0.05.",
    }
    return AlertMessage(**{**known, **values})  # type: ignore[arg-type]
