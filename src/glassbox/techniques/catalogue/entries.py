"""Techniques as people and agents choose them: built-in ones by name, and anybody's functions.

Checks arguments against a signature before anything is sent anywhere. Runs nothing.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.calls import LIBRARY
from glassbox.techniques.catalogue.built_in import Technique, described, library


@dataclass(frozen=True)
class Entry:
    """A technique and what a client is told to run."""

    about: Technique
    """What it says about itself."""
    target: Callable[..., Any] | str
    """The function, or ``library:NAME`` of one that is never shipped."""

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.about.name

    @property
    def summary(self) -> str:
        """The first line of what it says about itself."""
        return self.about.doc.partition("\n")[0] or self.about.title or self.name.replace("_", " ")

    @property
    def more(self) -> str:
        """What it says after that, as one paragraph."""
        return " ".join(self.about.doc.partition("\n")[2].split())

    @property
    def is_built_in(self) -> bool:
        """Whether it comes with the package."""
        return isinstance(self.target, str)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that it does not take, before anything is sent.

        Raises:
            UnknownName: It has no such argument.
            InvalidValue: One that it needs is absent, or it takes none.
        """
        given = inspect.signature(self.about.function).parameters.values()
        known = [each.name for each in self.about.parameters]
        unknown = [name for name in arguments if name not in known]
        if unknown and not any(each.kind is each.VAR_KEYWORD for each in given):
            if not known:
                raise InvalidValue(f"arguments of {self.name}", unknown, "none: it takes no others")
            raise UnknownName(f"argument of {self.name}", unknown[0], known)
        absent = [
            each.name
            for each in self.about.parameters
            if each.is_required and each.name not in arguments
        ]
        if absent:
            raise InvalidValue(
                f"arguments of {self.name}",
                sorted(arguments) or "none",
                f"{' and '.join(absent)} as well",
            )


def built_in() -> dict[str, Entry]:
    """Return the techniques that come with the package by name, sorted."""
    return {name: Entry(each, f"{LIBRARY}{name}") for name, each in library().items()}


def entries_of(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Entry]:
    """Return functions of a model and a tokenizer by name."""
    return {name: Entry(described(name, each), each) for name, each in functions.items()}
