"""A real server in a process of its own, and requests to it over HTTP, for a capacity file.

The client's threads share the machine with the server and take a little of it.
"""

import http.client
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.apparatus.flights import Pending, Start, Times
from benchmarks.apparatus.model import sentences
from benchmarks.apparatus.starting import wait_for

N_GIVEN = 32
"""Tokens of a given response, about."""
N_CLIENTS = 160
"""Threads that ask: more requests than that are never under way."""
KEPT_S = 2.0
"""Seconds a connection is used again after: the server closes those that are idle for longer."""
NAME = "measured"


@dataclass(frozen=True)
class Served:
    """One kind of request to the server."""

    name: str
    """``verify`` or ``write N``."""
    path: str
    """Route."""
    bodies: tuple[bytes, ...]
    """Requests, no two alike."""
    n_read: tuple[int, ...]
    """Tokens of each that are read."""
    n_written: tuple[int, ...]
    """Tokens of each that are written."""


def served_works(model: Path, written: tuple[int, ...]) -> Mapping[str, Served]:
    """Return the kinds of requests, over sentences in a seeded order."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts = sentences("train")
    random.Random(0).shuffle(texts)
    counts = [len(each.ids) + 1 for each in tokenizer.encode_batch(texts, add_special_tokens=False)]
    half = len(texts) // 2
    given = [_given(texts, counts, half + place) for place in range(half)]
    reads = [counts[place] + given[place][1] for place in range(half)]
    verify = Served(
        "verify",
        "/v1/verify",
        tuple(
            _body(prompt=texts[place], response=given[place][0], k=0, paraphrases=[])
            for place in range(half)
        ),
        tuple(reads),
        (0,) * half,
    )
    # Other texts than those that are verified: a server remembers the prompts it has read.
    writes = [_writing(n, texts[half:], counts[half:]) for n in written]
    return {work.name: work for work in (verify, *writes)}


def _writing(n: int, texts: list[str], counts: list[int]) -> Served:
    # Requests of one length fall into step when a fixed number is under way: they begin and end
    # together, which spares the server work that it has with requests that come on their own.
    draw = random.Random(n)
    written = [draw.randint(1, 2 * n - 1) for _ in texts]
    bodies = (
        _body(model=NAME, prompt=text, max_tokens=own, temperature=0.0)
        for text, own in zip(texts, written, strict=True)
    )
    return Served(f"write {n}", "/v1/completions", tuple(bodies), tuple(counts), tuple(written))


def _given(texts: list[str], counts: list[int], first: int) -> tuple[str, int]:
    """Return a response of about ``N_GIVEN`` tokens made of sentences, and how many it has."""
    parts, n = [], 0
    for place in itertools.count(first):
        text = texts[place % len(texts)]
        parts.append(text)
        n += counts[place % len(texts)] - 1
        if n >= N_GIVEN:
            return " ".join(parts), n
    raise AssertionError


def _body(**values: object) -> bytes:
    return json.dumps(values).encode()


@dataclass(frozen=True)
class Reserved:
    """Requests about to be sent."""

    start: Start
    """Sends the request of a number, 0 being the first."""
    n_read: Sequence[int]
    """Tokens of each that are read."""
    n_written: Sequence[int]
    """Tokens of each that are written."""


class Caller:
    """Sends requests on threads with a connection each."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(N_CLIENTS)
        self._n_used: dict[str, int] = {}

    def reserve(self, work: Served, n: int) -> Reserved:
        """Return what sends requests that were not sent before, and what they are made of.

        A prompt that comes again costs a server nothing to read.
        """
        first = self._n_used.get(work.name, 0)
        self._n_used[work.name] = first + n
        places = [place % len(work.bodies) for place in range(first, first + n)]
        return Reserved(
            lambda index: _Called(
                self._pool, lambda: self._ask(work.path, work.bodies[places[index]])
            ),
            [work.n_read[place] for place in places],
            [work.n_written[place] for place in places],
        )

    def _ask(self, path: str, body: bytes) -> None:
        connection, used_s = getattr(self._own, "connection", (None, 0.0))
        if connection is None or time.monotonic() - used_s > KEPT_S:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        assert answer.status == 200, raw
        self._own.connection = (connection, time.monotonic())

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


class _Called:
    """A request on a thread."""

    def __init__(self, pool: ThreadPoolExecutor, call: Callable[[], None]) -> None:
        self._future: Future[None] = pool.submit(call)

    def times(self) -> Times:
        self._future.result()
        return Times(0.0, 0.0)

    def cancel(self) -> None:
        self._future.cancel()

    def when_done(self, call: Callable[[], None]) -> None:
        self._future.add_done_callback(lambda _: call())


_: type[Pending] = _Called


@contextmanager
def serving_model(model: Path, dtype: str, threads: int | None) -> Iterator[int]:
    """Run ``glassbox serve`` on a free port; yields the port once it is ready."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        variables = {
            "GLASSBOX_STORAGE__URL": f"sqlite:///{folder}/glassbox.db",
            "GLASSBOX_ENGINE__DTYPE": dtype,
            **({} if threads is None else {"GLASSBOX_ENGINE__THREADS": str(threads)}),
        }
        command = [
            sys.executable, "-m", "glassbox", "serve", "--model", str(model), "--name", NAME,
            "--port", str(port),
        ]  # fmt: skip
        with (Path(folder) / "log").open("w+b") as log:
            server = subprocess.Popen(
                command, env={**os.environ, **variables}, stdout=log, stderr=log
            )
            try:
                wait_for(server, port, Path(folder) / "log")
                yield port
            finally:
                server.terminate()
                server.wait(40)
