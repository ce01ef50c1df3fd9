"""Several servers of one process on one database, each with an app and a place in the fleet."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from glassbox.rollout.assembly.assembling import Watchers
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.runtime import Runtime
from glassbox.server.access.guards import Guards
from glassbox.server.app import begin_serving
from glassbox.server.fleet.facts import join_fleet
from glassbox.server.fleet.member import FleetMember
from glassbox.server.serving import Serving
from glassbox.server.start import whole_app
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.storage.replicas import ReplicaStore
from glassbox.testing import FakeEngine
from tests.rollout.side_world import open_side, settings_of

PREDICT = "/api/v2/models/predict"
ASKED = {"features": {"x": 0.5}}


@dataclass(frozen=True, eq=False)
class Server:
    """One of them."""

    app: FastAPI
    http: TestClient
    side: RolloutSide
    member: FleetMember
    guards: Guards

    def predict(self, key: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return self.http.post(PREDICT, json=ASKED, headers=headers)


@contextmanager
def one_server(folder: Path, url: str, *names: str, **settings: object) -> Iterator[Server]:
    """Yield a server over a database that others may share."""
    with ExitStack() as at_end:
        keys = KeyStore(open_database(url))
        at_end.callback(keys._database.close)
        app = whole_app(ServerSettings(), keys)
        guards: Guards = app.state.guards
        counters = guards.metrics.inference
        watchers = Watchers((counters.observe,), counters.show)
        given = {"storage__url": url, **settings}
        side = at_end.enter_context(open_side(folder, *names, watchers=watchers, **given))
        dotted = {key.replace("__", "."): value for key, value in given.items()}
        runtime = Runtime.load(settings_of(folder, **dotted))
        store = ReplicaStore(open_database(url))
        member, facts = join_fleet(store, guards, runtime.settings, "http://10.0.0.4:8787")
        at_end.callback(member.close)
        serving = Serving(Speaker(FakeEngine(), "fake"), rollout=side, fleet=member)
        facts.serve(serving)
        begin_serving(app, serving)
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        # Keeps one event loop for all requests, as a server does.
        at_end.enter_context(client)
        yield Server(app, client, side, member, guards)


@contextmanager
def several_servers(
    folder: Path, url: str, *names: str, n: int = 3, **settings: object
) -> Iterator[list[Server]]:
    """Yield servers that share a database and a folder of versions."""
    with ExitStack() as at_end:
        yield [at_end.enter_context(one_server(folder, url, *names, **settings)) for _ in range(n)]
