"""Arguments of a technique as a command line gives them: ``name=value`` texts into Python values.

The types come from the technique's own signature; ``json_arguments`` does the same with
a JSON object. Knows nothing of where techniques run.
"""

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.errors import InvalidData, InvalidValue, UnknownName

Function = Callable[..., Any]


def parse_arguments(technique: Function | Any, given: Sequence[str]) -> dict[str, Any]:
    """Return keyword arguments from ``name=value`` texts, in the types that the signature names.

    A list is given by repeating its name, as JSON (``[1, 2]``), or for numbers with commas; after
    ``@`` a file is read: JSON, for a text the file's text, and for a list of texts its lines. The
    result of another technique (such as a steering vector) is read from its JSON. What the
    signature leaves open is read as JSON where it is JSON, else as text.

    Args:
        technique: A ``Technique``, or any function of a model, a tokenizer and more.
        given: Such as ``["text=The cat", "top_k=3"]``.

    Raises:
        InvalidValue: No ``=``, a value of another type, the same name twice, or one absent.
        UnknownName: The technique takes nothing of that name.
        InvalidData: A file that cannot be read.
    """
    function = getattr(technique, "function", technique)
    parameters = dict(list(inspect.signature(function).parameters.items())[2:])
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    hints = hints_of(function)
    texts: dict[str, list[str]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise InvalidValue("argument", each, "name=value")
        if name not in parameters and not takes_any:
            raise UnknownName("argument", name, parameters)
        texts.setdefault(name, []).append(text)
    absent = [
        name
        for name, each in parameters.items()
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and name not in texts
    ]
    if absent:
        raise InvalidValue(
            "arguments",
            sorted(texts) or "none",
            f"{' and '.join(absent)} as well (--arg {absent[0]}=…)",
        )
    return {name: _value(name, each, hints.get(name, Any)) for name, each in texts.items()}


def hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return a function's annotations; none where they name what is known to type checkers only."""
    try:
        return inspect.get_annotations(function, eval_str=True)
    except NameError:
        return {}


def _value(name: str, texts: list[str], kind: Any) -> Any:
    """Return one argument's value; ``kind`` is its annotation."""
    choices = choices_of(kind)
    if allows_none(kind) and [each.lower() for each in texts] in (["none"], ["null"]):
        return None
    sequence = next((each for each in choices if is_sequence(each)), None)
    if sequence is not None and (str not in choices or len(texts) > 1):
        item = item_of(sequence)
        return [part for text in texts for part in _items(name, text, item)]
    if len(texts) > 1:
        raise InvalidValue(name, texts, "given once")
    return _one(name, texts[0], choices[0] if choices else Any)


def _members(kind: Any) -> tuple[Any, ...]:
    is_union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if is_union else (kind,)


def choices_of(kind: Any) -> list[Any]:
    """Return the types that an annotation allows, None left out."""
    return [each for each in _members(kind) if each is not type(None)]


def allows_none(kind: Any) -> bool:
    """Return whether an annotation names None among others."""
    return type(None) in _members(kind)


def is_sequence(kind: Any) -> bool:
    """Return whether a type is that of a list, and no text."""
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and origin is not str and issubclass(origin, Sequence)


def item_of(sequence: Any) -> Any:
    """Return the type of a list's items."""
    return (*typing.get_args(sequence), Any)[0]


def _items(name: str, text: str, kind: Any) -> list[Any]:
    """Return the items that one text of a list stands for."""
    if text.startswith("@"):
        text = _file(name, text[1:])
        if kind is str and not text.lstrip().startswith("["):
            return [line for line in text.split("\n") if line.strip()]
    if text.lstrip().startswith("["):
        value = _json(name, text)
        return [_item(name, each, kind) for each in value]
    if kind in (int, float):
        return [_one(name, each.strip(), kind) for each in text.split(",") if each.strip()]
    return [_one(name, text, kind)]


def _item(name: str, value: Any, kind: Any) -> Any:
    """Return an item of a JSON list."""
    if kind is int and isinstance(value, bool):
        return int(value)
    return _one(name, value if isinstance(value, str) else json.dumps(value), kind)


def _one(name: str, text: str, kind: Any) -> Any:
    if text.startswith("@") and kind not in (int, float, bool):
        text = _file(name, text[1:])
        return _read(name, text, kind)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise InvalidValue(name, text, "true or false")
        return words[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            allowed = "a whole number" if kind is int else "a number"
            raise InvalidValue(name, text, allowed) from None
    return _read(name, text, kind)


def _read(name: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return record_from(name, _json(name, text), kind)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def record_from(name: str, value: Any, kind: Any) -> Any:
    """Return a dataclass from its JSON; lists become arrays or tuples as its fields ask.

    Raises:
        InvalidValue: No JSON object, one without all fields, or no numbers where a field has them.
    """
    fields = {each.name: each for each in dataclasses.fields(kind)}
    value = value.get("result", value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or not set(fields) <= set(value):
        raise InvalidValue(name, type(value).__name__, f"JSON with {', '.join(fields)}")
    given = {each: _field(f"{name}.{each}", value[each], fields[each].type) for each in fields}
    return kind(**given)


def _field(name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        return value
    if hasattr(kind, "dim_str"):
        try:
            # Null stands for a number that does not exist.
            return np.array(value, dtype=np.float64).astype(np.float32)
        except (ValueError, TypeError):
            raise InvalidValue(name, "a list", "numbers, in rows of equal length") from None
    return tuple(_field(name, each, None) for each in value)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidValue(name, text[:80], f"JSON, or @ and a file ({error})") from error


def _file(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"{name} could not be read from a file ({error})", source=path) from error
