"""What a challenger on the same base model costs: in its own process, or in the same engine.

The embedded model's classifier answers one client; the challenger is the same classifier with
no threshold. Two servers differ in ``rollout.shadow_in_engine`` alone; on each the challenger
comes and goes, in turns. What is timed is the whole request, as the client sees it.

Run: ``python -m benchmarks.shadow_in_engine [--rounds 4]``; alone on the machine.
"""

import argparse
import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.shadow import Times, ask, move, serving, times
from glassbox.artifacts import Classifier
from glassbox.rollout.version import CHALLENGER, CHAMPION
from glassbox.rollout.versions.registering import Offer, Registrar
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.runtime import SHIPPED_RUN

TEXTS = ("what a splendid evening", "the match was lost in the last minute", "i never want it back")
SETTLE_S = 3.0
LOADS_S = 60.0
PLACES = ("own process", "same engine")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--requests", type=int, default=60, help="of each part in each round")
    parser.add_argument("--pause-ms", type=float, default=20.0)
    given = parser.parse_args()
    print("| place | part | requests | p50 | p95 | p99 | p50 ratio | p99 ratio | copies |")
    print("|---|---|---|---|---|---|---|---|---|")
    for place, (found, counts) in measure(given.rounds, given.requests, given.pause_ms).items():
        for part, each in found.items():
            print(
                f"| {place} | {part} | {each.n} | {each.p50_ms:.1f} ms | {each.p95_ms:.1f} ms | "
                f"{each.p99_ms:.1f} ms | {each.p50_ratio:.2f} | {each.p99_ratio:.2f} | {counts} |"
            )


def measure(
    n_rounds: int, n_requests: int, pause_ms: float
) -> dict[str, tuple[dict[str, Times], dict[str, int]]]:
    """Return what a client saw of each place, and how the copies ended."""
    seen: dict[tuple[str, str], list[list[float]]] = {}
    counts: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        sides = {}
        for place in PLACES:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            variables = {"GLASSBOX_ROLLOUT__SHADOW_IN_ENGINE": str(place == PLACES[1]).lower()}
            port, registry = stack.enter_context(
                serving(folder, prepared_in(folder), {"text": TEXTS[0]}, variables)
            )
            sides[place] = (port, registry)
        for _ in range(n_rounds):
            for place, (port, registry) in sides.items():
                for part in ("off", "on"):
                    shadow(port, registry, is_on=part == "on")
                    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    spent = [one(client, n, pause_ms) for n in range(n_requests)]
                    seen.setdefault((place, part), []).append(spent)
                    counts[place] = read(port, "audit/summary")["shadow"]["counts"]
                shadow(port, registry, is_on=False)
    return {
        place: (
            {part: times(seen[place, part], seen[place, "off"]) for part in ("off", "on")},
            {key: n for key, n in counts[place].items() if n},
        )
        for place in PLACES
    }


def one(client: http.client.HTTPConnection, n: int, pause_ms: float) -> float:
    """Return the seconds of one request, after a pause."""
    time.sleep(pause_ms / 1e3)
    return ask(client, json.dumps({"features": {"text": f"{TEXTS[n % len(TEXTS)]} {n}"}}))[0]


def prepared_in(folder: Path) -> Callable[[Registry], None]:
    """Return what registers the shipped run and a copy of it with no threshold."""

    def prepare(registry: Registry) -> None:
        store = VersionStore(folder / "versions")
        registrar = Registrar(registry, store)
        registrar.register(Offer(str(SHIPPED_RUN)), actor="benchmark")
        other = folder / "other"
        shutil.copytree(SHIPPED_RUN, other)
        replace(Classifier.load(other), threshold=None).save(other)
        registrar.register(Offer(str(other)), actor="benchmark")
        move(registry, CHAMPION, 1)

    return prepare


def read(port: int, path: str) -> dict[str, Any]:
    """Return what the server says of itself."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", f"/api/v2/models/{path}")
    told: dict[str, Any] = json.loads(client.getresponse().read())
    client.close()
    return told


def shadow(port: int, registry: Registry, *, is_on: bool) -> None:
    """Bring the challenger or take it away, and wait until that is so."""
    move(registry, CHALLENGER, 2 if is_on else None)
    time.sleep(SETTLE_S)
    until = time.monotonic() + LOADS_S
    while time.monotonic() < until:
        told = read(port, "health")["components"]["shadow"]["details"]
        states = [each["state"] for each in told.get("challengers", {}).values()]
        if not is_on or "loading" not in states:
            return
        time.sleep(0.2)
    raise SystemExit("The challenger is not loaded.")


if __name__ == "__main__":
    main()
