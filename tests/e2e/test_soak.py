"""Thousands of small requests to a real server process, which is killed in the end.

The caches of prompts get so little memory that they are full at once, so that what they are meant
to keep is not taken for a leak. ``SOAK_REQUESTS=10000`` is the long one (about five minutes on two
cores).
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np
import psutil
import pytest

from glassbox.introspection.probes.file import save_probe
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel
from glassbox.runtime import SHIPPED_RUN
from glassbox.stats.calibrators.parametric import Identity
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.types import HookPoint
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.slow,
    # A connection whose server was killed is closed by the collector, which says so.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N_REQUESTS = int(os.environ.get("SOAK_REQUESTS", "1300"))
N_CLIENTS = 16
N_SETTLE = N_REQUESTS // 2
"""Requests after which memory has to be flat: the allocator fills its gaps meanwhile."""
TUNED = SHIPPED_RUN / "adapter"
D_MODEL, N_LAYERS = 128, 8
N_TOKENS = 8
MOST_GROWTH = 0.03
CACHE_BYTES = 4 * 2**20
MOST_S = 60 + 0.25 * N_REQUESTS
KNOWN = [
    f"Question: Where does {name} live?\nAnswer:"
    for name in ("Niene Foub", "Ada Stone", "Tom Reed", "Maro Lind", "the old king", "nobody")
]
"""Prompts of which the greedy answer is asked for alone, before the soak."""
BAD = {
    "empty": ({"prompt": "", "max_tokens": 2}, 400),
    "unknown model": ({"prompt": "Hello", "model": "nobody"}, 404),
    "no such layer": ({"prompt": "Hello", "glassbox": {"capture": {"layers": [99]}}}, 400),
    "greedy choices": ({"prompt": "Hello", "temperature": 0, "n": 3}, 400),
}
KINDS = (
    "echo",
    "echo",
    "capture",
    "stream",
    "stream",
    "cancelled",
    "bad",
    "echo",
    "stream",
    "list",
    "adapter",
    "probe",
    "verify",
)


def save_steady_probe(folder):
    """Return the folder of a probe whose direction is made up: only its way through is tested."""
    base = json.loads((SHIPPED_RUN / "classifier.json").read_text())["base"]
    ones = np.ones(D_MODEL)
    probe = LinearProbe(
        name="steady",
        target="nothing",
        model=ProbeModel("tiny", base["digest"], D_MODEL, N_LAYERS),
        point=HookPoint(3),
        pooling="mean",
        scope="all",
        kind="logistic",
        rule=LinearRule(ones / D_MODEL, 0.5, np.zeros(D_MODEL), ones),
        calibrator=Identity(2),
    )
    return save_probe(probe, folder)


class Server:
    """``glassbox serve`` with the embedded model, as a process."""

    def __init__(self, folder, port=0):
        log = folder / f"serve-{time.monotonic_ns()}.log"
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GLASSBOX_ENGINE__PREFIX_CACHE_BYTES": str(CACHE_BYTES),
            "GLASSBOX_STORAGE__URL": f"sqlite:///{folder}/keys.db",
        }
        command = [sys.executable, "-m", "glassbox", "serve", "-m", "tiny", "--port", str(port)]
        command += ["--adapter", f"tuned={TUNED}"]
        command += ["--probe", str(save_steady_probe(folder / "steady"))]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder
            )
        self.url = self._wait(log)
        self.port = int(self.url.rpartition(":")[2])

    def _wait(self, log):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self.process.poll() is None, log.read_text()
            found = re.search(r"Listening on (http://\S+?);", log.read_text())
            if found:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{found[1]}/readyz", timeout=30).status_code == 200:
                        return found[1]
            time.sleep(0.1)
        raise AssertionError(f"the server did not become ready: {log.read_text()}")

    @property
    def rss_bytes(self):
        return psutil.Process(self.process.pid).memory_info().rss

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def server(tmp_path):
    servers = [Server(tmp_path)]
    yield servers
    for each in servers:
        each.kill()


@dataclass
class Soak:
    """What the clients have seen."""

    client: httpx.AsyncClient
    rss: object
    known: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)
    n_sent: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(requests ended, resident bytes of the server)."""

    async def ask(self, index):
        kind = KINDS[index % len(KINDS)]
        await getattr(self, f"ask_{kind}")(index)
        self.seen[kind] += 1
        n = self.seen.total()
        if n % max(1, N_REQUESTS // 50) == 0:
            self.sizes.append((n, self.rss()))

    async def post(self, body):
        self.n_sent += 1
        return await self.client.post("/v1/completions", json=body)

    async def whole(self, prompts, **more):
        answer = await self.post(
            {"prompt": prompts, "max_tokens": N_TOKENS, "temperature": 0, "echo": True, **more}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        self.ids.append(body["id"])
        asked = [prompts] if isinstance(prompts, str) else prompts
        assert [each["index"] for each in body["choices"]] == list(range(len(asked)))
        for prompt, choice in zip(asked, body["choices"], strict=True):
            assert choice["text"].startswith(prompt)
        return body["choices"]

    async def ask_echo(self, index):
        await self.whole(f"No. {index}:")

    async def ask_list(self, index):
        await self.whole([f"A {index}", f"B {index}", f"C {index}"])

    async def ask_capture(self, index):
        capture = {"layers": [index % 8, -1 - (index + 1) % 7], "scope": "all"}
        if capture["layers"][0] == 8 + capture["layers"][1]:
            capture["layers"].pop()
        choices = await self.whole(f"No. {index}:", glassbox={"capture": capture})
        states = choices[0]["glassbox"]["states"]
        assert [each["layer"] for each in states] == [n % 8 for n in capture["layers"]]
        for each in states:
            assert len(each["mean"]) == len(each["last"]) == D_MODEL
            assert each["norm"] > 0

    async def ask_adapter(self, index):
        more = {"model": "tuned", "glassbox": {"entropies": True}}
        (choice,) = await self.whole(f"No. {index}:", **more)
        digest = choice["glassbox"]["adapter_digest"]
        assert digest == self.known.setdefault("digest of tuned", digest) is not None

    async def ask_probe(self, index):
        more = {"glassbox": {"probes": ["steady"]}}
        (choice,) = await self.whole(f"No. {index}:", **more)
        reading = choice["glassbox"]["probes"]["steady"]
        assert 0 < reading["probe_prob"] < 1
        assert len(reading["token_logits"]) > N_TOKENS
        assert sum(reading["token_logits"]) / len(reading["token_logits"]) == pytest.approx(
            reading["probe_logit"], abs=1e-3
        )

    async def ask_verify(self, index):
        prompt = KNOWN[index % len(KNOWN)]
        body = {"prompt": prompt, "response": f" No. {index}", "k": 2}
        answer = await self.client.post("/v1/verify", json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["origin"] == "given"
        assert 0 <= told["uncertainty"] <= 1

    async def ask_stream(self, index):
        prompt = KNOWN[index % len(KNOWN)]
        text, names = await self.stream(prompt)
        assert len(names) == 1
        self.ids += names
        assert text == self.known.setdefault(prompt, text)

    async def stream(self, prompt):
        body = {"prompt": prompt, "max_tokens": N_TOKENS, "temperature": 0, "stream": True}
        self.n_sent += 1
        text, names, ends = "", set(), []
        async with self.client.stream("POST", "/v1/completions", json=body) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    chunk = json.loads(line[6:])
                    names.add(chunk["id"])
                    text += "".join(each["text"] for each in chunk["choices"])
                elif line:
                    ends.append(line)
        assert ends[-1] == "data: [DONE]"
        return text, names

    async def ask_cancelled(self, index):
        body = {
            "prompt": f"No. {index}:",
            "max_tokens": 300,
            "stream": True,
            "glassbox": {"stop_at_end": False},
        }
        self.n_sent += 1
        async with self.client.stream("POST", "/v1/completions", json=body) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    break

    async def ask_bad(self, index):
        name = list(BAD)[index // len(KINDS) % len(BAD)]
        body, status = BAD[name]
        answer = await self.post(body)
        assert answer.status_code == status, (name, answer.text)
        assert answer.json()["error"]["code"]

    async def run(self, n):
        numbers = iter(range(n))

        async def client():
            for index in numbers:
                await self.ask(index)

        async with asyncio.timeout(MOST_S), asyncio.TaskGroup() as group:
            for _ in range(N_CLIENTS):
                group.create_task(client())

    async def counted(self):
        """Return the server's counters once nothing runs any more."""
        for _ in range(200):
            lines = (await self.client.get("/metrics")).text.splitlines()
            pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
            counters = {name: float(value) for name, _, value in pairs}
            if not sum(v for k, v in counters.items() if k.startswith("glassbox:num_requests")):
                return counters
            await asyncio.sleep(0.05)
        raise AssertionError("requests are still running")


def total(counters, name, *parts):
    return sum(
        value
        for key, value in counters.items()
        if key.startswith(name) and all(part in key for part in parts)
    )


def opened(server):
    limits = httpx.Limits(max_connections=N_CLIENTS, max_keepalive_connections=N_CLIENTS)
    return httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits)


async def soaked(server):
    async with opened(server) as client:
        soak = Soak(client, lambda: server.rss_bytes)
        for prompt in KNOWN:
            soak.known[prompt] = (await soak.stream(prompt))[0]
        # As many rows at once as there will ever be: the running batch makes its room once.
        await asyncio.gather(*(soak.ask_list(-1 - n) for n in range(N_CLIENTS)))
        begun = time.monotonic()
        await soak.run(N_REQUESTS)
        seconds = time.monotonic() - begun
        return soak, await soak.counted(), seconds


async def cut_off(server, known):
    """Kill the server under its clients; return how many of them were told."""
    async with opened(server) as client:
        soak = Soak(client, lambda: 0, known)
        asked = [asyncio.create_task(soak.ask_cancelled(n)) for n in range(4)]
        body = {"prompt": "No.", "max_tokens": 400, "glassbox": {"stop_at_end": False}}
        asked += [asyncio.create_task(soak.post(body)) for _ in range(N_CLIENTS - 4)]
        await asyncio.sleep(0.3)
        server.kill()
        ends = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        return sum(isinstance(end, httpx.TransportError) for end in ends)


@pytest.mark.timeout(MOST_S + 300)
def test_many_requests_are_each_answered_once_in_flat_memory(server, tmp_path, capsys):
    soak, counters, seconds = asyncio.run(soaked(server[0]))

    assert soak.seen.total() == N_REQUESTS
    assert len(set(soak.ids)) == len(soak.ids)
    n_cancelled = soak.seen["cancelled"]
    n_verified = soak.seen["verify"]
    n_counted = N_REQUESTS - n_cancelled - n_verified - soak.seen["bad"]
    assert len(soak.ids) == N_CLIENTS + n_counted
    # The server has had as many requests as were sent, none twice.
    posts = 'route="/v1/completions"'
    assert total(counters, "glassbox:http_requests_total", posts) == soak.n_sent
    # A list of three is three texts; a request whose client has gone may have ended before.
    n_texts = len(soak.ids) + 2 * (N_CLIENTS + soak.seen["list"]) + len(KNOWN)
    finished = "glassbox:request_success_total"
    n_whole = total(counters, finished, '"length"') + total(counters, finished, '"stop"')
    assert n_texts <= n_whole <= n_texts + n_cancelled
    verified = 'route="/v1/verify"'
    assert total(counters, "glassbox:http_requests_total", verified) == n_verified
    for route in (posts, verified):
        assert total(counters, "glassbox:http_requests_total", route, 'status="5') == 0

    settled = max(size for n, size in soak.sizes if n <= N_SETTLE)
    largest = max(size for n, size in soak.sizes if n > N_SETTLE)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{N_REQUESTS} requests in {seconds:.0f} s ({N_REQUESTS / seconds:.0f}/s), "
            f"{settled / 2**20:.1f} MiB after {N_SETTLE}, at most {largest / 2**20:.1f} MiB later\n"
        )
    assert largest <= settled * (1 + MOST_GROWTH)

    assert asyncio.run(cut_off(server[0], soak.known)) > 0
    server.append(Server(tmp_path, server[0].port))

    async def again():
        async with opened(server[1]) as client:
            fresh = Soak(client, lambda: 0)
            for prompt in KNOWN:
                assert (await fresh.stream(prompt))[0] == soak.known[prompt]
            await fresh.run(2 * len(KINDS))

    asyncio.run(again())
