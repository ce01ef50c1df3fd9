"""Names of requests grow with time, and every name has one number in the index."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.audit import new_request_id
from glassbox.audit.request_ids import request_key
from glassbox.errors import InvalidValue


def test_a_new_name_is_a_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_request_id() for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == 2000
    for name in made:
        found = uuid.UUID(name)
        assert str(found) == name
        assert (found.version, found.variant) == (7, uuid.RFC_4122)
        assert before <= found.int >> 80 <= after


def test_numbers_of_new_names_grow_with_time() -> None:
    first = request_key(new_request_id())
    time.sleep(0.002)
    second = request_key(new_request_id())
    assert 2**40 < first < second < 2**60


@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_name_has_one_number_that_databases_can_hold(name: str) -> None:
    key = request_key(name)
    assert 0 <= key < 2**60
    assert request_key(name) == key


@pytest.mark.parametrize(
    "name", ["01a1fdf0-c06a-7+c1-b2d9-8523dea03062", "x" * 14 + "7" + "y" * 21, "é" * 14 + "7" * 22]
)
def test_what_only_looks_like_such_a_name_has_a_number_too(name: str) -> None:
    assert len(name) == 36
    assert 0 <= request_key(name) < 2**60


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "\ud800"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="request_id"):
        request_key(name)
