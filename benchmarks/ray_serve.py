"""What Ray Serve costs: the same requests to the plain server and to replicas on a local cluster.

Both answer from the embedded model on one thread a model, over HTTP, 32 requests of 32 new tokens
in flight; they take turns, so that a noisy machine disturbs them alike, and the one that is not
asked idles. Beside the rates: processor time per request of whoever took some, which says where the
difference goes. The generator of load runs in a process of its own and takes its share of the same
processors.

Run: ``python -m benchmarks.ray_serve [--replicas 2] [--haproxy] [--rounds 5] [--json FILE]``
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.apparatus.starting import wait_for

IN_FLIGHT = 32
N_NEW = 32
N_REQUESTS = 384
TEXT = (
    "the a film book service food staff room was is very quite really good bad late early kind "
    "slow fast cold warm again never always and but we they it"
)


@dataclass(frozen=True)
class Round:
    """One way, asked once."""

    way: str
    rate: float
    """Requests a second."""
    p50_s: float
    p99_s: float
    cpu_s: dict[str, float]
    """Processor seconds per request by who took them."""


async def _ask(port: int, todo: list[int], times: list[float], key: str) -> None:
    words = TEXT.split()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while todo:
        index = todo.pop()
        at = [(index * 31 + step * 17) % len(words) for step in range(24)]
        asked = {
            "model": "tiny",
            "prompt": " ".join(words[each] for each in at),
            "max_tokens": N_NEW,
            "temperature": 0,
        }
        body = json.dumps(asked).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in answer.splitlines()[0]:
            raise SystemExit(f"an answer was no answer: {answer.splitlines()[0]!r}")
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.perf_counter() - started)
    writer.close()


async def _load(port: int, n: int, key: str) -> None:
    todo = list(range(n))
    times: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(_ask(port, todo, times, key) for _ in range(IN_FLIGHT)))
    elapsed = time.perf_counter() - started
    times.sort()
    print(json.dumps([n / elapsed, times[n // 2], times[int(0.99 * n)]]))


def _cpu() -> dict[str, float]:
    """Return processor seconds so far by who took them."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            command, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        who = next((who for sign, who in _WHO if sign in command), None)
        if who is not None:
            found[who] = found.get(who, 0.0) + times.user + times.system
    return found


_WHO = (
    ("ServeReplica", "replica"),
    ("ProxyActor", "proxy"),
    ("haproxy", "proxy"),
    ("HAProxyManager", "proxy"),
    ("ServeController", "rest of Ray"),
    ("raylet", "rest of Ray"),
    ("gcs_server", "rest of Ray"),
    ("DashboardAgent", "rest of Ray"),
    ("glassbox serve", "plain server"),
)


def measure(way: str, port: int, n: int, key: str) -> Round:
    """Return one round, asked from a process of its own."""
    before = _cpu()
    command = [sys.executable, "-m", "benchmarks.ray_serve", "--load", str(port), str(n), key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = _cpu()
    rate, p50_s, p99_s = json.loads(done.stdout)
    cpu_s = {who: (after[who] - before.get(who, 0.0)) / n for who in after}
    return Round(way, rate, p50_s, p99_s, {who: each for who, each in cpu_s.items() if each > 5e-5})


@contextmanager
def plain_server(bundle: Path, folder: Path, port: int) -> Iterator[None]:
    """Start the plain server, and end it."""
    command = [
        sys.executable, "-c", "from glassbox.cli.main import run; run()  # glassbox serve",
        "serve", "--bundle", str(bundle), "--port", str(port),
    ]  # fmt: skip
    with (folder / "plain.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(server, port, folder / "plain.log")
            yield
        finally:
            server.terminate()
            server.wait(60)


def show(rounds: Sequence[Round], replicas: int) -> None:
    """Print the medians and what they are of one another."""
    ways = list(dict.fromkeys(each.way for each in rounds))
    middle = {}
    print(f"{'':<22}{'requests/s':>11}{'p50':>9}{'p99':>9}   processor time per request")
    for way in ways:
        of_way = [each for each in rounds if each.way == way]
        middle[way] = statistics.median(each.rate for each in of_way)
        p50, p99 = (
            statistics.median(getattr(each, name) for each in of_way) for name in ("p50_s", "p99_s")
        )
        whose = sorted({who for each in of_way for who in each.cpu_s})
        spent = ", ".join(
            f"{who} {1e3 * statistics.median(each.cpu_s.get(who, 0.0) for each in of_way):.1f} ms"
            for who in whose
        )
        print(f"{way:<22}{middle[way]:>11.1f}{p50 * 1e3:>6.0f} ms{p99 * 1e3:>6.0f} ms   {spent}")
    pairs = list(zip(*([e.rate for e in rounds if e.way == way] for way in ways), strict=True))
    ratios = sorted(ray / plain for plain, ray in pairs)
    print(
        f"Ray Serve with {replicas} replica(s) over the plain server: median "
        f"{statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f}; with one "
        "replica >= 0.85 is aimed at)"
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--haproxy", action="store_true", help="Ray's HAProxy in front")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=N_REQUESTS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        port, n, key = options.load
        asyncio.run(_load(int(port), int(n), key))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gb", dir="/tmp")))
        os.environ["GLASSBOX_STORAGE__URL"] = f"sqlite:///{folder}/glassbox.db"
        os.environ["GLASSBOX_ENGINE__THREADS"] = "1"
        os.environ["GLASSBOX_PATHS__VERSIONS"] = str(folder / "versions")
        if options.haproxy:
            os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1"
        rounds = contest(options, folder, stack)
        show(rounds, options.replicas)
        if options.json is not None:
            options.json.write_text(json.dumps([asdict(each) for each in rounds], indent=2) + "\n")


def contest(options: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Round]:
    """Return the rounds of both ways, taken in turn."""
    # Ray reads its environment when it is imported.
    from glassbox.deploy.bundle import Contents, make_bundle
    from glassbox.deploy.ray import Cluster, RayPlan, Share
    from glassbox.deploy.ray.cluster import free_port
    from glassbox.runtime import Runtime

    runtime = Runtime.load()
    bundle = folder / "bundle"
    make_bundle(runtime, Contents(base="tiny"), bundle)
    _, key = runtime.key_store().create("benchmark", ["predict"])
    ports = {"plain server": free_port(), "Ray Serve": free_port()}
    stack.enter_context(plain_server(bundle, folder, ports["plain server"]))
    cluster = Cluster("local", num_cpus=2, say=lambda line: print(f"  {line}", flush=True))
    plan = RayPlan.of(
        bundle,
        replicas=options.replicas,
        share=Share(num_cpus=0.5),
        host="0.0.0.0" if options.haproxy else "127.0.0.1",
        port=ports["Ray Serve"],
    )
    stack.callback(lambda: cluster.join().shutdown())
    cluster.deploy(plan, timeout_s=200)
    for way, port in ports.items():
        measure(way, port, 2 * IN_FLIGHT, key)
    rounds = []
    for _ in range(options.rounds):
        for way, port in ports.items():
            rounds.append(measure(way, port, options.requests, key))
            print(f"  {way}: {rounds[-1].rate:.1f}/s", flush=True)
    return rounds


if __name__ == "__main__":
    main()
