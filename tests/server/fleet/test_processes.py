"""Three servers as processes on one database: moves, revocations and rollbacks, by the clock."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from glassbox.client import Client
from glassbox.rollout.versions.registering import Offer
from glassbox.rollout.versions.registry import Registry
from glassbox.runtime import Runtime
from glassbox.server.fleet.view import LOST_S, REACH_S
from glassbox.storage.keys import KeyStore
from tests.rollout.side_world import CODE, SCHEMA
from tests.server.process.test_running import Served
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow

N_SERVERS = 3
MOVES = 3
PREDICT = "/api/v2/models/predict"


@dataclass(frozen=True, eq=False)
class World:
    """Three servers, and the registry and keys of their database, from another process: this."""

    servers: list[Served]
    registry: Registry
    keys: KeyStore
    admin: str

    def client(self, at: int) -> Client:
        return Client(self.servers[at].url, key=self.admin)


@contextmanager
def three_servers(folder: Path, url: str) -> Iterator[World]:
    (folder / "models.py").write_text(CODE)
    settings = {"storage.url": url, "paths.versions": str(folder / "versions")}
    runtime = Runtime.load({**settings, "engine.model": "none"})
    registry = runtime.registry(is_strict=False)
    registrar = runtime.registrar(registry)
    for name in ("steady", "other"):
        offer = Offer(f"{folder}/models.py:{name}", name=name, input_schema=SCHEMA)
        registrar.register(offer, actor="test")
    registry.move_alias("default", "champion", 1, expected=None, actor="test", reason="first")
    keys = runtime.key_store()
    _, admin = keys.create("boss", ["admin"])
    environment = {
        "GLASSBOX_STORAGE__URL": url,
        "GLASSBOX_PATHS__VERSIONS": str(folder / "versions"),
        "GLASSBOX_ENGINE__THREADS": "1",
    }
    with ExitStack() as at_end:
        servers = []
        for _ in range(N_SERVERS):
            server = Served(folder, "--model", "tiny", **environment)
            at_end.callback(end, server)
            servers.append(server)
        for each in servers:
            each.until("Ready: ")
        yield World(servers, registry, keys, admin)
    for each in (registry, keys):
        each._database.close()


def report_figures(told: dict[str, str]) -> None:
    """Show the slowest of each kind to whoever runs this with ``-s``."""
    sys.stdout.write(f"\nslowest of {MOVES} on {N_SERVERS} servers: {told}\n")


def end(server: Served) -> None:
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    assert server.process.stderr is not None
    server.process.stderr.close()


def reaches_s(
    world: World, key: str, act: Callable[[], object], is_new: Callable[[httpx.Response], bool]
) -> list[float]:
    """Return, for each server under load, the seconds from an act to the first new answer."""
    acted_s, found = [0.0], [float("inf")] * N_SERVERS

    def watch(at: int) -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=world.servers[at].url, headers=headers, timeout=30) as http:
            until_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < until_s:
                answer = http.post(PREDICT, json={"features": {"x": 0.5}})
                assert answer.status_code in (200, 401), answer.text
                if acted_s[0] and is_new(answer):
                    found[at] = time.monotonic() - acted_s[0]
                    return
                time.sleep(0.02)

    threads = [threading.Thread(target=watch, args=(at,)) for at in range(N_SERVERS)]
    for each in threads:
        each.start()
    # At any point of the seconds for which things are remembered.
    time.sleep(1.0 + random.random() * 2.0)
    started = time.monotonic()
    act()
    acted_s[0] = started
    for each in threads:
        each.join()
    return found


def test_moves_and_revocations_reach_three_processes_within_five_seconds(
    tmp_path: Path, database_url: str
) -> None:
    measured: dict[str, list[float]] = {"promotion": [], "rollback": [], "revocation": []}
    with three_servers(tmp_path, database_url) as world:
        registry, keys = world.registry, world.keys
        for turn in range(MOVES):
            with world.client(turn % N_SERVERS) as boss:
                measured["promotion"] += reaches_s(
                    world,
                    world.admin,
                    lambda boss=boss: boss.move_alias("champion", 2, expected=1),
                    lambda answer: answer.json()["model_version"] == "other",
                )
            measured["rollback"] += reaches_s(
                world,
                world.admin,
                lambda: registry.rollback(
                    "default", expected_champion=2, actor="test", reason="worse"
                ),
                lambda answer: answer.json()["model_version"] == "steady",
            )
            guest, secret = keys.create("guest", ["predict"])
            measured["revocation"] += reaches_s(
                world,
                secret,
                lambda guest=guest: keys.revoke(guest.id),
                lambda answer: answer.status_code == 401,
            )
        told = {name: f"{max(values):.2f} s" for name, values in measured.items()}
        assert all(value < REACH_S for some in measured.values() for value in some), told
        report_figures(told)

        with world.client(0) as boss:
            fleet = boss.fleet()
            assert fleet.agreement.n_ready == N_SERVERS
            assert fleet.agreement.n_behind == 0
            assert fleet.warnings == []
            n_before = sum(fleet.totals.requests.values())
            # One is killed, one ends in good order: the rest says so and forgets no request.
            os.kill(world.servers[1].process.pid, signal.SIGKILL)
            assert world.servers[2].stop() == 0
            time.sleep(LOST_S + 1.0)
            fleet = boss.fleet()
            assert sorted(each.status for each in fleet.replicas) == ["left", "lost", "ready"]
            assert [each.kind for each in fleet.warnings] == ["lost"]
            assert sum(fleet.totals.requests.values()) >= n_before
