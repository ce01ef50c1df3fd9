"""A short name for the features of a request, so that equal ones are seen without keeping them.

The features are written as canonical JSON and hashed. Under ``hmac`` the hash is keyed: whoever
reads it cannot try out the few values that a feature may have. Under ``sha256`` it is not, and
says nothing more than that two requests had the same features. Knows no database but for the key.
"""

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson
import sqlalchemy as sa

from glassbox.errors import InvalidValue
from glassbox.storage.database import Database

HashScheme = Literal["hmac", "sha256"]
"""``hmac`` is keyed with a secret of the database; ``sha256`` is not."""

KEYED_DIGITS: Final = 32
"""Hexadecimal digits of a keyed hash: 128 bits."""

MOST_DEPTH: Final = 32
"""Objects and lists within one another."""

MOST_VALUES: Final = 10_000
"""Values of one request, those within lists and objects among them."""

MOST_BYTES: Final = 2**20
"""Length of the canonical text."""

LARGEST_INTEGER: Final = 2**53 - 1
"""Beyond it numbers are no longer the same in every program that reads JSON.

Source: RFC 8785, section 3.2.2.3; RFC 8259, section 6.
"""

_PREFIX: Final = b"glassbox features, version 1\n"

_SCALARS: Final = frozenset({float, int, str, bool})

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


class FeatureHasher:
    """Hashes features under one scheme.

    Args:
        scheme: Keyed or not.
        key: At least 16 secret bytes, for ``hmac``.
        key_id: Names the key within each hash, for ``hmac``.
        length: Hexadecimal digits that ``sha256`` keeps, 8 to 64.

    Raises:
        InvalidValue: A key that is too short, or a length out of range.
    """

    def __init__(
        self,
        scheme: HashScheme = "hmac",
        *,
        key: bytes | None = None,
        key_id: str = "",
        length: int = 12,
    ) -> None:
        if scheme == "hmac" and (key is None or len(key) < 16 or not key_id.isalnum()):
            raise InvalidValue("key", "too short or unnamed", "at least 16 bytes and a name")
        if not 8 <= length <= 64:
            raise InvalidValue("length", length, "8 to 64 hexadecimal digits")
        self._keyed = (
            None if scheme == "sha256" or key is None else hmac.new(key, _PREFIX, "sha256")
        )
        self._length = length
        self.prefix = f"v1:{key_id}:" if scheme == "hmac" else ""
        """What every hash begins with: version of the canonical form, and the key's name."""

    def hash(self, features: Mapping[str, Any]) -> str:
        """Return the hash, ``v1:<key id>:<32 digits>`` or the first digits of a SHA-256.

        The order of keys does not matter, and numbers of one value are one number: 1 and 1.0 hash
        alike, as do 0.0 and -0.0. ``true`` is not 1, and texts are compared code point by code
        point.

        Raises:
            InvalidValue: A value that JSON cannot say (NaN, infinity, a date), an integer of 2**53
                or more, or more values, levels or bytes than are taken. Names the place.
        """
        text = canonical_features(features)
        if self._keyed is None:
            return hashlib.sha256(text).hexdigest()[: self._length]
        keyed = self._keyed.copy()
        keyed.update(text)
        return self.prefix + keyed.hexdigest()[:KEYED_DIGITS]


