"""A database and a store of predictions for each test."""

from collections.abc import Iterator

import pytest

from glassbox.audit import InferenceStore
from glassbox.storage.database import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Iterator[InferenceStore]:
    made = InferenceStore(database, group_ms=5.0)
    yield made
    made.close()
