r"""Label sets: which classes there are, how the model may say them, and what it is asked.

A label set comes from the class names alone (``default_labels``) or from a ``labels.toml``
(``load_labels``)::

    instruction = "Is this about sport or work?"     # default: "Label the text as A or B."
    template = "{instruction}\nText: {text}\nLabel:"  # prompt of a base model
    chat_message = "{instruction}\nText: {text}"      # user message of a chat model
    chat = false                                     # default: where the tokenizer has a template
    chat_prefill = "\n</think>\n\n"                  # begins a chat model's answer; default: ""
    order = ["work", "sport"]                        # default: sorted names

    [classes.sport]
    values = [1, "sports"]                           # what the data say; the name always counts
    verbalisers = [" sport", " Sport", " football"]  # default: the name with and without a
                                                     # leading space and a capital

Knows nothing of tokens: ``verbalisers`` turns the strings into token sequences.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from glassbox.artifacts import digest_json
from glassbox.errors import CorruptArtifact, InvalidLabels, InvalidSetting, UnknownName

DEFAULT_TEMPLATE = "{instruction}\nText: {text}\nLabel:"
"""Prompt of a base model; the embedded model was pre-trained on exactly this."""

DEFAULT_CHAT_MESSAGE = "{instruction}\nText: {text}"
"""User message of a chat model; the answer begins the assistant's turn."""

_PLACEHOLDERS = ("instruction", "text")


def default_instruction(names: Iterable[str]) -> str:
    """Return the instruction that lists the class names in alphabetical order.

    Example:
        >>> default_instruction(["positive", "negative"])
        'Label the text as negative or positive.'
        >>> default_instruction(["c", "b", "a"])
        'Label the text as a, b or c.'
    """
    *first, last = sorted(names)
    return f"Label the text as {', '.join(first)} or {last}."


def default_verbalisers(name: str) -> tuple[str, ...]:
    """Return the ways a model may begin its answer with a class name.

    The name as it is and with its first letter capital, each with and without a leading space:
    most tokenizers give all four different tokens, and chat models answer without the space.

    Example:
        >>> default_verbalisers("positive")
        (' positive', 'positive', ' Positive', 'Positive')

    Source: Holtzman et al. 2021, arXiv 2104.08315 (probability spreads over surface forms).
    """
    forms = (name, _with_capital(name))
    return tuple(dict.fromkeys(lead + form for form in forms for lead in (" ", "")))


def _with_capital(name: str) -> str:
    return name[:1].upper() + name[1:]


