"""A client of a backend in this process."""

import pytest

from glassbox.techniques.client.blocking import InterpClient
from tests.techniques.small_backend import SmallBackend


@pytest.fixture
def backend():
    return SmallBackend()


@pytest.fixture
def client(backend):
    with InterpClient(backend=backend, quiet=True) as made:
        yield made
    assert backend.is_closed
