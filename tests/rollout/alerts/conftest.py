from collections.abc import Iterator

import pytest

from glassbox.storage.database import Database, open_database
from tests.rollout.alerts.worlds import Clock


@pytest.fixture
def memory() -> Iterator[Database]:
    opened = open_database("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
