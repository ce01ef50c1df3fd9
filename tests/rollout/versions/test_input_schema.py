"""What a version takes is checked by name, type and range before anything else happens."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import GlassboxError, InvalidValue, UnknownName
from glassbox.rollout.version import Version
from glassbox.rollout.versions.input_schema import (
    MOST_DEPTH,
    FeatureCheck,
    FeatureRule,
    InputSchema,
    check_features,
)

SCHEMA = InputSchema(
    (
        FeatureRule("age", "integer", low=0, high=130),
        FeatureRule("income", nullable=True),
        FeatureRule("job", "category", values=("cook", "clerk")),
        FeatureRule("note", "text", required=False, most_chars=10),
        FeatureRule("is_member", "boolean", required=False),
    )
)
GOOD = {"age": 40, "income": 1.5, "job": "cook"}


def test_good_features_pass() -> None:
    for more in ({}, {"note": "0123456789", "is_member": False}, {"income": None}, {"age": 40.0}):
        SCHEMA.check({**GOOD, **more})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agee": 1}, r"No feature 'agee'\. Known: age.* Did you mean 'age'"),
        ({"age": "40"}, "feature 'age' is '40'; allowed: a whole number, at least 0, at most 130"),
        ({"age": True}, "feature 'age' is True"),
        ({"age": 40.5}, "whole number"),
        ({"age": 131}, "at most 130"),
        ({"age": None}, "feature 'age' is None"),
        ({"income": math.nan}, "feature 'income' is nan; allowed: a finite number"),
        ({"income": -math.inf}, "finite"),
        ({"income": 10**400}, "finite"),
        ({"income": 2**53 + 1}, "finite"),
        ({"income": [1.0]}, r"is \[1.0\]"),
        ({"job": "pilot"}, "one of 'cook', 'clerk'"),
        ({"job": 3}, "one of 'cook'"),
        ({"note": "01234567890"}, "a text of up to 10 characters"),
        ({"note": "x" * 1_000_000}, "x…'; allowed: a text of up to 10"),
        ({"is_member": 1}, "true or false"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises((InvalidValue, UnknownName), match=message) as caught:
        SCHEMA.check({**GOOD, **change})
    assert len(str(caught.value)) < 300


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"feature 'job' is None.*it is missing"):
        SCHEMA.check({"age": 1, "income": 2})


def test_a_schema_survives_json() -> None:
    assert InputSchema.from_json(SCHEMA.to_json()) == SCHEMA


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "input schema"),
        ({}, "input schema"),
        ({"features": []}, "input schema"),
        ({"features": ["age"]}, "feature of the input schema"),
        ({"features": [{"name": "a", "typ": "text"}]}, "most_chars, name, nullable"),
        ({"features": [{"name": "a", "type": "float"}]}, "type of feature 'a' is 'float'"),
        ({"features": [{"name": "a"}, {"name": "a"}]}, "each feature once"),
        ({"features": [{"name": "a", "low": "0"}]}, "low of feature 'a' is '0'; allowed: a fin"),
        ({"features": [{"name": "a", "high": 10**400}]}, "high of feature 'a'"),
        ({"features": [{"name": "a", "values": 5}]}, "values of feature 'a' is 5"),
        ({"features": [{"name": "a", "values": None}]}, "a list of texts"),
        ({"features": [{"name": "a", "required": "no"}]}, "required of feature 'a' is 'no'"),
        ({"features": [{"name": "a", "nullable": 1}]}, "true or false"),
        ({"features": [{"name": "a", "most_chars": True}]}, "a whole number, at least 0"),
    ],
)
def test_what_is_no_schema_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        InputSchema.from_json(value)


def test_without_a_schema_json_within_bounds_passes() -> None:
    check_features(None, {"feature1": 1.5, "feature2": "x", "feature3": True, "n": None})
    check_features(None, {"nested": {"a": [1, {"b": [2.5, "x"]}]}})


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"a": {"b": [1, math.nan]}}, r"feature 'a\.b\[1\]' is nan"),
        ({"a": math.inf}, "feature 'a' is inf"),
        ({"a": "x" * 1_000_001}, "up to 1000000"),
        ({"a": object()}, "feature 'a'"),
        ({"a": [0] * 20_000}, "at most 10000"),
    ],
)
def test_without_a_schema_bounds_hold(features: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        check_features(None, features)


def test_a_nested_bomb_is_refused_without_recursion() -> None:
    bomb: object = 1
    for _ in range(100_000):
        bomb = [bomb]
    with pytest.raises(InvalidValue, match=f"at most {MOST_DEPTH} levels"):
        check_features(None, {"a": bomb})
    wide: object = [0] * 9
    for _ in range(5):
        wide = [wide] * 9
    with pytest.raises(InvalidValue, match="at most 10000"):
        check_features(None, {"a": wide})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_json_passes_or_is_refused_in_our_words(features: dict[str, object]) -> None:
    for schema in (None, SCHEMA):
        with contextlib.suppress(GlassboxError):
            check_features(schema, features)


def test_a_versions_schema_is_read_once() -> None:
    check = FeatureCheck()
    strict = Version("m", 1, "m1", "callable", "d", "s", 0.0, {"input_schema": SCHEMA.to_json()})
    loose = Version("m", 2, "m2", "callable", "e", "s", 0.0)
    for _ in range(2):
        check(strict, GOOD)
        check(loose, {"anything": [1, 2]})
        with pytest.raises(UnknownName, match="anything"):
            check(strict, {"anything": 1})
