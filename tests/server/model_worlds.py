"""An app with versions behind it and an engine without a model, reached without a socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from glassbox.rollout.assembly.assembling import Watchers
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine
from tests.rollout.side_world import open_side

BASE = "/api/v2/models"


@contextmanager
def model_server(
    folder: Path, *names: str, guards: Guards | None = None, **settings: object
) -> Iterator[tuple[TestClient, RolloutSide]]:
    """Yield a client of a server whose first version is champion, and its side."""
    guards = guards or Guards()
    counters = guards.metrics.inference
    watchers = Watchers((counters.observe,), counters.show)
    with open_side(folder, *names, watchers=watchers, **settings) as side:
        app = create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side), guards)
        yield client_of(app), side


def client_of(app: FastAPI, **options: object) -> TestClient:
    """Return a client of an app under the paths of models."""
    return TestClient(app, base_url=f"http://test{BASE}", raise_server_exceptions=False, **options)
