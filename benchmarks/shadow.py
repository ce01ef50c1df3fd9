"""What a busy challenger costs those who ask: a 1 ms version with a 30 ms one in its shadow.

A real server (``glassbox serve``, audit on disk) answers one client; only the registry's aliases
change between the parts, which take turns in every round:

1. ``off``: no challenger.
2. ``process``: the challenger in a process of its own, as Glassbox runs it.
3. ``thread``: the baseline, the same work in a bounded thread pool of the server's process.

Both are pure Python, so that threads fight for one lock. What is timed is the whole request, as
the client sees it. Beside it: what offering a copy takes on the request's path.

Run: ``python -m benchmarks.shadow [--rounds 6] [--json FILE]``; alone on the machine.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from benchmarks.apparatus.shadow_models import OUTSTANDING, rounds_of
from benchmarks.apparatus.starting import wait_for
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.routing import Routing
from glassbox.rollout.shadow.process import Origin
from glassbox.rollout.shadow.shadows import Shadows
from glassbox.rollout.version import CHALLENGER, CHAMPION, DEFAULT_MODEL, Version
from glassbox.rollout.versions.kinds.callable_kind import import_function
from glassbox.rollout.versions.registry import Registry
from glassbox.settings.sections import RolloutSettings
from glassbox.storage.database import open_database

PRIMARY_S = 0.001
ARMS = ("off", "process", "thread")
SETTLE_S = 1.5
"""Seconds after a change of aliases: the server looks every half second."""
PREDICT = "/api/v2/models/predict"
N_OFFERS = 4000


@dataclass(frozen=True)
class Times:
    """What a client saw."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p50_ratio: float
    """Median over rounds of this part's median to that of the same round without challenger."""
    p99_ratio: float
    """The 99th percentile of all requests, to that without challenger."""


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=250, help="of each part in each round")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report: dict[str, object] = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    for pause_s, name in ((0.0, "back to back"), (0.003, "3 ms between requests")):
        times, counts = measure(given.rounds, given.requests, pause_s)
        report[name] = {"times": {k: asdict(v) for k, v in times.items()}, "copies": counts}
        print(f"\n{name}; copies of the last 1,000 requests: {counts}")
        print(
            "| part | requests | p50 | p95 | p99 | p50 ratio | p99 ratio |\n"
            "|---|---|---|---|---|---|---|"
        )
        for arm, each in times.items():
            print(
                f"| {arm} | {each.n} | {each.p50_ms:.2f} ms | {each.p95_ms:.2f} ms | "
                f"{each.p99_ms:.2f} ms | {each.p50_ratio:.2f} | {each.p99_ratio:.2f} |"
            )
    offers = offer_times()
    report["offer_us"] = offers
    print(
        "\noffering a copy of 20 features:", ", ".join(f"{k} {v:.1f} us" for k, v in offers.items())
    )
    if given.json:
        given.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def measure(
    n_rounds: int, n_requests: int, pause_s: float
) -> tuple[dict[str, Times], dict[str, int]]:
    """Return what a client saw in each part, and how copies ended."""
    seen: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    body = json.dumps(
        {"features": {"rounds": rounds_of(PRIMARY_S)} | {f"x{i}": i * 0.37 for i in range(20)}}
    )
    answers = set()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), register, {"rounds": 1}, {}) as (port, registry),
    ):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for place in range(n_rounds):
            # Each round begins with another part, so that none always has the cooler machine.
            for arm in ARMS[place % 3 :] + ARMS[: place % 3]:
                point(registry, arm)
                time.sleep(SETTLE_S)
                for _ in range(20):
                    ask(client, body)
                # The baseline is so slow that fewer requests tell the same.
                n = n_requests if arm != "thread" else n_requests // 4
                spent = []
                for _ in range(n):
                    seconds, answer = ask(client, body)
                    spent.append(seconds)
                    answers.add(answer)
                    time.sleep(pause_s)
                seen[arm].append(spent)
        client.request("GET", "/api/v2/models/audit/summary")
        told = json.loads(client.getresponse().read())
    assert len(answers) == 1, f"answers differ between parts: {answers}"
    counts = {k: v for k, v in told["shadow"]["counts"].items() if v}
    return {arm: times(seen[arm], seen["off"]) for arm in ARMS}, counts


