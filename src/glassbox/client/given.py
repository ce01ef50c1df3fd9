"""What a caller gives, made ready for the wire or refused before anything is sent.

Knows JSON and numpy's values; knows no route.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from glassbox.errors import InvalidValue, UnknownName, UsageError

Prompt = str | Sequence[int]
"""A text, or token ids."""

LONGEST_SHOWN = 60
"""Characters of a text that an error repeats."""


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return a request's body; numpy's numbers and arrays are written as Python's.

    Raises:
        InvalidValue: It holds a number that is not finite.
        UsageError: It holds something that JSON cannot.
    """
    try:
        written = orjson.dumps(body, default=_plain)
    except orjson.JSONEncodeError as error:
        raise UsageError(
            f"The request cannot be written as JSON: {error}. Give texts, whole numbers of at most "
            "64 bits, fractions, booleans, None, lists and mappings with texts as keys."
        ) from error
    if b"null" in written:
        _require_finite(body, "")
    return written


def many(what: str, given: object) -> list[Any]:
    """Return several values as a list; a single text is not taken for its characters.

    Raises:
        InvalidValue: It is one text, a mapping, or nothing that can be gone through.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidValue(
            what, _short(given), "a list", remedy="Put a single one into square brackets."
        )
    return list(given)


def prompts(what: str, given: object) -> list[Any]:
    """Return prompts as a list of texts and lists of token ids.

    Raises:
        InvalidValue: It is a single text, or one of it is neither a text nor token ids.
    """
    return [prompt(what, each) for each in many(what, given)]


def prompt(what: str, given: object) -> Any:
    """Return one prompt, as a text or a list of token ids.

    Raises:
        InvalidValue: It is neither.
    """
    if isinstance(given, str):
        return given
    ids = list(given) if isinstance(given, Iterable) else None
    if ids is None or any(isinstance(each, str | Mapping) for each in ids):
        raise InvalidValue(what, _short(given), "one text, or one list of token ids")
    return ids


def features(given: Any) -> dict[str, Any]:
    """Return the named values of one row; a pandas row will do.

    Raises:
        InvalidValue: They have no names.
    """
    try:
        return dict(given)
    except (TypeError, ValueError):
        raise InvalidValue(
            "features", _short(given), "a mapping of names to values",
            remedy="Of a table of pandas, rows are table.to_dict('records').",
        ) from None  # fmt: skip


def known_options(options: Mapping[str, Any], kind: type) -> None:
    """Do nothing if each option is one of those that a typed mapping names.

    Raises:
        UnknownName: One is not, and would be left out in silence.
    """
    known = sorted(kind.__annotations__)
    for name in options:
        if name not in known:
            raise UnknownName("option", name, known)


def _plain(value: object) -> object:
    """Return what orjson asks about as one of Python's own values."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError


def _require_finite(value: object, name: str) -> None:
    """Refuse what JSON has no word for: as null it would be the server's default, or missing.

    Raises:
        InvalidValue: NaN or an infinite number; says where.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValue(
            name, value, "a finite number", remedy="Give None where a value is missing."
        )
    if isinstance(value, Mapping):
        for key, each in value.items():
            _require_finite(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            _require_finite(each, f"{name}[{place}]")


def _short(given: object) -> object:
    if isinstance(given, str) and len(given) > LONGEST_SHOWN:
        return given[: LONGEST_SHOWN - 1] + "…"
    return given
