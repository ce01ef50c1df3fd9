"""The hash of features: one for equal features, none for what cannot be said, no way back."""

import hashlib
import json
import math
import threading
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from glassbox.audit import FeatureHasher, open_hasher
from glassbox.audit.feature_hash import MOST_BYTES, canonical_features
from glassbox.errors import InvalidValue
from glassbox.storage.database import open_database

KEY = bytes(range(32))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FEATURES = st.dictionaries(TEXTS, VALUES, max_size=5)


@pytest.fixture
def hasher() -> FeatureHasher:
    return FeatureHasher("hmac", key=KEY, key_id="k1")


def test_a_keyed_hash_says_scheme_and_key_and_has_128_bits(hasher: FeatureHasher) -> None:
    version, key_id, digits = hasher.hash({"age": 41}).split(":")
    assert (version, key_id, len(digits)) == ("v1", "k1", 32)
    assert int(digits, 16)
    other = FeatureHasher("hmac", key=KEY[::-1], key_id="k2")
    assert other.hash({"age": 41}) != hasher.hash({"age": 41})


def test_a_plain_hash_is_the_first_digits_of_sha256_over_the_canonical_text() -> None:
    wanted = hashlib.sha256(b'{"a":true,"b":"x","c":1.5}').hexdigest()
    for length in (8, 12, 64):
        found = FeatureHasher("sha256", length=length).hash({"c": 1.5, "b": "x", "a": True})
        assert found == wanted[:length]


@given(features=FEATURES)
def test_the_order_of_names_and_the_way_of_saying_a_number_do_not_matter(
    features: dict[str, Any],
) -> None:
    text = canonical_features(features)
    assert canonical_features(dict(reversed(features.items()))) == text
    # Through JSON once more, with integers as another language would say them.
    assert canonical_features(json.loads(text)) == text
    again = json.loads(json.dumps(features), parse_int=float)
    assert canonical_features(again) == text


def _is_alike(value: object) -> bool:
    """Whether both forms write a value alike: they differ for very large and very small numbers."""
    if isinstance(value, float):
        return value == 0 or 1e-5 <= abs(value) < 2**53
    if isinstance(value, str):
        return all(ord(each) < 0xD800 for each in value)
    if isinstance(value, dict):
        return all(_is_alike(each) for pair in value.items() for each in pair)
    return all(map(_is_alike, value)) if isinstance(value, list) else True


@given(
    features=FEATURES.filter(_is_alike),
    name=TEXTS.filter(_is_alike),
    value=VALUES.filter(_is_alike),
)
def test_other_features_have_another_text(
    features: dict[str, Any], name: str, value: object
) -> None:
    changed = {**features, name: value}
    same = rfc8785.dumps(changed) == rfc8785.dumps(features)
    assert (canonical_features(changed) == canonical_features(features)) == same


@given(features=FEATURES.filter(_is_alike))
def test_it_is_the_text_of_rfc_8785_where_the_two_agree(features: dict[str, Any]) -> None:
    assert canonical_features(features) == rfc8785.dumps(features)


def test_numbers_of_one_value_are_one_number_and_truth_is_none() -> None:
    texts = [canonical_features({"x": each}) for each in (1, 1.0, True, "1", 1.5)]
    assert texts == [b'{"x":1}', b'{"x":1}', b'{"x":true}', b'{"x":"1"}', b'{"x":1.5}']
    assert canonical_features({"x": -0.0}) == canonical_features({"x": 0}) == b'{"x":0}'
    assert canonical_features({"x": 2.0**53 - 1}) == b'{"x":9007199254740991}'
    assert canonical_features({"x": 2.0**53}) == b'{"x":9007199254740992.0}'
    assert canonical_features({"x": 1e-7, "y": 1e300}) == b'{"x":1e-7,"y":1e+300}'
    mixed = {"b": 0.5, "a": "null .0, .0}", "c": 2.0}
    assert canonical_features(mixed) == b'{"a":"null .0, .0}","b":0.5,"c":2}'


@pytest.mark.parametrize(
    ("features", "place"),
    [
        ({"a": math.nan}, r"features\.a"),
        ({"a": 0.5, "b": math.inf}, r"features\.b"),
        ({"a": {"b": [1, {"c": -math.inf}]}}, r"features\.a\.b\[1\]\.c"),
        ({"a": 2**53}, r"features\.a is 9007199254740992.*send larger ones as texts"),
        ({"a": [2**60]}, r"features\.a\[0\]"),
        ({"a": object()}, r"features\.a is 'object'"),
        ({"a": {1: 2}}, r"features\.a is 1; allowed: names that are texts"),
        ({"a": b"x"}, r"features\.a is 'bytes'"),
        ({"a": "\ud800"}, "valid Unicode"),
    ],
)
def test_what_json_cannot_say_is_refused_and_the_place_is_named(
    hasher: FeatureHasher, features: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidValue, match=place):
        hasher.hash(features)


def test_bombs_are_refused_before_they_go_off(hasher: FeatureHasher) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidValue, match="at most 32 levels"):
        hasher.hash({"a": deep})
    while isinstance(deep, list):
        # Taken apart by hand: the interpreter would do it one call within another.
        deep = deep.pop()
    with pytest.raises(InvalidValue, match="at most 10000 values"):
        hasher.hash({"a": [0] * 10_001})
    with pytest.raises(InvalidValue, match="at most 10000 values"):
        hasher.hash({f"f{number}": 0.5 for number in range(10_001)})
    shared: Any = [0]
    for _ in range(25):
        shared = [shared, shared]
    with pytest.raises(InvalidValue, match="at most 10000 values"):
        hasher.hash({"a": shared})
    with pytest.raises(InvalidValue, match=f"at most {MOST_BYTES} bytes"):
        hasher.hash({"a": "x" * MOST_BYTES})
    assert hasher.hash({"text": "x" * 1_000_000})


@pytest.mark.parametrize("options", [{"key": b"short", "key_id": "k"}, {"key": KEY, "key_id": ""}])
def test_a_key_must_be_long_and_have_a_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="at least 16 bytes and a name"):
        FeatureHasher("hmac", **options)


def test_the_length_has_bounds() -> None:
    with pytest.raises(InvalidValue, match="8 to 64 hexadecimal digits"):
        FeatureHasher("sha256", length=7)


def test_all_processes_of_a_database_share_one_key(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(4)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda each=each: found.append(open_hasher(each).hash({"a": 1})))
        for each in databases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    for each in databases:
        each.close()
    assert len(open_hasher(None, "sha256", length=16).hash({"a": 1})) == 16
    with pytest.raises(InvalidValue, match="one that keeps the key"):
        open_hasher(None)