def ask(client: http.client.HTTPConnection, body: str) -> tuple[float, float]:
    """Return the seconds of one request and its answer."""
    began = time.perf_counter()
    client.request("POST", PREDICT, body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    raw = answer.read()
    spent = time.perf_counter() - began
    assert answer.status == 200, raw
    return spent, json.loads(raw)["prediction"]


def times(rounds: list[list[float]], off: list[list[float]]) -> Times:
    """Return the percentiles of one part and their ratios to those without challenger."""
    flat, base = sorted(chain(*rounds)), sorted(chain(*off))
    ratios = [
        statistics.median(one) / statistics.median(two)
        for one, two in zip(rounds, off, strict=True)
    ]
    return Times(
        n=len(flat),
        p50_ms=1e3 * at(flat, 0.5),
        p95_ms=1e3 * at(flat, 0.95),
        p99_ms=1e3 * at(flat, 0.99),
        p50_ratio=statistics.median(ratios),
        p99_ratio=at(flat, 0.99) / at(base, 0.99),
    )


def at(ordered: list[float], share: float) -> float:
    """Return a percentile of ordered numbers."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def register(registry: Registry) -> None:
    """Register the functions; one of them answers."""
    for name in ("primary", "challenger", "primary_with_thread"):
        source = f"benchmarks.apparatus.shadow_models:{name}"
        digest = import_function(source)[1]
        registry.register(DEFAULT_MODEL, "callable", source, digest, name=name, actor="benchmark")
    point(registry, "off")


@contextmanager
def serving(
    folder: Path,
    prepare: Callable[[Registry], None],
    features: Mapping[str, object],
    further: Mapping[str, str],
) -> Iterator[tuple[int, Registry]]:
    """Run a server on a fresh database; yields its port and its registry.

    Args:
        folder: Where it keeps everything.
        prepare: Registers versions and makes one of them champion.
        features: Of a request that it answers once it is ready.
        further: Variables of its environment.
    """
    url = f"sqlite:///{folder}/glassbox.db"
    registry = Registry(open_database(url))
    prepare(registry)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "GLASSBOX_STORAGE__URL": url,
        "GLASSBOX_PATHS__VERSIONS": str(folder / "versions"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        # As many as the baseline's pool keeps waiting.
        "GLASSBOX_ROLLOUT__SHADOW_QUEUE": str(OUTSTANDING),
        **further,
    }
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "glassbox", "serve", "--port", str(port)],
        env={**os.environ, **variables},
        stdout=log,
        stderr=log,
    )
    try:
        body = json.dumps({"features": features})
        wait_for(server, port, folder / "log", path=PREDICT, body=body)
        yield port, registry
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def point(registry: Registry, arm: str) -> None:
    """Move the aliases to where a part needs them."""
    names = {each.name: each.number for each in registry.snapshot(is_fresh=True).versions}
    champion = "primary_with_thread" if arm == "thread" else "primary"
    move(registry, CHALLENGER, None)
    move(registry, CHAMPION, names[champion])
    move(registry, CHALLENGER, names["challenger"] if arm == "process" else None)


def move(registry: Registry, alias: str, to: int | None) -> None:
    """Move one alias, if it is not there already."""
    now = registry.snapshot(is_fresh=True).aliases.get(DEFAULT_MODEL, {}).get(alias)
    if now != to:
        registry.move_alias(
            DEFAULT_MODEL, alias, to, expected=now, actor="benchmark", reason="next part"
        )


def offer_times() -> dict[str, float]:
    """Return the median microseconds that offering a copy takes on the request's path."""
    features = {f"x{i}": i * 0.37 for i in range(20)}
    told: Counter[str] = Counter()
    champion, other = (
        Version(DEFAULT_MODEL, n, f"v{n}", "callable", f"{n:064x}", "", 0.0) for n in (1, 2)
    )
    routing = Routing(DEFAULT_MODEL, champion, (other,), revision=1)
    found = {}
    for name, queue in (("queued", 2 * N_OFFERS), ("shed (queue full)", 1)):
        settings = RolloutSettings(shadow_queue=queue, noise_floor=0.01)
        shadows = Shadows(
            Origin("benchmarks.shadow:sleeping"), settings, lambda e: told.update([e.status])
        )
        shadows.reconfigure(routing)
        until = time.monotonic() + 30
        while shadows.status()[0].state != "ready" and time.monotonic() < until:
            time.sleep(0.05)
        spent = []
        for place in range(N_OFFERS):
            began = time.perf_counter()
            shadows.offer(routing, f"req-{place}", features, Prediction(0.5, 0.5))
            spent.append(time.perf_counter() - began)
        found[name] = 1e6 * statistics.median(spent)
        shadows.close()
    return found


class Sleeper:
    """Never answers in time for this benchmark."""

    def predict(self, rows: list[dict[str, float]]) -> list[Prediction]:
        """Return nothing for a minute."""
        threading.Event().wait(60)
        return [Prediction(0.5) for _ in rows]

    def close(self) -> None:
        """Nothing is held."""


def sleeping(_version: object, _overrides: object) -> Sleeper:
    """Return a version that is busy."""
    return Sleeper()


if __name__ == "__main__":
    main()
