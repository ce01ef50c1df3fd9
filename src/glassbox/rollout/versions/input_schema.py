"""Which features a version takes: names, types and ranges, checked before anything else happens."""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, cast, get_args

from glassbox.errors import InvalidValue, UnknownName
from glassbox.rollout.prediction import Features
from glassbox.rollout.version import Version
from glassbox.types import is_number

FeatureType = Literal["number", "integer", "boolean", "category", "text"]
"""``category`` is a text out of a list; ``boolean`` is no number, and a number is no boolean."""

MOST_DEPTH: Final = 8
"""Levels of nested JSON in features of a version without a schema."""

MOST_VALUES: Final = 10_000
"""Values in the features of such a version, all levels together."""

MOST_CHARS: Final = 1_000_000
"""Characters of one text where the schema sets no limit."""


LARGEST_INTEGER: Final = 2**53
"""Largest whole number that a float holds exactly, with all below it."""

MOST_SHOWN: Final = 80
"""Characters of a refused value that an error shows."""


@dataclass(frozen=True)
class FeatureRule:
    """What one feature may be."""

    name: str
    """As in requests."""
    type: FeatureType = "number"
    """Kind of value."""
    required: bool = True
    """Whether a request without it is refused."""
    nullable: bool = False
    """Whether null may stand for a missing value."""
    low: float | None = None
    """Least value of a number; None sets no limit."""
    high: float | None = None
    """Greatest value of a number; None sets no limit."""
    values: tuple[str, ...] = ()
    """What a category may be; empty allows any text."""
    most_chars: int = MOST_CHARS
    """Most characters of a text."""

    def check(self, value: object) -> None:
        """Let a value pass.

        Raises:
            InvalidValue: It is of another type, NaN, infinite, or out of range.
        """
        if value is None:
            if not self.nullable:
                raise InvalidValue(f"feature {self.name!r}", None, self.described)
            return
        if not _CHECKS[self.type](self, value):
            raise InvalidValue(f"feature {self.name!r}", _short(value), self.described)

    @property
    def described(self) -> str:
        """What is allowed, in words."""
        if self.type == "category" and self.values:
            return f"one of {', '.join(map(repr, self.values[:20]))}"
        if self.type in ("text", "category"):
            return f"a text of up to {self.most_chars} characters"
        if self.type == "boolean":
            return "true or false"
        words = "a finite number" if self.type == "number" else "a whole number"
        if self.low is not None:
            words += f", at least {self.low:g}"
        return words if self.high is None else f"{words}, at most {self.high:g}"


@dataclass(frozen=True)
class InputSchema:
    """What a version takes."""

    features: tuple[FeatureRule, ...]
    """In the order in which the version takes them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(each.name for each in self.features)

    def check(self, features: Features) -> None:
        """Let features pass.

        Raises:
            UnknownName: One that the version does not know.
            InvalidValue: One is missing, of another type, NaN, infinite, or out of range.
        """
        for name in features:
            if name not in self._rules:
                raise UnknownName("feature", str(name)[:200], self.names)
        for rule in self.features:
            if rule.name in features:
                rule.check(features[rule.name])
            elif rule.required:
                raise InvalidValue(
                    f"feature {rule.name!r}", None, f"{rule.described}; it is missing"
                )

    @functools.cached_property
    def _rules(self) -> frozenset[str]:
        return frozenset(self.names)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON."""
        return {"features": [_sparse(each) for each in self.features]}

    @classmethod
    def from_json(cls, value: object) -> "InputSchema":
        """Return the schema that JSON describes.

        Raises:
            InvalidValue: It describes none.
        """
        rows = value.get("features") if isinstance(value, Mapping) else None
        if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
            raise InvalidValue("input schema", _short(value), '{"features": [{"name": …, …}, …]}')
        rules = tuple(_rule(row) for row in rows)
        names = [each.name for each in rules]
        for name in names:
            if names.count(name) > 1:
                raise InvalidValue("input schema", name, "each feature once")
        return cls(rules)


def schema_of(version: Version) -> InputSchema | None:
    """Return what a version takes; None where it was registered without saying so."""
    value = version.metadata.get("input_schema")
    return None if value is None else InputSchema.from_json(value)


class FeatureCheck:
    """Lets features pass that a version takes; reads each version's schema once.

    Without a schema these are finite numbers, truth values, texts and JSON made of them, within
    ``MOST_DEPTH`` and ``MOST_VALUES``.
    """

    def __init__(self) -> None:
        self._schemas: dict[str, InputSchema | None] = {}

    def __call__(self, version: Version, features: Features) -> None:
        """Let features pass.

        Raises:
            UnknownName: A feature that the version does not know.
            InvalidValue: One is missing, of another type, NaN, infinite, or out of range.
        """
        if version.name not in self._schemas:
            self._schemas[version.name] = schema_of(version)
        check_features(self._schemas[version.name], features)


