"""The engine that these tests ask."""

import pytest

from glassbox.testing import tiny_engine


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()
