"""A server whose functions run on a stand-in for the desk."""

import pytest

from tests.server.technique_worlds import StubBackend, technique_server


@pytest.fixture
def backend():
    return StubBackend()


@pytest.fixture
def world(backend, tmp_path):
    with technique_server(backend, tmp_path) as made:
        yield made


@pytest.fixture
def client(world):
    made = world.client()
    yield made
    made.close()