@dataclass(frozen=True)
class LabelSet:
    """Classes, how each may be said, and what the model is asked."""

    classes: tuple[str, ...]
    """Class names; the order of every per-class array."""
    verbalisers: tuple[tuple[str, ...], ...]
    """Strings that mean each class when they follow the prompt."""
    instruction: str
    """What the model is told to do."""
    template: str = DEFAULT_TEMPLATE
    """Prompt of a base model; holds ``{text}`` once and may hold ``{instruction}``."""
    chat_message: str = DEFAULT_CHAT_MESSAGE
    """User message of a chat model; same placeholders."""
    chat: bool | None = None
    """Whether the chat template is used; None means wherever the tokenizer has one."""
    chat_prefill: str = ""
    """What a chat model's answer begins with before the class is said."""
    values: tuple[tuple[str, ...], ...] = field(default=())
    """What the data may say for each class beside its name."""

    def __post_init__(self) -> None:
        if not self.values:
            object.__setattr__(self, "values", ((),) * len(self.classes))
        _check_classes(self.classes)
        _check_disjoint("verbaliser", self.classes, self.verbalisers)
        _check_disjoint(
            "value",
            self.classes,
            tuple((name, *own) for name, own in zip(self.classes, self.values, strict=True)),
        )
        for name, own in zip(self.classes, self.verbalisers, strict=True):
            if not own or not all(each.strip() for each in own):
                raise InvalidLabels(
                    f"Class {name!r} has {'an empty' if own else 'no'} verbaliser; give at least "
                    "one string that the model may answer with."
                )
        for part in (self.template, self.chat_message):
            split_template(part, self.instruction)
        for name, part in (("template", self.template), ("chat_prefill", self.chat_prefill)):
            if part != part.rstrip(" \t"):
                raise InvalidLabels(
                    f"The {name} ends in a space ({part[-20:]!r}). Remove it: the leading space "
                    "belongs to the verbaliser, where tokenizers join it to the word."
                )

    def index(self, name: str) -> int:
        """Return the position of a class.

        Raises:
            UnknownName: No such class.
        """
        try:
            return self.classes.index(name)
        except ValueError:
            raise UnknownName("label", name, self.classes) from None

    def class_of(self, value: str, *, where: str = "") -> str:
        """Return the class that a value in the data stands for.

        Args:
            value: The value as text.
            where: File and line, for the message.

        Raises:
            UnknownName: Neither a class name nor one of the values of a class.
        """
        name = self.find(value)
        if name is None:
            raise UnknownName(
                "label",
                value,
                self.classes,
                remedy=f"{where}{'. ' if where else ''}"
                f"Add it to a class in labels.toml: values = [{value!r}].",
            )
        return name

    def find(self, value: str) -> str | None:
        """Return the class that a value in the data stands for, or None."""
        for name, own in zip(self.classes, self.values, strict=True):
            if value == name or value in own:
                return name
        return None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that reaches the model; values of the data do not."""
        content = self.to_json()
        content.pop("values")
        return digest_json(content)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that ``from_json`` reads back."""
        # Said only where there is one, so that label sets of before keep their digests.
        prefill = {"chat_prefill": self.chat_prefill} if self.chat_prefill else {}
        return {
            "classes": list(self.classes),
            "verbalisers": [list(each) for each in self.verbalisers],
            "instruction": self.instruction,
            "template": self.template,
            "chat_message": self.chat_message,
            "chat": self.chat,
            **prefill,
            "values": [list(each) for each in self.values],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, source: str = "label set") -> Self:
        """Return the label set that ``to_json`` described.

        Raises:
            CorruptArtifact: A key is absent, unknown or of the wrong kind.
            InvalidLabels: The classes or templates cannot be used.
        """
        try:
            nested = {
                key: tuple(tuple(map(str, each)) for each in content[key])
                for key in ("verbalisers", "values")
            }
            rest = {key: value for key, value in content.items() if key not in nested}
            return cls(**{**rest, **nested, "classes": tuple(content["classes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifact(source, f"not a label set ({error})") from error


def split_template(template: str, instruction: str) -> tuple[str, str]:
    r"""Return what stands before and after the text in a prompt.

    Braces other than the two placeholders are ordinary characters, and nothing inside the
    instruction or the text is ever read as a placeholder.

    Raises:
        UnknownName: A placeholder other than ``{instruction}`` and ``{text}``.
        InvalidLabels: ``{text}`` does not stand in the template exactly once.

    Example:
        >>> split_template("{instruction}\nText: {text}\nLabel:", "Say {x}.")
        ('Say {x}.\nText: ', '\nLabel:')
    """
    pieces = re.split(r"\{(\w+)\}", template)
    names = pieces[1::2]
    for name in names:
        if name not in _PLACEHOLDERS:
            raise UnknownName("placeholder", name, _PLACEHOLDERS, remedy=f"Template: {template!r}.")
    if names.count("text") != 1:
        raise InvalidLabels(
            f"The template needs {{text}} exactly once; {template!r} has it "
            f"{names.count('text')} times."
        )
    sides, side = ["", ""], 0
    for position, piece in enumerate(pieces):
        if position % 2 == 0:
            sides[side] += piece
        elif piece == "text":
            side = 1
        else:
            sides[side] += instruction
    return sides[0], sides[1]


def default_labels(names: Iterable[str]) -> LabelSet:
    """Return the label set of some class names, sorted, with default verbalisers and prompt.

    Raises:
        InvalidLabels: Fewer than two names, or two that differ in nothing a model would say; or
            names that are no texts.
    """
    if isinstance(names, str):
        raise InvalidLabels(f"Class names are a list of texts, not the single text {names!r}.")
    given = list(names)
    for each in given:
        if not isinstance(each, str):
            raise InvalidLabels(f"Class names are texts, and {each!r} is none.")
    classes = tuple(sorted(set(given)))
    _check_classes(classes)
    spelt: dict[str, str] = {}
    for name in classes:
        if (other := spelt.setdefault(_with_capital(name), name)) != name:
            raise InvalidLabels(
                f"The labels {other!r} and {name!r} differ in a capital alone, and a model says "
                f"both. If they mean one class, say so in labels.toml: [classes.{name!r}] with "
                f"values = [{other!r}]. Else give each its own verbalisers there."
            )
    return LabelSet(
        classes=classes,
        verbalisers=tuple(default_verbalisers(name) for name in classes),
        instruction=default_instruction(classes),
    )


class _ClassTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    values: list[str | int | float | bool] = []
    verbalisers: list[str] | None = None


class _LabelsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    classes: dict[str, _ClassTable]
    instruction: str | None = None
    template: str = DEFAULT_TEMPLATE
    chat_message: str = DEFAULT_CHAT_MESSAGE
    chat: bool | None = None
    chat_prefill: str = ""
    order: list[str] | None = None


def load_labels(path: str | Path) -> LabelSet:
    """Return the label set that a ``labels.toml`` describes; the module's docstring has the keys.

    Raises:
        UnknownName: The file does not exist, or ``order`` names a class that is not there.
        InvalidSetting: A key that nobody reads, or a value of the wrong kind.
        InvalidLabels: Not TOML, or classes and templates that cannot be used.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UnknownName(
            "labels file", str(path), remedy="Give the path of a labels.toml."
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidLabels(f"{path} is not valid TOML: {error}.") from error
    try:
        file = _LabelsFile.model_validate(content)
    except ValidationError as error:
        raise _setting_error(error, path) from error
    classes = _ordered(file, path)
    tables = [file.classes[name] for name in classes]
    return LabelSet(
        classes=classes,
        verbalisers=tuple(
            default_verbalisers(name)
            if table.verbalisers is None
            else tuple(dict.fromkeys(table.verbalisers))
            for name, table in zip(classes, tables, strict=True)
        ),
        instruction=default_instruction(classes) if file.instruction is None else file.instruction,
        template=file.template,
        chat_message=file.chat_message,
        chat=file.chat,
        chat_prefill=file.chat_prefill,
        values=tuple(tuple(label_value(each) for each in table.values) for table in tables),
    )


def label_value(value: str | int | float | bool | Decimal) -> str:
    """Return how a label value of the data is written: 1 and 1.0 are "1", true is "true".

    Decimals are how warehouses export whole numbers to Parquet.

    Example:
        >>> [label_value(each) for each in (1, 1.0, True, " yes ")]
        ['1', '1', 'true', 'yes']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal) and value % 1 == 0:
        return str(int(value))
    return str(value).strip()


def _ordered(file: _LabelsFile, path: Path) -> tuple[str, ...]:
    if len(file.classes) < 2:
        raise InvalidLabels(
            f"{path} names the classes {sorted(file.classes)}; at least two are needed. It names "
            "every class, also one whose name says it all: [classes.'NAME'] on a line of its own."
        )
    _check_classes(tuple(file.classes))
    if file.order is None:
        return tuple(sorted(file.classes))
    for name in file.order:
        if name not in file.classes:
            raise UnknownName("class", name, sorted(file.classes), remedy=f"{path}: key 'order'.")
    if sorted(file.order) != sorted(file.classes):
        raise InvalidLabels(f"{path}: 'order' must name every class once: {sorted(file.classes)}.")
    return tuple(file.order)


def _setting_error(error: ValidationError, path: Path) -> InvalidSetting:
    # A misspelt key is missing as well; its unknown form is the one to name.
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(str(each) for each in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return InvalidSetting(where, str(path), problem=f"cannot be used: {problem['msg']}")
    in_class = len(problem["loc"]) > 1
    known = (_ClassTable if in_class else _LabelsFile).model_fields
    return InvalidSetting(str(problem["loc"][-1]), str(path), known)


def _check_classes(classes: Sequence[str]) -> None:
    if len(set(classes)) < 2 or len(set(classes)) != len(classes):
        raise InvalidLabels(
            f"A label set needs at least two different classes; there are {sorted(classes)}."
        )
    if not all(name.strip() for name in classes):
        raise InvalidLabels("A class name is empty.")


def _check_disjoint(kind: str, classes: Sequence[str], own: Sequence[Sequence[str]]) -> None:
    seen: dict[str, str] = {}
    for name, strings in zip(classes, own, strict=True):
        for each in strings:
            if seen.setdefault(each, name) != name:
                raise InvalidLabels(
                    f"The {kind} {each!r} belongs to both {seen[each]!r} and {name!r}; "
                    "give each class its own in labels.toml."
                )
