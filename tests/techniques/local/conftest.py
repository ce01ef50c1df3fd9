"""A worker for each module, and a client for each test."""

import sys

import pytest

from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.local.backend import LocalBackend
from tests.techniques.local.worker_world import SPEC

PYTHON = sys.executable


@pytest.fixture(scope="module", autouse=True)
def _warm_workers(warm):
    """Workers that start at once; how a whole one starts, the contract of backends tries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(warm / "python"))
        yield


@pytest.fixture
def _cold_workers(monkeypatch):
    """Workers with a command line of their own, as everywhere but in tests."""
    monkeypatch.setattr(sys, "executable", PYTHON)


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