def canonical_features(features: Mapping[str, Any]) -> bytes:
    """Return the one JSON text of features.

    Keys are sorted by code point, there are no spaces, numbers without a fraction below 2**53 are
    written as integers and all others with the fewest digits that read back as the same number.

    Raises:
        InvalidValue: As for ``FeatureHasher.hash``.
    """
    if type(features) is dict and (text := _quick(features)) is not None:
        return _bounded(text)
    try:
        text = orjson.dumps(_walk(features), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        # What is left are halves of characters.
        raise InvalidValue("features", "a name or text", f"valid Unicode ({error})") from error
    return _bounded(text)


def open_hasher(
    database: Database | None, scheme: HashScheme = "hmac", *, length: int = 12
) -> FeatureHasher:
    """Return a hasher whose key all processes of a database share; the first one makes it.

    Args:
        database: Where the key is kept; ``sha256`` needs none.
        scheme: Keyed or not.
        length: Hexadecimal digits that ``sha256`` keeps.

    Raises:
        CapacityError: The database cannot be reached.
        InvalidValue: ``hmac`` without a database.
    """
    if scheme == "sha256":
        return FeatureHasher(scheme, length=length)
    if database is None:
        raise InvalidValue("database", None, "one that keeps the key")
    with database.transaction(flushed=True) as connection:
        newest = sa.text("SELECT id, secret FROM feature_keys ORDER BY created_s DESC, id LIMIT 1")
        row = connection.execute(newest).first()
        if row is None:
            secret = secrets.token_bytes(32)
            key_id = "k" + hashlib.sha256(b"name of " + secret).hexdigest()[:6]
            connection.execute(
                sa.text("INSERT INTO feature_keys VALUES (:id, :secret, :created_s)"),
                {"id": key_id, "secret": secret, "created_s": time.time()},
            )
            return FeatureHasher(scheme, key=secret, key_id=key_id)
    return FeatureHasher(scheme, key=bytes(row.secret), key_id=row.id)


def _quick(features: dict[str, Any]) -> bytes | None:
    """Return the canonical text of what most requests are, None where it takes a closer look."""
    values = features.values()
    try:
        # Refuses whatever is no float, so that it tells the kinds apart as well.
        is_odd = any(map(float.is_integer, values)) or not math.isfinite(sum(values))
        are_floats = True
    except TypeError:
        is_odd, are_floats = not _SCALARS.issuperset(map(type, values)), False
    if is_odd or len(features) > MOST_VALUES:
        return None
    try:
        text = orjson.dumps(features, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return None
    # Floats without a fraction, NaN as null, or a text that looks like one of these.
    if not are_floats and (b".0," in text or b".0}" in text or b"null" in text):
        return None
    return text


def _bounded(text: bytes) -> bytes:
    if len(text) > MOST_BYTES:
        raise InvalidValue("features", f"{len(text)} bytes", f"at most {MOST_BYTES} bytes of JSON")
    return text


def _walk(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values, checked one level after another: no input can use up the stack."""
    root: dict[str, Any] = {}
    level: list[tuple[Any, Any, str]] = [(features, root, "features")]
    n_values = 0
    for _ in range(MOST_DEPTH):
        below: list[tuple[Any, Any, str]] = []
        for source, target, path in level:
            is_object = isinstance(source, Mapping)
            n_values += len(source)
            if n_values > MOST_VALUES:
                raise InvalidValue(path, "too much", f"at most {MOST_VALUES} values in a request")
            for name, value in source.items() if is_object else enumerate(source):
                if is_object and not isinstance(name, str):
                    raise InvalidValue(path, name, "names that are texts")
                place = f"{path}.{name}" if is_object else f"{path}[{name}]"
                kept = _plain(value, place, below)
                if is_object:
                    target[name] = kept
                else:
                    target.append(kept)
        if not below:
            return root
        level = below
    raise InvalidValue(level[0][2][:200], "too deep", f"at most {MOST_DEPTH} levels")


def _plain(value: object, place: str, below: list[tuple[Any, Any, str]]) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping | list | tuple):
        inner: dict[str, Any] | list[Any] = {} if isinstance(value, Mapping) else []
        below.append((value, inner, place))
        return inner
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise InvalidValue(place, value, "integers below 2**53; send larger ones as texts")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(place, value, "finite numbers")
        number = float(value)
        return int(number) if number.is_integer() and abs(number) <= LARGEST_INTEGER else number
    raise InvalidValue(place, type(value).__name__, "JSON: numbers, texts, truth values, lists")