def check_features(schema: InputSchema | None, features: Features) -> None:
    """Let features pass that a schema, or no schema, allows; raises as ``FeatureCheck`` does."""
    if schema is not None:
        schema.check(features)
    else:
        _check_json(features)


def _check_json(features: Features) -> None:
    # Level by level and not by recursion: a request must not decide how deep our stack goes.
    level: list[tuple[str, object]] = [(str(name), value) for name, value in features.items()]
    n_values = len(level)
    for _ in range(MOST_DEPTH):
        below: list[tuple[str, object]] = []
        for name, value in level:
            if isinstance(value, Mapping):
                below += [(f"{name}.{key}", each) for key, each in value.items()]
            elif isinstance(value, list | tuple):
                below += [(f"{name}[{place}]", each) for place, each in enumerate(value)]
            elif not _is_plain(value):
                allowed = (
                    f"finite numbers, true, false, null, texts of up to {MOST_CHARS} characters"
                )
                raise InvalidValue(f"feature {name[:200]!r}", _short(value), allowed)
        n_values += len(below)
        if n_values > MOST_VALUES:
            raise InvalidValue("features", f"{n_values} values", f"at most {MOST_VALUES}")
        if not below:
            return
        level = below
    raise InvalidValue("features", "JSON", f"nested at most {MOST_DEPTH} levels deep")


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return len(value) <= MOST_CHARS
    return value is None or isinstance(value, int)


def _fits_number(rule: FeatureRule, value: object) -> bool:
    if not is_number(value):
        return False
    # Written so that NaN fails; a whole number beyond this is another one as a float.
    if not abs(value) <= (LARGEST_INTEGER if isinstance(value, int) else sys.float_info.max):
        return False
    if rule.type == "integer" and value != int(value):
        return False
    return (rule.low is None or value >= rule.low) and (rule.high is None or value <= rule.high)


def _is_text(rule: FeatureRule, value: object) -> bool:
    if not isinstance(value, str) or len(value) > rule.most_chars:
        return False
    return rule.type == "text" or not rule.values or value in rule.values


def _is_boolean(_rule: FeatureRule, value: object) -> bool:
    return isinstance(value, bool)


_CHECKS: Final[Mapping[str, Callable[[FeatureRule, object], bool]]] = {
    "number": _fits_number,
    "integer": _fits_number,
    "boolean": _is_boolean,
    "category": _is_text,
    "text": _is_text,
}


def _is_limit(value: object) -> bool:
    return value is None or _fits_number(FeatureRule(""), value)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list_of_texts(value: object) -> bool:
    # Other plain values are kept as the texts that they are written as.
    return isinstance(value, list | tuple) and all(isinstance(x, str | int | float) for x in value)


_KEYS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "required": (_is_truth, "true or false"),
    "nullable": (_is_truth, "true or false"),
    "low": (_is_limit, "a finite number, or null"),
    "high": (_is_limit, "a finite number, or null"),
    "values": (_is_list_of_texts, "a list of texts"),
    "most_chars": (_is_length, "a whole number, at least 0"),
}
"""What the keys of a feature may hold beside its name and type."""


def _rule(row: object) -> FeatureRule:
    known = {each.name for each in fields(FeatureRule)}
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str) or set(row) - known:
        raise InvalidValue("feature of the input schema", _short(row), ", ".join(sorted(known)))
    kind = row.get("type", "number")
    if kind not in get_args(FeatureType):
        raise InvalidValue(
            f"type of feature {row['name']!r}", kind, ", ".join(get_args(FeatureType))
        )
    for key, (is_allowed, allowed) in _KEYS.items():
        if key in row and not is_allowed(row[key]):
            raise InvalidValue(f"{key} of feature {row['name']!r}", _short(row[key]), allowed)
    values = {**row, "values": tuple(map(str, row.get("values", ())))}
    return FeatureRule(**cast("dict[str, Any]", values))


def _sparse(rule: FeatureRule) -> dict[str, Any]:
    values = {each.name: (getattr(rule, each.name), each.default) for each in fields(rule)}
    found = {name: value for name, (value, default) in values.items() if value != default}
    return {**found, "type": rule.type}


def _short(value: object) -> object:
    """Return what an error shows of a value: all of it, or its beginning."""
    words = value if isinstance(value, str) else repr(value)
    return value if len(words) <= MOST_SHOWN else f"{words[:MOST_SHOWN]}…"
