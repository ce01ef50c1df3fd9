"""A worker for each module, and a client for each test."""

import pytest

from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.local.backend import LocalBackend
from tests.techniques.local.worker_world import SPEC


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def backend(folder):
    made = LocalBackend(SPEC, folder=folder)
    made.start(lambda _doing, _share: None)
    yield made
    made.stop()


@pytest.fixture
def client(backend):
    return InterpClient(backend=backend, quiet=True)
