"""Arguments of a technique as a JSON object gives them, in the types of its own signature.

What is of another type only by the way it was written is turned into it; what cannot be is refused
before anything runs. Reads no file, whatever a text says.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from glassbox.errors import InvalidValue
from glassbox.techniques.catalogue.arguments import (
    Function,
    allows_none,
    choices_of,
    hints_of,
    is_sequence,
    item_of,
    record_from,
)

SHOWN: Final = 80
"""Characters of a value that a refusal repeats."""

_WORDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "one text",
}

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def json_arguments(technique: Function, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments from JSON values, in the types that a signature names.

    A number may be written as a text, a list or the result of another technique as the text of
    its JSON, and one item stands for a list of one. What the signature leaves open, and results
    whose class is not known here, stay as they are.

    Args:
        technique: A function of a model, a tokenizer and more.
        given: Its arguments by name; tensors may stand among them.

    Raises:
        InvalidValue: A value of another type.
    """
    hints = hints_of(technique)
    return {name: _typed(name, each, hints.get(name, Any)) for name, each in given.items()}


def _typed(name: str, value: Any, kind: Any) -> Any:
    choices = choices_of(kind)
    sequence = next((each for each in choices if is_sequence(each)), None)
    others = [each for each in choices if each is not sequence]
    if value is None and not allows_none(kind) and (sequence is not None or kind in _WORDS):
        allowed = _WORDS.get(kind, "a list")
        raise InvalidValue(name, None, allowed, remedy="Leave it out where it has a default.")
    if value is None or (isinstance(value, str) and str in others):
        return value
    if sequence is not None and (not others or isinstance(value, list | tuple)):
        return [_typed(name, each, item_of(sequence)) for each in _items(value, sequence)]
    if len(others) != 1:
        return value
    (only,) = others
    if only in _WORDS:
        return _scalar(name, _plain(value), only)
    if isinstance(only, type) and dataclasses.is_dataclass(only):
        return _result(name, value, only)
    return value


def _items(value: Any, sequence: Any) -> list[Any]:
    """Return the items of a list, which may be written as text, or be a single item."""
    item = item_of(sequence)
    if hasattr(value, "dtype"):
        # The rows of a tensor stay tensors where neither numbers nor lists are wanted.
        is_plain = item in _WORDS or is_sequence(item) or not value.shape
        value = _plain(value) if is_plain else list(value)
    elif isinstance(value, str) and value.lstrip().startswith("["):
        found = _read(value)
        value = found if isinstance(found, list) else value
    elif isinstance(value, str) and item in (int, float):
        value = [each.strip() for each in value.split(",") if each.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _scalar(name: str, value: Any, kind: Any) -> Any:
    if kind is bool and str(value).lower() in _BOOLEANS:
        return _BOOLEANS[str(value).lower()]
    if kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and isinstance(value, bool | int | float | str):
        # A whole number may come as 3.0.
        whole = kind is int and isinstance(value, float)
        try:
            found = kind(value)
        except (ValueError, OverflowError):
            found = None
        if found is not None and not (whole and found != value):
            return found
    raise InvalidValue(name, _shown(value), _WORDS[kind])


def _result(name: str, value: Any, kind: Any) -> Any:
    """Return the result of a technique, which may be given as its JSON."""
    value = _read(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return record_from(name, dict(value), kind)
    if isinstance(value, str | int | float | list | tuple) or hasattr(value, "dtype"):
        fields = ", ".join(each.name for each in dataclasses.fields(kind))
        allowed = f"the whole result of a run, or JSON with {fields}"
        raise InvalidValue(name, _shown(value), allowed)
    return value


def _plain(value: Any) -> Any:
    """Return a tensor or a number of an array as Python's own lists and numbers."""
    return value.tolist() if hasattr(value, "dtype") else value


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text


def _shown(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value[:SHOWN] if isinstance(value, str) else value
    return "a tensor" if hasattr(value, "dtype") else f"a {type(value).__name__}"
