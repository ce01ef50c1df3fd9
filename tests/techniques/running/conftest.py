"""A resident engine for each module, and a desk for each test."""

import pytest

from glassbox.techniques.running.desk import Desk
from glassbox.testing import tiny_engine
from tests.techniques.running.desk_world import GATE


@pytest.fixture(scope="module")
def engine():
    made = tiny_engine()
    yield made
    made.close()


@pytest.fixture
def desk(engine):
    GATE.clear()
    made = Desk(engine)
    yield made
    GATE.set()
    made.close()
